//! Runs programs so that their output is shown at once, and errors name the program that failed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use crate::listen::listen;
use crate::path;
use crate::step::Watch;
use contract::quote;

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

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started, or its output not be read.
    #[error("running {command}")]
    Run {
        /// Its name, or the whole command line.
        command: String,
        /// The reason.
        source: io::Error,
    },
    /// It exited with a failure.
    #[error("{command} ended with {status}{}", appended(tail))]
    Status {
        /// Its name, or the whole command line.
        command: String,
        /// How it exited.
        status: ExitStatus,
        /// The last lines of its output, beginning with the first that calls itself an error.
        tail: String,
    },
}

impl Command {
    /// Describes a call of `program`, which is searched for in `PATH`.
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

    /// Sets a variable of the program's environment, which is otherwise the same as ours.
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

    /// Removes a variable from the program's environment.
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

    /// Sets what errors call this command instead of its whole line.
    #[must_use]
    pub(crate) fn shown(mut self, shown: impl Into<String>) -> Self {
        self.shown = Some(shown.into());
        self
    }

    /// Shows the whole command line to `watch`; from then on, errors call this command `shown`.
    ///
    /// This is for lines so long that nobody would find in them what went wrong.
    #[must_use]
    pub(crate) fn announced(self, shown: &str, watch: &mut dyn Watch) -> Self {
        watch.line(&self.line());
        self.shown(shown)
    }

    /// Makes another program start this one, whose name stays in errors.
    #[must_use]
    pub(crate) fn started_by(self, program: &str, first: &[&str]) -> Self {
        let shown = Some(self.line());
        let arguments = first.iter().map(OsString::from).chain([self.program]);
        let arguments = arguments.chain(self.arguments).collect();
        Self { program: program.into(), arguments, shown, ..self }
    }

    /// Runs the program in a mount namespace of its own, so that its mounts end with it.
    #[must_use]
    pub(crate) fn enclosed(self) -> Self {
        self.started_by("unshare", &["--mount"])
    }

    /// Returns its name, or else the command line as a shell would read it.
    pub(crate) fn line(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.arguments);
        let line = || words.map(|word| quote::word(&word.to_string_lossy())).collect::<Vec<_>>();
        self.shown.clone().unwrap_or_else(|| line().join(" "))
    }

    /// Runs the program to its end, without a terminal; every line of its output goes to `watch`.
    pub(crate) fn run(&self, watch: &mut dyn Watch) -> Result<(), CommandError> {
        let (reader, child) = self.start(None)?;
        self.end(child, reader, watch).map(drop)
    }

    /// Runs the program to its end and returns its standard output; the rest goes to `watch`.
    pub(crate) fn output(&self, watch: &mut dyn Watch) -> Result<Vec<u8>, CommandError> {
        let (reader, child) = self.start(Some(Stdio::piped()))?;
        self.end(child, reader, watch)
    }

    /// Runs the program on our own input and output to its end.
    pub(crate) fn attach(&self) -> Result<ExitStatus, CommandError> {
        self.described().status().map_err(|source| self.not_run(source))
    }

    /// Starts it with its messages in a pipe, and its output too unless that goes elsewhere.
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
        reader: PipeReader,
        watch: &mut dyn Watch,
    ) -> Result<Vec<u8>, CommandError> {
        let output = child.stdout.take();
        let heard = listen(&mut child, reader, output, watch);
        let status = child.wait().map_err(|source| self.not_run(source))?;
        let mut heard = heard.map_err(|source| self.not_run(source))?;
        if status.success() {
            return Ok(heard.output);
        }
        Err(CommandError::Status { command: self.line(), status, tail: heard.tail() })
    }

    fn not_run(&self, source: io::Error) -> CommandError {
        CommandError::Run { command: self.line(), source }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the crate's one wrapper")]
    fn described(&self) -> std::process::Command {
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments).env("PATH", path::path());
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

fn appended(tail: &str) -> String {
    if tail.is_empty() { String::new() } else { format!(": {tail}") }
}
