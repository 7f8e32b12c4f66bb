//! Runs programs of the host: none outlives us, and every failure names the whole command.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Child;

/// How many lines of a program's messages an error quotes.
const TAIL_LINES: usize = 10;

/// A program with its arguments.
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
}

/// The output of a program that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Returns the standard output as text, with a replacement for what is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("starting {command}")]
    Start {
        /// The whole command line.
        command: String,
        /// The reason.
        source: io::Error,
    },
    /// It could not be waited for.
    #[error("waiting for {command}")]
    Wait {
        /// The whole command line.
        command: String,
        /// The reason.
        source: io::Error,
    },
    /// It ended with a bad status.
    #[error("{command} ended with {status}{}", quoted(tail))]
    Status {
        /// The whole command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of its standard error.
        tail: String,
    },
}

impl Command {
    /// Describes a call of `program`, which is looked up in `PATH`.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the program's environment; the rest is ours.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Sets the folder the program runs in.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Returns the command line as a shell would read it.
    pub fn line(&self) -> String {
        let environment = self.environment.iter().map(|(name, value)| {
            format!("{}={}", name.to_string_lossy(), quote(&value.to_string_lossy()))
        });
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let words = words.map(|word| quote(&word.to_string_lossy()));
        environment.chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Runs the program to its end, without input; a bad status is an error.
    ///
    /// Dropping the future ends the program and what it has started.
    pub async fn run(&self) -> Result<Output, CommandError> {
        let mut command = self.guarded();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).spawn().map_err(|source| self.not_started(source))?;
        let group = Group::of(&child);
        let output = child
            .wait_with_output()
            .await
            .map_err(|source| CommandError::Wait { command: self.line(), source })?;
        group.has_ended();
        self.check(output.status, &output.stderr)?;
        Ok(Output { stdout: output.stdout, stderr: output.stderr })
    }

    /// Starts the program with both output streams in a file; dropping the child ends it.
    ///
    /// It leads its own process group, so that only we get Ctrl-C.
    pub fn start(&self, log: File) -> Result<Child, CommandError> {
        let started = log.try_clone().and_then(|copy| {
            let mut command = self.guarded();
            command.stdin(Stdio::null()).stdout(copy).stderr(log).process_group(0);
            command.spawn()
        });
        started.map_err(|source| self.not_started(source))
    }

    /// Runs the program on our own terminal to its end; a bad status is an error.
    pub async fn attach(&self) -> Result<(), CommandError> {
        let child = self.guarded().spawn().map_err(|source| self.not_started(source))?;
        let output = child.wait_with_output().await;
        let output =
            output.map_err(|source| CommandError::Wait { command: self.line(), source })?;
        self.check(output.status, &[])
    }

    /// Turns a bad status into an error that quotes the end of `stderr`.
    pub fn check(&self, status: ExitStatus, stderr: &[u8]) -> Result<(), CommandError> {
        if status.success() {
            return Ok(());
        }
        Err(CommandError::Status { command: self.line(), status, tail: tail(stderr) })
    }

    fn not_started(&self, source: io::Error) -> CommandError {
        CommandError::Start { command: self.line(), source }
    }

    /// Returns a command whose child the kernel kills when the thread that started it ends.
    ///
    /// That holds however we end.
    #[expect(clippy::disallowed_methods, reason = "this is the crate's one wrapper")]
    fn guarded(&self) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program).args(&self.arguments);
        command.env("PATH", search_path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.kill_on_drop(true);
        command
    }
}

/// Returns where programs are looked for: what a user who is not root has, and where sfdisk(8),
/// debugfs(8) and the like are, which such a user may run as well.
pub fn search_path() -> OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let folders: Vec<_> = std::env::split_paths(&own).collect();
    let more = more.into_iter().filter(|folder| !folders.contains(folder));
    let all = folders.iter().cloned().chain(more);
    // Only a folder with a colon in its name could not be joined, and none was split off.
    std::env::join_paths(all).unwrap_or(own)
}

/// A program that leads its own process group, with all that it has started; dropping this kills
/// them (killpg(3)).
///
/// A script is one process, but what it runs outlives it otherwise.
#[derive(Debug)]
pub(crate) struct Group(Option<Pid>);

impl Group {
    /// Takes the group of a child that was started as a leader.
    pub(crate) fn of(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Self(pid.map(Pid::from_raw))
    }

    /// Leaves the group alone: its leader has ended by itself.
    pub(crate) fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // Whatever has ended already need not be killed.
            let _gone = killpg(pid, Signal::SIGKILL);
        }
    }
}

/// Returns the last lines of a program's messages.
pub fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Quotes a word for a shell if it needs quotes.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn quoted(tail: &str) -> String {
    if tail.is_empty() { String::new() } else { format!(": {tail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_also_looked_for_where_only_root_has_its_path() {
        let path = search_path();
        let folders: Vec<_> = std::env::split_paths(&path).collect();
        for folder in ["/usr/sbin", "/sbin"] {
            let times = folders.iter().filter(|known| *known == Path::new(folder)).count();
            assert_eq!(times, 1, "{folder} in {path:?}");
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().expect("a runtime").block_on(future)
    }

    #[test]
    fn a_command_line_can_be_pasted() {
        let command = Command::new("printf").arg("%s").arg("it's $HOME").arg("").env("A", "b c");
        assert_eq!(command.line(), r"A='b c' printf %s 'it'\''s $HOME' ''");
    }

    #[test]
    fn a_bad_end_tells_command_status_and_last_words() {
        let command = Command::new("sh").arg("-c").arg("echo out; echo no such disk >&2; exit 3");
        let error = block_on(command.run()).expect_err("it must fail").to_string();
        assert_eq!(
            error,
            "sh -c 'echo out; echo no such disk >&2; exit 3' ended with exit status: 3: \
             no such disk"
        );
    }

    #[test]
    fn a_good_end_returns_both_streams_and_the_environment_is_passed() {
        let command = Command::new("sh").arg("-c").arg("echo $WORD; pwd; echo b >&2");
        let output = block_on(command.env("WORD", "a").folder("/").run()).expect("it runs");
        assert_eq!((output.text().as_str(), output.stderr.as_slice()), ("a\n/\n", &b"b\n"[..]));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = block_on(Command::new("no-such-program").run()).expect_err("it must fail");
        assert!(error.to_string().starts_with("no-such-program ended with"), "{error}");
    }

    /// Waits for a line in a process's status; the process may be gone.
    fn status_shows(pid: u32, met: impl Fn(&str) -> bool) {
        let file = format!("/proc/{pid}/status");
        let shown = async {
            while !met(&std::fs::read_to_string(&file).unwrap_or_default()) {
                tokio::task::yield_now().await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        let shown = block_on(async { tokio::time::timeout(limit, shown).await });
        assert!(shown.is_ok(), "{:?}", std::fs::read_to_string(&file));
    }

    #[test]
    fn a_program_ends_with_the_thread_that_started_it_even_if_nobody_drops_it() {
        let thread = std::thread::spawn(|| {
            let log = tempfile::tempfile().expect("a log");
            let child = block_on(async { Command::new("sleep").arg("1000").start(log) });
            let child = child.expect("it starts");
            let pid = child.id().expect("a process");
            status_shows(pid, |status| status.contains("Name:\tsleep"));
            std::mem::forget(child);
            pid
        });
        let pid = thread.join().expect("a process");
        status_shows(pid, |status| !status.contains("State:\tS") && !status.contains("State:\tR"));
    }

    #[test]
    fn only_the_last_lines_are_quoted() {
        let long: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        assert_eq!(tail(long.join("\n").as_bytes()).lines().next(), Some("20"));
        assert_eq!(tail(b""), "");
    }
}
