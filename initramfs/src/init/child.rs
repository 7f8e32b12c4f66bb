//! Runs `deploy`, passes its output on, reaps every orphan and keeps the time limit.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::report::Report;
use crate::paths;

/// How long a killed process may take to be gone; only one stuck in the kernel takes longer.
const KILL_GRACE: Duration = Duration::from_secs(10);

/// Every process that is not PID 1 or the kernel's (`kill(2)`).
const EVERYBODY: Pid = Pid::from_raw(-1);

/// The crate's one way to start a program, with nothing on its standard input.
#[expect(clippy::disallowed_methods, reason = "this is the crate's one wrapper")]
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Runs `deploy` of the unpacked payload to its end.
///
/// An error says the status or the limit. Nothing that it started is alive afterwards.
pub(super) fn run_deploy(
    report: &mut Report,
    environment: BTreeMap<String, String>,
    limit: Duration,
) -> anyhow::Result<()> {
    let signals = child_signals().context("watching for children")?;
    let (output, input) = io::pipe().context("making a pipe for `deploy`")?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("preparing the pipe")?;
    let program = Path::new(paths::WORK).join("deploy");
    let child = command(&program)
        .process_group(0)
        .current_dir(paths::WORK)
        .env_clear()
        .envs(environment)
        .stdout(input.try_clone().context("duplicating the pipe")?)
        .stderr(input)
        .spawn()
        .map_err(|error| explain_start(&program, error))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("reading the process id")?);
    let ended = watch(report, &signals, output, pid, Instant::now() + limit);
    kill_all();
    match ended? {
        Some(WaitStatus::Exited(_, 0)) => Ok(()),
        Some(WaitStatus::Exited(_, status)) => bail!("`deploy` ended with status {status}"),
        Some(WaitStatus::Signaled(_, signal, _)) => bail!("`deploy` was killed by {signal}"),
        Some(status) => bail!("`deploy` ended oddly: {status:?}"),
        None => bail!("`deploy` took longer than its limit of {} s", limit.as_secs()),
    }
}

/// `ENOENT` for a file that is there means that its interpreter is not.
fn explain_start(program: &Path, error: io::Error) -> anyhow::Error {
    let missing_interpreter = error.kind() == io::ErrorKind::NotFound && program.exists();
    let what = if missing_interpreter {
        "starting `deploy`: its interpreter is not in the deploy environment"
    } else {
        "starting `deploy`"
    };
    anyhow::Error::new(error).context(what)
}

fn child_signals() -> nix::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
}

/// Returns how `pid` ended, or `None` when the deadline came first.
fn watch(
    report: &mut Report,
    signals: &SignalFd,
    mut output: PipeReader,
    pid: Pid,
    deadline: Instant,
) -> anyhow::Result<Option<WaitStatus>> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(output.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waiting for `deploy`"),
        }
        while signals.read_signal().context("reading a signal")?.is_some() {}
        let ended = reap(pid);
        // After the end too, so that its last words are seen.
        let open = pass_on(report, &mut output)?;
        if ended.is_some() {
            return Ok(ended);
        }
        if !open {
            return wait_without_output(signals, pid, deadline);
        }
    }
}

/// `deploy` has closed both of its output streams and goes on.
fn wait_without_output(
    signals: &SignalFd,
    pid: Pid,
    deadline: Instant,
) -> anyhow::Result<Option<WaitStatus>> {
    loop {
        if let Some(status) = reap(pid) {
            return Ok(Some(status));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("waiting for `deploy`"),
        }
        while signals.read_signal().context("reading a signal")?.is_some() {}
    }
}

/// Passes on what is there; false at the end of the stream.
fn pass_on(report: &mut Report, output: &mut PipeReader) -> anyhow::Result<bool> {
    let mut bytes = [0; 4096];
    loop {
        match output.read(&mut bytes) {
            Ok(0) => return Ok(false),
            Ok(length) => report.output(bytes.get(..length).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("reading the output of `deploy`"),
        }
    }
}

/// Reaps all that has ended; PID 1 inherits every orphan. Returns the status of `pid`.
fn reap(pid: Pid) -> Option<WaitStatus> {
    let mut found = None;
    while let Ok(status) = waitpid(EVERYBODY, Some(WaitPidFlag::WNOHANG)) {
        match status.pid() {
            None => break,
            Some(ended) if ended == pid => found = Some(status),
            Some(_) => {}
        }
    }
    found
}

/// Ends every process but PID 1 and waits until they are gone, for a moment at the most.
pub(super) fn kill_all() {
    // ESRCH: there is nobody left, which is what is wanted.
    let _nobody = kill(EVERYBODY, Signal::SIGKILL);
    let deadline = Instant::now() + KILL_GRACE;
    while Instant::now() < deadline {
        match waitpid(EVERYBODY, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return,
            Ok(WaitStatus::StillAlive) => {
                // Nothing to read: the pause between two looks, cut short by SIGCHLD.
                let _elapsed = poll(&mut [], PollTimeout::from(50_u8));
            }
            _ => {}
        }
    }
}

/// Whether a program of the deploy environment is there.
pub(super) fn exists(path: &str) -> bool {
    fs::exists(path).unwrap_or(false)
}
