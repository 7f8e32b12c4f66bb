//! The crate's one way to run a program.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, bail};

/// Runs a program to its end and returns what it printed.
///
/// An error holds the whole command line, the status and the end of what it said.
pub(crate) fn output<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<String> {
    let mut command = start(program);
    let output = command.args(arguments).output();
    let Output { status, stdout, stderr } =
        output.with_context(|| format!("running {}", program.display()))?;
    if !status.success() {
        let said = String::from_utf8_lossy(&stderr);
        bail!("{command:?} ended with {status}: {}", said.lines().last().unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(&stdout).into_owned())
}

/// A program that is to be run in some other way than to its end.
#[expect(clippy::disallowed_methods, reason = "this is the crate's one wrapper")]
pub(crate) fn start(program: &Path) -> Command {
    Command::new(program)
}
