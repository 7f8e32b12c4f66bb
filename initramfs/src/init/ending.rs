//! The end of a deployment: its outcome, then the reboot.

use std::sync::mpsc;
use std::time::Duration;
use std::{fs, thread};

use anyhow::bail;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;

use super::mounts;
use super::processes::{EVERYBODY, kill_all};
use super::report::Report;
use super::written::{Selected, sectors_written};
use contract::mount_table::targets;
use contract::stages::{Outcome, Stage};

/// How long writing everything back may take; disks of servers write at least 20 MB/s.
const WRITE_BACK: Duration = Duration::from_mins(25);
/// The same limit if there cannot be much left to write.
const MOMENT: Duration = Duration::from_mins(1);

/// Returns the outcome of a failure.
///
/// If it cannot be determined whether the disk was written, it counts as written from the moment
/// when `deploy` has `begun`.
pub(super) fn outcome_of_failure(selected: Option<&Selected>, begun: bool) -> Outcome {
    // What `deploy` wrote may still be in the page cache.
    let written_back = sync_within(MOMENT);
    match selected.map(sectors_written) {
        None => Outcome::Returned,
        Some(Ok(false)) if written_back => Outcome::Returned,
        Some(Ok(false) | Err(_)) if !begun => Outcome::Returned,
        Some(_) => Outcome::Rescue,
    }
}

/// Writes everything back; returns false if that takes longer, as on a disk that does not answer.
fn sync_within(limit: Duration) -> bool {
    let (sender, done) = mpsc::channel();
    let started = thread::Builder::new().spawn(move || {
        sync();
        // Perhaps nobody is waiting any more.
        let _unheard = sender.send(());
    });
    started.is_ok() && done.recv_timeout(limit).is_ok()
}

/// Writes everything back, then unmounts whatever `deploy` left mounted.
pub(super) fn settle(report: &mut Report) -> anyhow::Result<()> {
    kill_all(EVERYBODY);
    if !sync_within(WRITE_BACK) {
        bail!("what was written is not on the disk after {} s", WRITE_BACK.as_secs());
    }
    unmount_all(report);
    sync();
    Ok(())
}

/// Unmounts everything that `deploy` mounted.
pub(super) fn unmount_all(report: &mut Report) {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for target in foreign_targets(&table) {
        if let Err(errno) = unmount(&target) {
            report.line(&format!("{target} stays mounted: {errno}"));
        }
    }
}

/// Returns the mount points that are not the deploy environment's own, the last mounted first.
fn foreign_targets(table: &str) -> Vec<String> {
    targets(table).rev().filter(|target| !mounts::is_ours(target)).collect()
}

/// Unmounts, or makes a busy file system read-only, because all that matters is writing it back.
fn unmount(target: &str) -> nix::Result<()> {
    let Err(busy) = umount2(target, MntFlags::empty()) else { return Ok(()) };
    let none: Option<&str> = None;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, target, none, read_only, none).or(Err(busy))
}

/// Reboots, or switches the machine off; returns only if that is refused.
pub(super) fn leave(report: &mut Report, outcome: Outcome, mode: RebootMode) {
    kill_all(EVERYBODY);
    report.begin(Stage::Reboot);
    report.line(&format!("verdict {outcome}"));
    report.flush();
    let _late = sync_within(MOMENT);
    if mode == RebootMode::RB_POWER_OFF {
        report.timer.disarm();
    }
    let Err(errno) = reboot(mode);
    report.line(&format!("error: rebooting: {errno}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_deploy_mounted_is_found_deepest_first() {
        let table = "rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n\
                     /dev/vda1 /anemos/root ext4 rw 0 0\n\
                     devtmpfs /anemos/root/dev devtmpfs rw 0 0\n\
                     tmpfs /anemos/my\\040folder tmpfs rw 0 0\n";
        assert_eq!(
            foreign_targets(table),
            ["/anemos/my folder", "/anemos/root/dev", "/anemos/root"]
        );
    }
}
