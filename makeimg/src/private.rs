//! Folders and files that only the builder can read, because variables may hold secrets.

use std::fs::{OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use crate::error::{Problem, file};

/// Makes a folder that exists as long as it is held.
///
/// It is in the folder of the build if there is one, which the next build removes if this one is
/// killed, else where temporary files go.
pub(crate) fn folder(within: Option<&Path>) -> Result<TempDir, Problem> {
    let mut builder = tempfile::Builder::new();
    builder.permissions(Permissions::from_mode(0o700));
    let made = match within {
        Some(within) => builder.tempdir_in(within),
        None => builder.tempdir(),
    };
    made.map_err(file("making a folder"))
}

/// Writes a new file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Problem> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(bytes));
    written.map_err(file(format!("writing {}", path.display())))
}
