//! The processes of the deploy environment, from their start to their end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How long a process may take to end when it is asked to.
const TERM_GRACE: Duration = Duration::from_secs(5);

/// How long a killed process may take to disappear; only one stuck in the kernel takes longer.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Every process except PID 1 and those of the kernel (`kill(2)`).
pub(super) const EVERYBODY: Pid = Pid::from_raw(-1);

/// Returns a command without standard input: this crate's only way to start a program.
#[expect(clippy::disallowed_methods, reason = "this is the crate's one wrapper")]
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Reaps everything that has ended, since PID 1 inherits every orphan; returns the status of `pid`.
pub(super) fn reap(pid: Pid) -> Option<WaitStatus> {
    let mut found = None;
    let whom = if std::process::id() == 1 { EVERYBODY } else { pid };
    while let Ok(status) = waitpid(whom, Some(WaitPidFlag::WNOHANG)) {
        match status.pid() {
            None => break,
            Some(ended) if ended == pid => found = Some(status),
            Some(_) => {}
        }
    }
    found
}

/// Ends every process but PID 1 or, elsewhere than in PID 1, the process group of `child`.
///
/// It waits for a moment at most until they are gone. They are asked first, because a file system
/// that a program is making is only complete once the program has ended by itself.
pub(super) fn kill_all(child: Pid) {
    let whom = if std::process::id() == 1 { EVERYBODY } else { Pid::from_raw(-child.as_raw()) };
    if !end_by(Signal::SIGTERM, whom, TERM_GRACE) {
        end_by(Signal::SIGKILL, whom, KILL_GRACE);
    }
}

/// Sends a signal and waits; returns whether all are gone.
fn end_by(signal: Signal, whom: Pid, grace: Duration) -> bool {
    // ESRCH: there is nobody left, which is what we want.
    let _nobody = kill(whom, signal);
    let deadline = Instant::now() + grace;
    while Instant::now() < deadline {
        match waitpid(whom, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) => {
                // There is nothing to read: this is the pause between two looks.
                let _elapsed = poll(&mut [], PollTimeout::from(50_u8));
            }
            _ => {}
        }
    }
    false
}

/// Returns whether a program of the deploy environment exists.
pub(super) fn exists(path: &str) -> bool {
    fs::exists(path).unwrap_or(false)
}
