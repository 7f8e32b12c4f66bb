//! How a deployment ends: reboot into the new or the old system, or a shell in the middle.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Stdio;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::poll::{PollTimeout, poll};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::sync;

use super::child::{EVERYBODY, command, exists, kill_all};
use super::disks::{Selected, sectors_written};
use super::mounts;
use super::report::Report;
use crate::mount_table::unescape;
use crate::stages::{Outcome, Stage};

/// What a failure leads to. When it cannot be told whether the disk was written, it was.
pub(super) fn outcome_of_failure(selected: Option<&Selected>) -> Outcome {
    // What `deploy` wrote may still wait in the page cache.
    sync();
    match selected.map(sectors_written) {
        None | Some(Ok(false)) => Outcome::Returned,
        Some(Ok(true) | Err(_)) => Outcome::Rescue,
    }
}

/// Writes everything back and unmounts all that `deploy` left mounted.
pub(super) fn settle(report: &mut Report) {
    kill_all(EVERYBODY);
    sync();
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for target in foreign_targets(&table) {
        if let Err(errno) = unmount(&target) {
            report.line(&format!("{target} stays mounted: {errno}"));
        }
    }
    sync();
}

/// Mount points that are not the deploy environment's own, the last mounted first.
fn foreign_targets(table: &str) -> Vec<String> {
    let target = |line: &str| line.split_whitespace().nth(1).map(unescape);
    table.lines().rev().filter_map(target).filter(|target| !mounts::is_ours(target)).collect()
}

/// A busy file system is made read-only instead: all that matters is that it is written back.
fn unmount(target: &str) -> nix::Result<()> {
    let Err(busy) = umount2(target, MntFlags::empty()) else { return Ok(()) };
    let none: Option<&str> = None;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, target, none, read_only, none).or(Err(busy))
}

/// Ends the deployment. Returns only when the reboot is refused.
pub(super) fn end(report: &mut Report, outcome: Outcome, environment: &BTreeMap<String, String>) {
    if outcome == Outcome::Rescue {
        rescue(report, environment);
    }
    kill_all(EVERYBODY);
    report.begin(Stage::Reboot);
    report.line(&format!("verdict {outcome}"));
    sync();
    let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
    report.line(&format!("error: rebooting: {errno}"));
}

/// Keeps the machine as it is, with a shell on the console, for ever. The shell has the
/// environment of `deploy`, so that it can be run again.
fn rescue(report: &mut Report, environment: &BTreeMap<String, String>) -> ! {
    report.line("the disk was written, so the old system cannot be booted again");
    report.line(&format!(
        "this shell is in RAM; the log is {}; ./deploy tries again",
        crate::paths::LOG
    ));
    report.line(&format!("verdict {}", Outcome::Rescue));
    loop {
        // A shell that ends at once, as without a keyboard, must not keep the machine busy.
        let pause =
            if run_shell(environment) { PollTimeout::from(1000_u16) } else { PollTimeout::MAX };
        let _elapsed = poll(&mut [], pause);
        let _orphans = waitpid(EVERYBODY, Some(WaitPidFlag::WNOHANG));
    }
}

/// Runs a shell until it is left; false when it could not be started.
fn run_shell(environment: &BTreeMap<String, String>) -> bool {
    let open = || OpenOptions::new().read(true).write(true).open("/dev/console");
    let (Ok(input), Ok(output), Ok(errors)) = (open(), open(), open()) else { return false };
    // A session of its own with a controlling terminal, so that Ctrl-C reaches what runs in it.
    // setsid(1) stays one process only because it does not lead a process group.
    let setsid = ["/usr/bin/setsid", "/bin/setsid"].into_iter().find(|path| exists(path));
    let mut shell = command(Path::new(setsid.unwrap_or("/bin/sh")));
    if setsid.is_some() {
        shell.args(["-c", "/bin/sh"]);
    }
    let child = shell
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(environment)
        .env("PS1", "rescue# ")
        .current_dir(if exists(crate::paths::WORK) { crate::paths::WORK } else { "/" })
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors))
        .spawn();
    child.is_ok_and(|mut child| child.wait().is_ok())
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
