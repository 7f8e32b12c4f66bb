//! Reads the `anemos.env` of a project.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use contract::payload::environment::{FILE, Mistake, parse};

use crate::error::{Problem, file};

/// Reads the file; if it does not exist, there are no variables.
pub(crate) fn read(folder: &Path) -> Result<BTreeMap<String, String>, Problem> {
    match fs::read_to_string(folder.join(FILE)) {
        Ok(text) => Ok(parse(&text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => Err(file(format!("reading {FILE}"))(error)),
    }
}

impl From<Mistake> for Problem {
    fn from(Mistake { line, reason, hint }: Mistake) -> Self {
        Self::Text { file: FILE.to_owned(), line, reason, hint: hint.to_owned() }
    }
}
