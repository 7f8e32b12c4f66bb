//! Enters the deploy environment by one of several ways.

mod boot_next;
mod extlinux;
mod grub;
pub(crate) mod kexec;
mod next;
mod watchdog;

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use contract::mount_table::unescape;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sync};

pub(crate) use self::next::Next;
use crate::facts::{Facts, Watchdog};
use crate::plan::Rung;
use crate::{report, staging};

const MOUNTS: &str = "/proc/self/mounts";
/// How long the kernel may take to make all file systems read-only.
const REMOUNT: Duration = Duration::from_mins(1);

/// Prepares the first rung of a ladder that can be prepared, and returns it.
///
/// A rung that fails leaves nothing behind, so that the next one can be tried whatever the reason
/// was. Afterwards the initramfs of `next` is removed, because it has been copied.
pub(crate) fn make_ready(ladder: &[Rung], facts: &Facts, next: &Next<'_>) -> anyhow::Result<Rung> {
    let mut rungs = ladder.iter().copied().peekable();
    while let Some(rung) = rungs.next() {
        let Err(error) = stage(rung, facts, next) else {
            // A machine that returns must not keep the keys in it.
            staging::drop_initramfs()?;
            return Ok(rung);
        };
        match rungs.peek() {
            None => return Err(error.context(format!("entering by {rung}"))),
            Some(other) => report::step(&format!("{rung} fails: {error:#}; trying {other}")),
        }
    }
    bail!("there is no way into the deploy environment")
}

fn stage(rung: Rung, facts: &Facts, next: &Next<'_>) -> anyhow::Result<()> {
    match rung {
        Rung::KexecFileLoad => return kexec::load_by_files(next),
        Rung::KexecLoad => return kexec::load_by_segments(next),
        Rung::BootNext | Rung::Extlinux | Rung::Grub => {}
    }
    let mut undo = staging::undo_log()?;
    let staged = match rung {
        Rung::BootNext => boot_next::stage(facts, next, &mut undo),
        Rung::Extlinux => extlinux::stage(facts, next, &mut undo),
        _ => grub::stage(facts, next, &mut undo),
    };
    staged.or_else(|error| {
        undo.undo().context("taking back what was staged")?;
        Err(error)
    })
}

/// Leaves the running system by a rung that has been prepared.
///
/// Only returns with an error; file systems may be read-only then.
///
/// The old system must stay bootable until the deploy environment writes, and GRUB does not replay
/// journals, so everything is written back and made read-only first. The watchdog is armed last,
/// because somebody must feed it from then on.
pub(crate) fn leave(rung: Rung, watchdog: Option<&Watchdog>) -> anyhow::Result<()> {
    make_read_only();
    let (mode, doing, stands) = if rung.boots() {
        let stands = "file systems are read-only now, and the next reboot enters the deployment: \
                      `mount -o remount,rw` them and `anemos reset` take that back";
        (RebootMode::RB_AUTOBOOT, "rebooting", stands)
    } else {
        let stands = "file systems are read-only now; reboot, the old system is intact";
        (RebootMode::RB_KEXEC, "executing the loaded kernel", stands)
    };
    signal_others(Signal::SIGSTOP);
    let loose = watchdog.filter(|_| !rung.boots()).and_then(watchdog::arm);
    let Err(errno) = reboot(mode);
    loose.iter().for_each(watchdog::Loose::catch);
    signal_others(Signal::SIGCONT);
    Err(anyhow::Error::new(errno).context(doing).context(stands))
}

/// Stops all other processes, or lets them continue; PID 1 is out of reach (kill(2)).
///
/// The kernel shuts devices down before it jumps, while programs still run on other processors. A
/// program that sends a packet at that time may spin in its driver forever, and the jump with it:
/// this was seen with `virtio_net`. File systems are made read-only first, because some of them are
/// served by programs.
fn signal_others(signal: Signal) {
    // Without other processes there is nothing to stop.
    let _nobody = kill(Pid::from_raw(-1), signal);
}

/// Writes back all file systems on disks and makes them read-only.
fn make_read_only() {
    sync();
    let table = || fs::read_to_string(MOUNTS).unwrap_or_default();
    for (target, _) in writable(&table()) {
        let none: Option<&str> = None;
        // Busy ones follow below; whatever stays writable is at least written back.
        let _busy =
            mount(none, target.as_str(), none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none);
    }
    // Emergency remount: makes file systems read-only even if files are open for writing (Linux,
    // admin-guide/sysrq). Without it, the journals are replayed at the next boot.
    if fs::write("/proc/sysrq-trigger", "u").is_ok() {
        let deadline = Instant::now() + REMOUNT;
        // The kernel does it later, and only to file systems on a single device (Linux,
        // `fs/super.c`).
        let waits = || writable(&table()).iter().any(|(_, kind)| kind != "btrfs");
        while waits() && Instant::now() < deadline {
            // There is nothing to read, so this only pauses between two checks.
            let _elapsed = poll(&mut [], PollTimeout::from(100_u8));
        }
    }
    sync();
}

/// Returns the writable mounts of block devices, the last mounted first: mount points and types.
fn writable(table: &str) -> Vec<(String, String)> {
    let fields = |line: &str| -> Option<(String, String)> {
        let mut fields = line.split_whitespace();
        let (device, target, kind, options) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let writable = options.split(',').any(|option| option == "rw");
        (device.starts_with("/dev/") && writable).then(|| (unescape(target), kind.to_owned()))
    };
    table.lines().rev().filter_map(fields).collect()
}

#[cfg(test)]
mod tests {
    use super::writable;

    #[test]
    fn only_writable_disks_are_remounted() {
        let table = "/dev/vda1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n\
                     /dev/vdb /mnt/my\\040data xfs rw 0 0\n/dev/sr0 /cdrom iso9660 ro 0 0\n";
        let pair = |target: &str, kind: &str| (target.to_owned(), kind.to_owned());
        assert_eq!(writable(table), [pair("/mnt/my data", "xfs"), pair("/", "ext4")]);
    }
}
