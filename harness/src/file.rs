//! Files that cannot be read or written, or whose text cannot be parsed: one error for each.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// An operation on a file or socket failed; what was there before is still there.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct FileError {
    doing: String,
    source: io::Error,
}

impl FileError {
    /// Returns a function that says what failed, as a gerund.
    pub(crate) fn new(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self { doing, source }
    }

    /// Returns a function that says what failed on which file.
    pub(crate) fn at(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        Self::new(format!("{doing} {}", path.display()))
    }
}

/// The text of a file is not what it must be.
#[derive(Debug, thiserror::Error)]
#[error("parsing {}: {reason}", path.display())]
pub struct ParseError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, with the place.
    pub reason: String,
}

impl ParseError {
    /// Returns a function that names the file.
    pub(crate) fn at<E: ToString>(path: &Path) -> impl FnOnce(E) -> Self {
        move |reason| Self { path: path.to_owned(), reason: reason.to_string() }
    }
}

/// Returns an error with everything that caused it, for a sentence that goes on.
pub(crate) fn whole(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn each_cause_is_named_once() {
        let error = std::fs::read("/none").map_err(FileError::at("reading", Path::new("/none")));
        let error = error.unwrap_err();
        assert_eq!(error.to_string(), "reading /none");
        assert_eq!(whole(&error), "reading /none: No such file or directory (os error 2)");
    }
}
