//! Reports how a command ends: errors, ways out, exit codes.
//!
//! Only this module prints errors.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;

/// Why a command is refused: a foreseen reason and the way out.
///
/// The reason was found before anything was changed.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{reason}")]
pub(crate) struct Refused {
    reason: String,
    hint: String,
}

impl Refused {
    /// Returns a refusal with its reason and its way out.
    pub(crate) fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: hint.into() }
    }

    /// Returns the way out.
    pub(crate) fn hint(&self) -> &str {
        &self.hint
    }

    /// Returns the refusal of something that a later version will do.
    pub(crate) fn not_built_in(what: &str, hint: impl Into<String>) -> Self {
        Self::new(format!("{what} is not built in yet"), hint)
    }
}

/// The requested thing could not even be tried, which says nothing about its outcome.
#[derive(Debug, Error)]
#[error("{0}")]
pub(crate) struct Broken(pub(crate) String);

/// Programs that are needed and are not installed.
#[derive(Debug, Error)]
#[error("this host lacks programs that a rehearsal needs: {programs}")]
pub(crate) struct Missing {
    /// Their names.
    pub(crate) programs: String,
    /// How they can be had.
    pub(crate) hint: String,
}

const REFUSED: u8 = 3;
const BROKEN: u8 = 4;
/// The exit code that shells report for a program that SIGINT ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// Prints `error` with its contexts on one line, and the way out, if known, on the next.
pub(crate) fn failure(error: &anyhow::Error) -> ExitCode {
    step(&format!("error: {}", reason(error)));
    if let Some(hint) = hint(error) {
        step(&format!("hint: {hint}"));
    }
    ExitCode::from(status(error))
}

/// Returns `error` with its contexts, on one line.
pub(crate) fn reason(error: &anyhow::Error) -> String {
    format!("{error:#}").trim().replace('\n', " ")
}

/// Returns whether something foreseen was found before anything was changed.
pub(crate) fn is_refusal(error: &anyhow::Error) -> bool {
    find::<Refused>(error).is_some()
}

/// Makes what is neither a refusal nor something missing a thing that could not be tried.
pub(crate) fn not_tried(error: anyhow::Error) -> anyhow::Error {
    if is_refusal(&error) || find::<Missing>(&error).is_some() {
        return error;
    }
    Broken(reason(&error)).into()
}

/// Prints one step, in the present tense, before it is done.
///
/// If the connection has died meanwhile, nothing is printed, because that must not end what is
/// being done.
pub(crate) fn step(text: &str) {
    let _nobody_listens = writeln!(io::stderr(), "{text}");
}

/// Asks a question and leaves the cursor after it.
pub(crate) fn prompt(text: &str) -> io::Result<()> {
    write!(io::stderr(), "{text}")?;
    io::stderr().flush()
}

/// Whether standard output is for a program alone.
static RESERVED: AtomicBool = AtomicBool::new(false);

/// Sends results for people to standard error from now on.
pub(crate) fn reserve_stdout() {
    RESERVED.store(true, Ordering::Relaxed);
}

/// Prints the result for people.
pub(crate) fn result(text: &str) {
    let text = text.strip_suffix('\n').unwrap_or(text);
    if RESERVED.load(Ordering::Relaxed) { step(text) } else { for_programs(text) }
}

/// Prints a result that a program reads; it is fine if one such as head(1) does not want all of it.
pub(crate) fn for_programs(text: &str) {
    let _nobody_reads = writeln!(io::stdout(), "{text}");
}

/// Returns the way out, which can also exist if an image fails as it is built.
pub(crate) fn hint(error: &anyhow::Error) -> Option<&str> {
    let refusal = find::<Refused>(error).map(Refused::hint);
    let refusal = refusal.or_else(|| find::<Missing>(error).map(|missing| missing.hint.as_str()));
    refusal.or_else(|| find::<makeimg::MakeError>(error).and_then(makeimg::MakeError::hint))
}

fn status(error: &anyhow::Error) -> u8 {
    if is_refusal(error) {
        REFUSED
    } else if find::<Broken>(error).is_some() || find::<Missing>(error).is_some() {
        BROKEN
    } else {
        1
    }
}

/// Finds an error of one type among contexts and causes.
fn find<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.downcast_ref::<E>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<E>()))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use makeimg::{MakeError, Problem, Step};

    use super::{Broken, Missing, Refused, hint, status};

    #[test]
    fn a_step_that_fails_late_is_no_refusal_and_tells_its_way_out() {
        let (reason, way_out) = ("it is too large".to_owned(), "make it smaller".to_owned());
        let problem = Problem::Refused { reason, hint: way_out };
        let error = anyhow!(MakeError { step: Step::Finish, problem });
        assert_eq!((status(&error), hint(&error)), (1, Some("make it smaller")));
    }

    #[test]
    fn the_status_tells_refusals_and_broken_runs_from_failures() {
        let refusal = || Refused::new("no payload", "name one");
        for (error, want) in [
            (anyhow!("it failed"), 1),
            (anyhow!(refusal()), 3),
            (Err::<(), _>(refusal()).context("planning").unwrap_err(), 3),
            (Err::<(), _>(anyhow!("cause")).context(refusal()).unwrap_err(), 3),
            (anyhow!(Broken("no QEMU".to_owned())), 4),
            (anyhow!(Missing { programs: "ssh".to_owned(), hint: "install it".to_owned() }), 4),
        ] {
            assert_eq!(status(&error), want, "{error:#}");
        }
    }
}
