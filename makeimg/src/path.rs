//! Our own `PATH`, with the folders that the tools of distributions expect.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Finds a program in a `PATH`.
pub(crate) fn find_in(path: Option<&OsStr>, program: &str) -> Option<PathBuf> {
    let runs = |file: &Path| {
        file.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let folders = env::split_paths(path?);
    folders.map(|folder| folder.join(program)).find(|file| runs(file))
}

/// Folders that only the `PATH` of root contains.
const ADMINISTRATOR: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Returns our own `PATH`, with the missing folders of root's at its end.
///
/// The tools of distributions take it for granted that root calls them.
pub(crate) fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for folder in ADMINISTRATOR.map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    // No folder from a PATH contains a colon.
    env::join_paths(folders).unwrap_or(path)
}

/// Finds a program in our own `PATH`, or in the folders that only root's contains.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_in(Some(&path()), program)
}
