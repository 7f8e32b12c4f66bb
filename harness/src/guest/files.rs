//! The files that a guest leaves behind as evidence.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::GuestError;
use crate::file::FileError;

/// Names of the files of one guest.
#[derive(Clone, Debug)]
pub(super) struct Files {
    folder: PathBuf,
    name: String,
}

impl Files {
    /// Makes the folder.
    pub(super) fn new(folder: &Path, name: &str) -> Result<Self, GuestError> {
        std::fs::create_dir_all(folder).map_err(FileError::at("making the folder", folder))?;
        Ok(Self { folder: folder.to_path_buf(), name: name.to_owned() })
    }

    pub(super) fn path(&self, suffix: &str) -> PathBuf {
        self.folder.join(format!("{}.{suffix}", self.name))
    }

    pub(super) fn create(&self, suffix: &str) -> Result<File, GuestError> {
        let path = self.path(suffix);
        Ok(File::create(&path).map_err(FileError::at("creating", &path))?)
    }

    pub(super) fn write(&self, suffix: &str, text: &str) -> Result<(), GuestError> {
        let path = self.path(suffix);
        Ok(std::fs::write(&path, text).map_err(FileError::at("writing", &path))?)
    }
}

/// Lines with the time at which each was finished.
#[derive(Debug)]
pub(super) struct Transcript(pub(super) File);

impl Transcript {
    pub(super) fn line(&mut self, at: Duration, line: &str) {
        // A full disk costs evidence, but does not end the run.
        drop(writeln!(self.0, "{:10.3} {line}", at.as_secs_f64()));
    }
}
