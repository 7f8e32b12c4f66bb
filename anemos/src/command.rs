//! The only module of this crate that runs programs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, bail};

/// Runs a program to its end and returns its output.
///
/// An error contains the whole command line, the status and the last part of the messages.
pub(crate) fn output<S: AsRef<OsStr>>(
    program: &Path,
    arguments: impl IntoIterator<Item = S>,
) -> anyhow::Result<String> {
    let mut command = start(program);
    let output = command.args(arguments).output();
    let output = output.with_context(|| format!("running {}", program.display()))?;
    printed(&line(&command), &output)
}

/// Does the same for a command that may never end, and kills it after `limit`.
pub(crate) fn output_within(command: Command, limit: Duration) -> anyhow::Result<String> {
    let line = line(&command);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let output = runtime.context("waiting for programs")?.block_on(async {
        let mut command = tokio::process::Command::from(command);
        tokio::time::timeout(limit, command.kill_on_drop(true).output()).await
    });
    let Ok(output) = output else { bail!("{line} took longer than {} s", limit.as_secs()) };
    printed(&line, &output.with_context(|| format!("running {line}"))?)
}

fn printed(line: &str, output: &Output) -> anyhow::Result<String> {
    let Output { status, stdout, stderr } = output;
    if !status.success() {
        let said = String::from_utf8_lossy(stderr);
        bail!("{line} ended with {status}: {}", said.lines().last().unwrap_or_default());
    }
    Ok(String::from_utf8_lossy(stdout).into_owned())
}

/// Returns the whole command line, without the variables that are set for it.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// Prepares a program that is to be run in some other way than to its end.
#[expect(clippy::disallowed_methods, reason = "this is the crate's one wrapper")]
pub(crate) fn start(program: &Path) -> Command {
    Command::new(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_never_ends_is_ended() {
        let mut command = start(Path::new("/bin/sleep"));
        command.arg("600");
        let error = output_within(command, Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.to_string(), "/bin/sleep 600 took longer than 0 s");
    }
}
