//! Runs the program of a payload to its end or its time limit.

use std::collections::BTreeMap;
use std::io::{self, PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;

use super::memory::Peak;
use super::processes::{command, kill_all, reap};
use super::report::Report;
use contract::paths;
use contract::payload::Kind;

/// Time between two checks whether a child has ended.
const TURN: Duration = Duration::from_millis(100);

/// Chunks of output that are passed on before anything else is checked.
const CHUNKS_A_TURN: usize = 16;

/// A payload as the program that executes it.
#[derive(Clone, Debug)]
pub(super) struct Job {
    program: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    /// Its name in messages.
    pub(super) name: &'static str,
}

impl Job {
    /// Returns an unpacked payload's own `deploy`, or makeimg for an image description.
    pub(super) fn of(kind: &Kind, disk: &str) -> Self {
        match kind {
            Kind::Imgbuild => Self::makeimg(disk, &[]),
            Kind::Deploy { .. } | Kind::Image => Self {
                program: Path::new(paths::WORK).join("deploy"),
                arguments: Vec::new(),
                folder: PathBuf::from(paths::WORK),
                name: "deploy",
            },
        }
    }

    /// Returns the job that checks, before anything is written, whether makeimg would refuse it.
    pub(super) fn check_of(kind: &Kind, disk: &str) -> Option<Self> {
        (*kind == Kind::Imgbuild).then(|| Self::makeimg(disk, &["--check"]))
    }

    fn makeimg(disk: &str, more: &[&str]) -> Self {
        let arguments = ["makeimg", "--disk", disk, "--cache", paths::MAKEIMG_CACHE];
        Self {
            // The binary that runs as PID 1.
            program: PathBuf::from("/init"),
            arguments: arguments.iter().chain(more).map(|word| (*word).to_owned()).collect(),
            folder: PathBuf::from(paths::WORK),
            name: "makeimg",
        }
    }
}

/// Runs the program of a payload to its end, calling `look` ten times a second meanwhile.
///
/// An error contains the status or the limit. Nothing that it started is alive afterwards.
pub(super) fn run(
    report: &mut Report,
    job: &Job,
    environment: &BTreeMap<String, String>,
    limit: Duration,
    look: &mut dyn FnMut(&mut Report),
) -> anyhow::Result<()> {
    let Job { program, name, .. } = job;
    let (output, input) = io::pipe().context("making a pipe for its output")?;
    fcntl(&output, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("preparing the pipe")?;
    let child = command(program)
        .args(&job.arguments)
        .process_group(0)
        .current_dir(&job.folder)
        .env_clear()
        .envs(environment)
        .stdout(input.try_clone().context("duplicating the pipe")?)
        .stderr(input)
        .spawn()
        .map_err(|error| explain_start(job, error))?;
    let pid = Pid::from_raw(i32::try_from(child.id()).context("reading the process id")?);
    let mut watched = Watched {
        pid,
        deadline: Instant::now() + limit,
        last_error: LastError::default(),
        peak: Peak::default(),
    };
    let ended = watched.follow(report, output, look);
    kill_all(pid);
    watched.last_error.end_line();
    if let Some(peak) = watched.peak.describe(name) {
        report.line(&peak);
    }
    match ended? {
        Some(WaitStatus::Exited(_, 0)) => Ok(()),
        Some(WaitStatus::Exited(_, status)) => {
            let why = watched.last_error.found.map(|error| format!(": {error}"));
            bail!("`{name}` ended with status {status}{}", why.unwrap_or_default())
        }
        Some(WaitStatus::Signaled(_, signal, _)) => bail!("`{name}` was killed by {signal}"),
        Some(status) => bail!("`{name}` ended oddly: {status:?}"),
        None => bail!("`{name}` took longer than its limit of {} s", limit.as_secs()),
    }
}

/// Explains an error: `ENOENT` for a file that exists means that its interpreter does not.
fn explain_start(job: &Job, error: io::Error) -> anyhow::Error {
    let missing_interpreter = error.kind() == io::ErrorKind::NotFound && job.program.exists();
    let mut what = format!("starting `{}`", job.name);
    if missing_interpreter {
        what += ": its interpreter is not in the deploy environment";
    }
    anyhow::Error::new(error).context(what)
}

/// A child with the time by which it must have ended.
#[derive(Debug)]
struct Watched {
    pid: Pid,
    deadline: Instant,
    last_error: LastError,
    peak: Peak,
}

/// The last line of output with `error: …`, as written by programs that end with a status.
#[derive(Debug, Default)]
struct LastError {
    line: Vec<u8>,
    found: Option<String>,
}

impl LastError {
    fn hear(&mut self, bytes: &[u8]) {
        const LONGEST: usize = 1024;
        for byte in bytes {
            if *byte != b'\n' {
                if self.line.len() < LONGEST {
                    self.line.push(*byte);
                }
                continue;
            }
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if let Some(error) = line.strip_prefix("error: ") {
            self.found = Some(error.trim_end().to_owned());
        }
        self.line.clear();
    }
}

impl Watched {
    /// Passes output on until the child has ended; `None` if the deadline came first.
    ///
    /// The deadline is checked in every turn: otherwise a child that never stops talking would
    /// never be late.
    fn follow(
        &mut self,
        report: &mut Report,
        output: PipeReader,
        look: &mut dyn FnMut(&mut Report),
    ) -> anyhow::Result<Option<WaitStatus>> {
        let mut output = Some(output);
        loop {
            look(report);
            let ended = reap(self.pid);
            self.peak.look();
            // After the end too, so that its last words are seen.
            let open = output.as_mut().map_or(Ok(false), |output| self.pass_on(report, output))?;
            output = output.filter(|_| open);
            let left = self.deadline.saturating_duration_since(Instant::now());
            if ended.is_some() || left.is_zero() {
                return Ok(ended);
            }
            wait(output.as_ref(), left.min(TURN))?;
        }
    }

    /// Passes on what is available, up to a limit; returns false at the end of the stream.
    fn pass_on(&mut self, report: &mut Report, output: &mut PipeReader) -> anyhow::Result<bool> {
        let mut bytes = [0; 4096];
        for _ in 0..CHUNKS_A_TURN {
            match output.read(&mut bytes) {
                Ok(0) => return Ok(false),
                Ok(length) => {
                    let bytes = bytes.get(..length).unwrap_or_default();
                    report.output(bytes);
                    self.last_error.hear(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("reading the output of the payload"),
            }
        }
        Ok(true)
    }
}

/// Waits for output, for one turn at most.
///
/// A signal handler or a blocked SIGCHLD would report the end at once, but children inherit the
/// latter, and then the `wait` of a shell never returns; ten checks a second cost nothing.
fn wait(output: Option<&PipeReader>, turn: Duration) -> anyhow::Result<()> {
    let mut fds: Vec<_> =
        output.map(|output| PollFd::new(output.as_fd(), PollFlags::POLLIN)).into_iter().collect();
    match poll(&mut fds, PollTimeout::try_from(turn).unwrap_or(PollTimeout::ZERO)) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(errno) => Err(errno).context("waiting for the output of the payload"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Runs a script the way `deploy` is run; the limit is short for those that never end.
    fn job(program: &Path) -> Job {
        let folder = program.parent().unwrap().to_owned();
        Job { program: program.to_owned(), arguments: Vec::new(), folder, name: "deploy" }
    }

    fn run_script(script: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("deploy");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let limit = Duration::from_secs(if script.contains("never") { 1 } else { 60 });
        run(&mut Report::silent(), &job(&program), &environment, limit, &mut |_| {})
            .map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn a_script_ends_by_its_status_its_signal_or_its_limit() {
        for (script, want) in [
            ("exit 0", "ok"),
            ("exit 7", "`deploy` ended with status 7"),
            (
                "echo error: one; echo x; printf 'error: two' >&2; exit 7",
                "`deploy` ended with status 7: two",
            ),
            ("kill -9 $$", "`deploy` was killed by SIGKILL"),
            ("exec >&- 2>&-; exit 3", "`deploy` ended with status 3"),
            ("sleep 600 & exit 0", "ok"),
            ("sleep 600 # never ends", "`deploy` took longer than its limit of 1 s"),
            ("while :; do :; done # never ends", "`deploy` took longer than its limit of 1 s"),
            ("yes >/dev/stderr # never ends", "`deploy` took longer than its limit of 1 s"),
        ] {
            assert_eq!(run_script(script), want, "{script}");
        }
    }

    #[test]
    fn a_shell_can_wait_for_its_own_children() {
        assert_eq!(run_script("sleep 0 & sleep 0 & wait; exit 0"), "ok");
    }

    #[test]
    fn a_missing_interpreter_is_named_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("deploy");
        fs::write(&program, "#!/no/such/shell\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let limit = Duration::from_secs(1);
        let error =
            run(&mut Report::silent(), &job(&program), &BTreeMap::new(), limit, &mut |_| {})
                .unwrap_err();
        let want = "starting `deploy`: its interpreter is not in the deploy environment";
        assert_eq!(error.to_string(), want);
    }
}
