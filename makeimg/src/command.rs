//! Runs programs, so that what they say is heard at once and a failure tells which one it was.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::thread;

use crate::stage::Watch;
use crate::tools;

/// How many lines of what a program said an error quotes.
const TAIL_LINES: usize = 12;

/// A program and its arguments.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    folder: Option<PathBuf>,
    input: Option<PathBuf>,
    shown: Option<String>,
}

/// Why a program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started, or not be listened to.
    #[error("running {command}")]
    Run {
        /// What it is called, or the whole command line.
        command: String,
        /// The reason.
        source: io::Error,
    },
    /// It ended badly.
    #[error("{command} ended with {status}{}", quoted(tail))]
    Status {
        /// What it is called, or the whole command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it said, from the first on that calls itself an error.
        tail: String,
    },
}

impl Command {
    /// Describes a call of `program`, which is searched in `PATH`.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
            folder: None,
            input: None,
            shown: None,
        }
    }

    /// Adds one argument.
    #[must_use]
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub(crate) fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable of the program's environment; the rest is ours.
    #[must_use]
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Sets variables of the program's environment.
    #[must_use]
    pub(crate) fn envs<N: AsRef<OsStr>, V: AsRef<OsStr>>(
        self,
        variables: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        variables.into_iter().fold(self, |command, (name, value)| command.env(name, value))
    }

    /// Takes a variable out of the program's environment.
    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// Sets the folder the program runs in.
    #[must_use]
    pub(crate) fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_path_buf());
        self
    }

    /// Sets the file that the program reads as its standard input.
    #[must_use]
    pub(crate) fn input(mut self, file: &Path) -> Self {
        self.input = Some(file.to_path_buf());
        self
    }

    /// Says what errors call this command instead of its whole line.
    #[must_use]
    pub(crate) fn shown(mut self, shown: impl Into<String>) -> Self {
        self.shown = Some(shown.into());
        self
    }

    /// Tells the whole command line to `watch`; from then on errors call this command `shown`.
    ///
    /// For lines so long that nobody would find in them what went wrong.
    #[must_use]
    pub(crate) fn announced(self, shown: &str, watch: &mut dyn Watch) -> Self {
        watch.line(&self.line());
        self.shown(shown)
    }

    /// Has another program start this one, whose name it keeps.
    #[must_use]
    pub(crate) fn started_by(self, program: &str, first: &[&str]) -> Self {
        let shown = Some(self.line());
        let arguments = first.iter().map(OsString::from).chain([self.program]);
        let arguments = arguments.chain(self.arguments).collect();
        Self { program: program.into(), arguments, shown, ..self }
    }

    /// Has the program run in a mount namespace of its own: what it mounts ends with it.
    #[must_use]
    pub(crate) fn enclosed(self) -> Self {
        self.started_by("unshare", &["--mount"])
    }

    /// Returns what it is called, else the command line as a shell would read it.
    pub(crate) fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let line = || words.map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>();
        self.shown.clone().unwrap_or_else(|| line().join(" "))
    }

    /// Runs the program to its end, without a terminal; every line it says goes to `watch`.
    pub(crate) fn run(&self, watch: &mut dyn Watch) -> Result<(), CommandError> {
        let (reader, child) = self.start(None)?;
        let tail = listen(reader, watch).map_err(|source| self.not_run(source));
        self.end(child, tail)
    }

    /// Runs the program to its end and returns its standard output; the rest goes to `watch`.
    pub(crate) fn output(&self, watch: &mut dyn Watch) -> Result<Vec<u8>, CommandError> {
        let (reader, mut child) = self.start(Some(Stdio::piped()))?;
        let stdout = child.stdout.take();
        let collected = thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.map_or(Ok(0), |mut stdout| stdout.read_to_end(&mut bytes)).map(|_size| bytes)
        });
        let tail = listen(reader, watch).map_err(|source| self.not_run(source));
        let bytes = collected.join().unwrap_or_else(|_| Err(io::Error::other("a lost thread")));
        self.end(child, tail)?;
        bytes.map_err(|source| self.not_run(source))
    }

    /// Runs the program on our own input and output to its end.
    pub(crate) fn attach(&self) -> Result<ExitStatus, CommandError> {
        self.described().status().map_err(|source| self.not_run(source))
    }

    /// Starts it with its messages, and its output unless that goes elsewhere, in one pipe.
    fn start(&self, stdout: Option<Stdio>) -> Result<(PipeReader, Child), CommandError> {
        let started = io::pipe().and_then(|(reader, writer)| {
            let output = match stdout {
                Some(stdout) => stdout,
                None => writer.try_clone()?.into(),
            };
            let input = match &self.input {
                Some(file) => File::open(file)?.into(),
                None => Stdio::null(),
            };
            let mut command = self.described();
            command.stdin(input).stdout(output).stderr(writer);
            Ok((reader, command.spawn()?))
        });
        started.map_err(|source| self.not_run(source))
    }

    fn end(
        &self,
        mut child: Child,
        tail: Result<String, CommandError>,
    ) -> Result<(), CommandError> {
        let status = child.wait().map_err(|source| self.not_run(source))?;
        let tail = tail?;
        if status.success() {
            return Ok(());
        }
        Err(CommandError::Status { command: self.line(), status, tail })
    }

    fn not_run(&self, source: io::Error) -> CommandError {
        CommandError::Run { command: self.line(), source }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the crate's one wrapper")]
    fn described(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments).env("PATH", tools::path());
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

/// Passes lines on until nobody writes any more, and returns the last of them.
fn listen(reader: PipeReader, watch: &mut dyn Watch) -> io::Result<String> {
    let mut reader = BufReader::new(reader);
    let mut tail = VecDeque::new();
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        // Progress bars go back to the begin of their line: its last state is what counts.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
        line.clear();
        watch.line(&text);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(text);
    }
    Ok(telling(tail.make_contiguous()).join("\n").trim().to_owned())
}

/// The lines from the first on that calls itself an error, or all of them: what apt(8), pacman(8) and
/// apk(8) say before that is of what went well.
fn telling(lines: &[String]) -> &[String] {
    let is_error = |line: &String| {
        ["E: ", "Err:", "error: ", "ERROR: "].iter().any(|word| line.starts_with(word))
    };
    let first = lines.iter().position(is_error).unwrap_or_default();
    lines.get(first..).unwrap_or_default()
}

/// Quotes a word for a shell when it needs it.
pub(crate) fn quote(word: &str) -> String {
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
    use super::telling;

    #[test]
    fn what_went_well_before_an_error_is_not_quoted() {
        for (said, want) in [
            ("Get:1\nE: no such package\nI: ends", "E: no such package\nI: ends"),
            ("Get:1\nErr:2\n  no key\nE: not signed", "Err:2\n  no key\nE: not signed"),
            (":: looking\nerror: no target: x", "error: no target: x"),
            ("fetch\nERROR: bad signature", "ERROR: bad signature"),
            ("one\ntwo", "one\ntwo"),
            ("", ""),
        ] {
            let lines: Vec<_> = said.lines().map(str::to_owned).collect();
            assert_eq!(telling(&lines).join("\n"), want, "{said:?}");
        }
    }
}
