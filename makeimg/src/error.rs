//! Why an image was not built: the step that failed, and its problem.

use std::error::Error;
use std::io;

use crate::command::CommandError;
use crate::step::Step;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("step {step}")]
pub struct MakeError {
    /// The step.
    pub step: Step,
    /// Why it failed.
    #[source]
    pub problem: Problem,
}

impl MakeError {
    /// Returns reason and hint if this was foreseen, and found before anything was built.
    pub fn refusal(&self) -> Option<(String, String)> {
        let hint = self.hint().filter(|_| self.step <= Step::Prepare)?;
        Some((self.problem.describe(), hint.to_owned()))
    }

    /// Returns the hint if this was foreseen, no matter when it was found.
    pub fn hint(&self) -> Option<&str> {
        self.problem.hint()
    }
}

/// What can make a step fail.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// Something that was foreseen.
    #[error("{reason}")]
    Refused {
        /// What is wrong.
        reason: String,
        /// How to fix it.
        hint: String,
    },
    /// A mistake in a line of a file of the project.
    #[error("{file}, line {line}: {reason}")]
    Text {
        /// The file.
        file: String,
        /// The line number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
        /// How to fix it.
        hint: String,
    },
    /// A program that failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file operation that failed.
    #[error("{doing}")]
    File {
        /// What was attempted, as a gerund with its object.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A problem, with what it concerns.
    #[error("{about}")]
    About {
        /// What the problem is about, including what was done to it.
        about: String,
        /// The problem.
        source: Box<Problem>,
    },
}

impl Problem {
    /// Returns a refusal.
    pub(crate) fn refused(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused { reason: reason.into(), hint: hint.into() }
    }

    /// Returns a problem with its causes on one line.
    pub(crate) fn describe(&self) -> String {
        let mut text = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            next = cause.source();
        }
        text
    }

    /// Returns the hint, if there is one.
    fn hint(&self) -> Option<&str> {
        match self {
            Self::Refused { hint, .. } | Self::Text { hint, .. } => Some(hint),
            Self::About { source, .. } => source.hint(),
            Self::Command(_) | Self::File { .. } => None,
        }
    }

    /// Names what this problem is about.
    pub(crate) fn about(self, about: impl Into<String>) -> Self {
        Self::About { about: about.into(), source: Box::new(self) }
    }
}

/// Names what was done to a file when it failed.
pub(crate) fn file<E: Into<io::Error>>(doing: impl Into<String>) -> impl FnOnce(E) -> Problem {
    move |source| Problem::File { doing: doing.into(), source: source.into() }
}
