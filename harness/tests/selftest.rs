//! Tests the harness with guests that need no fixture: firmware alone, a kernel without a root.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of a test may end it, and a test says what it skips"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::accelerator;
use harness::budget::{Budget, Limit, SpeedFactor};
use harness::command::Command;
use harness::fault::Kind;
use harness::guest::{Event, Guest, GuestError, Observation, Waited, What};
use harness::image;
use harness::machine::setup::Bus;
use harness::machine::{Accelerator, Boot, Disk, Format, Machine, Network};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Returns how long an emulated guest may take; the wait ends early if what it is for happens.
fn budget(what: &str) -> Budget {
    let (cap, stall) = (Duration::from_secs(10), Duration::from_secs(5));
    Budget::new(what, cap, stall).scaled(SpeedFactor::EMULATED)
}

async fn blank_disk(folder: &Path) -> PathBuf {
    let disk = folder.join("blank.qcow2");
    image::create(&disk, 64 << 20).await.expect("an empty disk");
    disk
}

/// Returns the kernel to boot; a test that needs one fails without it.
fn kernel() -> PathBuf {
    let named = std::env::var_os("ANEMOS_TEST_KERNEL").map(PathBuf::from);
    named.or_else(accelerator::host_kernel).expect(
        "ANEMOS_TEST_KERNEL names no kernel and /boot has none to read; `make test` builds one",
    )
}

fn met<T: std::fmt::Debug>(waited: Waited<T>) -> T {
    match waited {
        Waited::Met(found) => found,
        other => panic!("not met: {other:?}"),
    }
}

/// Returns whether a process runs; one that ended but was not waited for does not.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, state)| !state.starts_with(" Z"))
}

#[tokio::test]
async fn a_blank_disk_is_told_by_debug_port_and_screen_and_leaves_evidence() {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Disk::new("system", blank_disk(folder.path()).await).boot_index(0);
    let network =
        Network::User { mac: "52:54:00:12:34:56".to_owned(), forwards: Vec::new(), server: None };
    let machine = Machine::new().memory_mib(128).disk(disk).network(network);
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
    assert!(folder.path().join("blank.pcap").is_file());
    assert_eq!(evidence("serial.raw"), "", "with a VGA device firmware is silent on serial");
}

/// A boot sector that prints [`PROMPT`] on serial and screen.
///
/// It echoes what is typed on serial, and resets the machine at the end of the line.
const BOOT_SECTOR: &[u8] = &[
    0x31, 0xc0, 0x8e, 0xd8, 0xfc, // xor ax, ax; mov ds, ax; cld
    0xbe, 0x32, 0x7c, // mov si, prompt
    0xac, 0x84, 0xc0, 0x74, 0x0d, // print: lodsb; test al, al; jz read
    0xba, 0xf8, 0x03, 0xee, // mov dx, 0x3f8; out dx, al
    0xb4, 0x0e, 0xbb, 0x07, 0x00, 0xcd, 0x10, // mov ah, 14; mov bx, 7; int 0x10
    0xeb, 0xee, // jmp print
    0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xf8, // read: wait for a byte
    0xba, 0xf8, 0x03, 0xec, 0xee, // mov dx, 0x3f8; in al, dx; out dx, al
    0x3c, 0x0a, 0x75, 0xef, // cmp al, 10; jne read
    0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4, // mov dx, 0xcf9; mov al, 6; out dx, al; hlt
];
const PROMPT: &str = "sector login: ";

/// Makes a raw disk of 16 MiB that boots [`BOOT_SECTOR`].
fn boot_disk(folder: &Path) -> PathBuf {
    let mut sector = BOOT_SECTOR.to_vec();
    sector.extend(b"\r\n");
    sector.extend(PROMPT.as_bytes());
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(16 << 20, 0);
    let disk = folder.join("boot.raw");
    std::fs::write(&disk, sector).expect("a disk");
    disk
}

#[tokio::test]
async fn every_bus_boots_and_a_prompt_can_be_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let (boot, blank) = (boot_disk(folder.path()), blank_disk(folder.path()).await);
    for bus in [Bus::VirtioBlk, Bus::VirtioScsi, Bus::Nvme, Bus::Sata] {
        // The blank disk comes first on the bus, so only the boot order leads to the other one.
        let machine = Machine::new()
            .memory_mib(128)
            .disk(Disk::new("blank", &blank).bus(bus).boot_index(1))
            .disk(Disk::new("boot", &boot).bus(bus).format(Format::Raw).boot_index(0));
        let mut guest = Guest::start(&machine, folder.path(), "bus").await.expect("a guest");
        let prompt = guest.wait(budget("the prompt"), |seen| match &seen.what {
            What::Pending(line) if line == PROMPT => Some(()),
            _ => None,
        });
        met(prompt.await);
        let screen = guest.screen().await.expect("a screen");
        assert!(screen.contains(PROMPT.trim_end()), "{bus:?}: {screen}");

        guest.send_serial("admin\n").await.expect("it is typed");
        let mut answer = None;
        let reset = guest.wait(budget("the reset"), |seen| match &seen.what {
            What::Line(line) => {
                answer = Some(line.clone());
                None
            }
            What::Event(Event::Shutdown { reason }) => Some(reason.clone()),
            _ => None,
        });
        assert_eq!(met(reset.await), "guest-reset", "{bus:?}");
        assert_eq!(answer, Some(format!("{PROMPT}admin")), "{bus:?}");
        guest.quit().await;
    }
}

#[tokio::test]
async fn a_saved_guest_goes_on_where_it_was_and_another_machine_refuses_its_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state.zst");
    let disk = Disk::new("boot", boot_disk(folder.path())).format(Format::Raw).boot_index(0);
    let machine = Machine::new().memory_mib(128).disk(disk);
    let mut guest = Guest::start(&machine, folder.path(), "saved").await.expect("a guest");
    let prompt = guest.wait(budget("the prompt"), |seen| match &seen.what {
        What::Pending(line) if line == PROMPT => Some(()),
        _ => None,
    });
    met(prompt.await);
    guest.save(&state).await.expect("it is saved");
    guest.quit().await;

    let resumed = machine.clone().boot(Boot::Saved { state: state.clone() });
    let mut guest = Guest::start(&resumed, folder.path(), "resumed").await.expect("it goes on");
    // It printed its prompt before it was saved, so now only what is typed is heard.
    guest.send_serial("x\n").await.expect("it is typed");
    let answer = guest.wait(budget("the echo"), |seen| match &seen.what {
        What::Line(line) => Some(line.clone()),
        _ => None,
    });
    assert_eq!(met(answer.await), "x");
    guest.quit().await;

    let larger = machine.memory_mib(256).boot(Boot::Saved { state });
    let error = Guest::start(&larger, folder.path(), "larger").await.expect_err("it must not fit");
    assert!(matches!(error, GuestError::Qmp { .. }), "{error:?}");
}

#[tokio::test]
async fn a_kernel_without_root_panics_on_the_console_and_asks_for_a_reset() {
    let kernel = kernel();
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
async fn a_machine_that_is_down_is_not_locked_up_and_not_held() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guest = Guest::start(&Machine::new(), folder.path(), "down").await.expect("a guest");
    assert!(guest.strike(Kind::Reset, "none").await.expect("a reset"));
    let down =
        |seen: &Observation| matches!(seen.what, What::Event(Event::Shutdown { .. })).then_some(());
    met(guest.wait(budget("the wish to restart"), down).await);
    for turn in 0..2 {
        assert!(!guest.strike(Kind::LockUp, "none").await.expect("an answer"), "{turn}");
    }
    guest.quit().await;
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
async fn a_wait_ends_by_its_limit_or_with_the_emulator() {
    let folder = tempfile::tempdir().expect("a folder");
    let machine = Machine::new().memory_mib(128);
    let mut guest = Guest::start(&machine, folder.path(), "killed").await.expect("a guest");
    let pid = i32::try_from(guest.pid().expect("a process")).expect("a process id");

    let short = Budget::new("a wonder", Duration::from_millis(20), Duration::from_secs(1));
    let Waited::GaveUp(gave_up) = guest.wait(short, |_| None::<()>).await else {
        panic!("nothing ends this wait but its limit")
    };
    assert_eq!(gave_up.limit, Limit::Cap);

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

/// Names the folder in which a runner, started by the test below, writes its guest's process id.
const RUNNER: &str = "ANEMOS_SELFTEST_RUNNER";

#[tokio::test]
#[ignore = "it is started and killed by the test of a killed runner"]
async fn a_runner_that_waits() {
    let Some(folder) = std::env::var_os(RUNNER).map(PathBuf::from) else { return };
    let machine = Machine::new().memory_mib(128);
    let guest = Guest::start(&machine, &folder, "orphan").await.expect("a guest");
    eprintln!("guest {}", guest.pid().expect("a process"));
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_runner_leaves_no_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("log");
    let mut runner = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "a_runner_that_waits", "--ignored", "--nocapture"])
        .env(RUNNER, folder.path())
        .start(std::fs::File::create(&log).expect("a log"))
        .expect("a runner");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    let started = async {
        loop {
            let guest = said().lines().find_map(|line| line.split_once("guest ")?.1.parse().ok());
            if let Some(guest) = guest {
                return guest;
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = Duration::from_secs(30);
    let guest: u32 =
        tokio::time::timeout(limit, started).await.unwrap_or_else(|_| panic!("{}", said()));
    assert!(runs(guest), "QEMU runs as {guest}");
    runner.kill().await.expect("SIGKILL");
    let gone = async {
        while runs(guest) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(limit, gone).await.is_ok(), "{guest} outlives its runner");
}

/// Makes an initramfs whose only program writes to a disk, with cpio(1) and the host's busybox.
async fn writing_initramfs(folder: &Path, disk: &str) -> PathBuf {
    let busybox = Path::new("/bin/busybox");
    let root = folder.join("root");
    std::fs::create_dir_all(root.join("dev")).expect("a folder");
    std::fs::copy(busybox, root.join("busybox")).expect("busybox");
    let init = format!(
        "#!/busybox sh\n/busybox mount -t devtmpfs devtmpfs /dev\n\
         /busybox dd if=/dev/zero of=/dev/{disk} bs=4096 count=1 oflag=direct || \
         echo the write failed\nwhile :; do /busybox sleep 9; done\n"
    );
    std::fs::write(root.join("init"), init).expect("init");
    let pack = "chmod 755 init; find . | cpio --quiet -o -H newc >../initramfs";
    Command::new("sh").args(["-c", pack]).folder(&root).run().await.expect("cpio");
    folder.join("initramfs")
}

/// The harness must not rely on this: with NVMe, QEMU reports no failed request to anybody.
#[tokio::test]
async fn a_write_that_fails_on_nvme_is_no_event() {
    // The kernel of a cloud image, which has the driver built in.
    let kernel = kernel();
    let folder = tempfile::tempdir().expect("a folder");
    let initramfs = writing_initramfs(folder.path(), "nvme0n1").await;
    let command_line = "console=ttyS0".to_owned();
    let boot = Boot::Direct { kernel, initramfs: Some(initramfs), command_line };
    let disk = Disk::new("system", blank_disk(folder.path()).await).bus(Bus::Nvme);
    let machine = Machine::new().memory_mib(256).disk(disk).boot(boot);
    let mut guest = Guest::start(&machine, folder.path(), "write").await.expect("a guest");
    guest.strike(Kind::WriteError, "system").await.expect("a fault");
    let failed = guest.wait(budget("the failed write"), |seen| match &seen.what {
        What::Event(Event::BlockIoError { .. }) => Some(false),
        What::Line(line) if line.contains("the write failed") => Some(true),
        _ => None,
    });
    assert!(met(failed.await), "QEMU told of the error: it can be relied on now");
    guest.quit().await;
}
