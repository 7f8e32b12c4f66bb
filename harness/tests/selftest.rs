//! The harness watches guests that need no fixture: firmware alone, and a kernel without a root.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of a test may end it, and a test says what it skips"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::accelerator::{self, Accelerator};
use harness::budget::{Budget, SpeedFactor};
use harness::guest::{Event, Guest, GuestError, Observation, Waited, What};
use harness::image;
use harness::machine::{Boot, Disk, Machine};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// What an emulated guest may take; it is cut short by what is waited for.
fn budget(what: &str) -> Budget {
    let (cap, stall) = (Duration::from_secs(10), Duration::from_secs(5));
    Budget::new(what, cap, stall).scaled(SpeedFactor::EMULATED)
}

async fn blank_disk(folder: &Path) -> PathBuf {
    let disk = folder.join("blank.qcow2");
    image::create(&disk, 64 << 20).await.expect("an empty disk");
    disk
}

/// The kernel to boot; without one it says so.
fn kernel() -> Option<PathBuf> {
    let named = std::env::var_os("ANEMOS_TEST_KERNEL").map(PathBuf::from);
    let kernel = named.or_else(accelerator::host_kernel);
    if kernel.is_none() {
        eprintln!("skipped: ANEMOS_TEST_KERNEL names no kernel and /boot has none to read");
    }
    kernel
}

fn met<T: std::fmt::Debug>(waited: Waited<T>) -> T {
    match waited {
        Waited::Met(found) => found,
        other => panic!("not met: {other:?}"),
    }
}

/// Tells whether a process runs; one that ended and was not waited for does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, state)| !state.starts_with(" Z"))
}

#[tokio::test]
async fn a_blank_disk_is_told_by_debug_port_and_screen_and_leaves_evidence() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::new("system", blank_disk(folder.path()).await).boot_index(0);
    let machine = Machine::new().memory_mib(128).disk(disk);
    let mut guest = Guest::start(&machine, folder.path(), "blank").await.expect("a guest");

    let (mut firmware, mut screen, mut read) = (false, false, false);
    let waited = guest.wait(budget("the firmware's last words"), |seen: &Observation| {
        match &seen.what {
            What::Firmware(line) => firmware |= line.contains("No bootable device"),
            What::Screen(rows) => screen |= rows.contains("No bootable device"),
            What::Disk(traffic) => read |= traffic.disk == "system" && traffic.read > 0,
            _ => {}
        }
        (firmware && screen && read).then_some(())
    });
    met(waited.await);
    let ended = guest.quit().await;
    assert!(ended.status.is_some_and(|status| status.success()), "{ended:?}");

    let evidence = |suffix: &str| {
        std::fs::read_to_string(folder.path().join(format!("blank.{suffix}"))).expect(suffix)
    };
    assert!(evidence("firmware.log").contains("No bootable device"));
    assert!(evidence("screen.txt").contains("No bootable device"));
    assert!(evidence("qmp.jsonl").contains("query-blockstats"));
    assert!(evidence("qemu.sh").contains("exec qemu-system-x86_64 -nodefaults"));
    assert_eq!(evidence("serial.raw"), "", "with a VGA device firmware is silent on serial");
}

#[tokio::test]
async fn a_kernel_without_root_panics_on_the_console_and_asks_for_a_reset() {
    let Some(kernel) = kernel() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let command_line = "console=ttyS0 panic=-1".to_owned();
    let boot = Boot::Direct { kernel, initramfs: None, command_line };
    let machine = Machine::new().memory_mib(256).boot(boot);
    let mut guest = Guest::start(&machine, folder.path(), "panic").await.expect("a guest");

    let mut lines = Vec::new();
    let reason = guest.wait(budget("the reset"), |seen| match &seen.what {
        What::Line(line) => {
            lines.push(line.clone());
            None
        }
        What::Event(Event::Shutdown { reason }) => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(met(reason.await), "guest-reset");
    for want in ["Linux version", "Kernel panic - not syncing", "Unable to mount root fs"] {
        assert!(lines.iter().any(|line| line.contains(want)), "{want:?} in {lines:#?}");
    }
    guest.quit().await;
    let log = std::fs::read_to_string(folder.path().join("panic.console.log")).expect("a log");
    assert!(log.contains("Kernel panic - not syncing"), "{log}");
}

#[tokio::test]
async fn the_accelerator_is_chosen_with_a_reason_and_remembered() {
    let folder = tempfile::tempdir().expect("a folder");
    let memory = folder.path().join("cache/accelerator.json");
    let proof = accelerator::prove(&memory, None).await;
    eprintln!("{}: {}", proof.accelerator.name(), proof.evidence);
    let reason = match proof.accelerator {
        Accelerator::Kvm => "the firmware",
        Accelerator::Tcg => "KVM",
    };
    assert!(proof.evidence.contains(reason), "{}", proof.evidence);
    assert!(memory.is_file(), "the answer is written down");
    assert_eq!(accelerator::prove(&memory, None).await, proof);
}

#[tokio::test]
async fn an_emulator_that_ends_at_once_is_reported_with_its_own_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new().disk(Disk::new("system", folder.path().join("missing.qcow2")));
    let error = Guest::start(&machine, folder.path(), "dead").await.expect_err("it must fail");
    assert!(matches!(error, GuestError::EndedAtOnce { .. }), "{error:?}");
    let text = error.to_string();
    for want in ["qemu-system-x86_64 -nodefaults", "exit status: 1", "missing.qcow2", "No such"] {
        assert!(text.contains(want), "{want:?} in {text}");
    }
}

#[tokio::test]
async fn an_emulator_that_is_killed_ends_the_wait_with_its_status() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new().memory_mib(128);
    let mut guest = Guest::start(&machine, folder.path(), "killed").await.expect("a guest");
    let pid = i32::try_from(guest.pid().expect("a process")).expect("a process id");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a signal");
    let waited = guest.wait(budget("nothing"), |_| None::<()>).await;
    let Waited::Ended(ended) = &waited else { return met(waited) };
    let status = ended.status.map(|status| status.to_string());
    assert_eq!(status.as_deref(), Some("signal: 9 (SIGKILL)"));
    assert_eq!(guest.pid(), None);
}

#[tokio::test]
async fn a_dropped_guest_leaves_no_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new().memory_mib(128);
    let guest = Guest::start(&machine, folder.path(), "dropped").await.expect("a guest");
    let pid = guest.pid().expect("a process");
    assert!(runs(pid), "QEMU runs as {pid}");
    drop(guest);
    let gone = async {
        while runs(pid) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), gone).await.is_ok(), "{pid} still runs");
}
