//! Decides whether a result that is a folder may replace what is in its place.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::work::Work;
use crate::error::{Problem, file};
use crate::project::Project;

/// Refuses to replace a folder that no build has made, or that holds what the build reads.
pub(super) fn check(project: &Project, inputs: &[PathBuf], result: &Path) -> Result<(), Problem> {
    let looking = || file(format!("looking at {}", result.display()));
    let found = match fs::symlink_metadata(result) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(looking())?,
    };
    let inputs =
        inputs.iter().filter_map(|input| fs::canonicalize(project.folder.join(input)).ok());
    let read: Vec<PathBuf> = inputs.chain([project.folder.clone()]).collect();
    let hint = "choose another imgname, or name another folder by -o";
    if let Some(read) = read.iter().find(|read| read.starts_with(result)) {
        let reason = if read == result {
            format!("the result would replace {}, which it is made from", result.display())
        } else {
            let (result, read) = (result.display(), read.display());
            format!("the result would replace {result}, with {read} in it")
        };
        return Err(Problem::refused(reason, hint));
    }
    let empty = || fs::read_dir(result).is_ok_and(|mut entries| entries.next().is_none());
    if found.is_dir() && (fs::read(mark(result)).ok() == Some(known_by(&found)) || empty()) {
        return Ok(());
    }
    let reason = format!("{} is there, and no build has made it", result.display());
    Err(Problem::refused(reason, format!("remove it, {hint}")))
}

/// Gives a root folder its name; an older one moves into the folder of the build.
pub(super) fn take(work: &Work, result: &Path) -> io::Result<()> {
    let (root, older) = (work.root(), work.join("older"));
    // The mark comes first: as long as the folder is not there, the mark allows nothing.
    File::create(mark(result))?.write_all(&known_by(&fs::symlink_metadata(&root)?))?;
    // rename(2) cannot replace a folder that is not empty.
    let had = match fs::rename(result, &older) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        done => done.map(|()| true)?,
    };
    let named = fs::rename(&root, result);
    if had && named.is_err() {
        // What matters is why the new one could not get its name.
        let _back = fs::rename(&older, result);
    }
    named
}

/// Returns the file beside the result that records which folder a build has made.
fn mark(result: &Path) -> PathBuf {
    let name = result.file_name().unwrap_or_default().to_string_lossy();
    result.with_file_name(format!(".{name}.makeimg-made"))
}

/// Returns what a folder is recognised by: its number, with its creation time.
///
/// A later folder may get the same number, but not with the same creation time.
fn known_by(folder: &Metadata) -> Vec<u8> {
    // On file systems without that time, the number has to be enough.
    let made = folder.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    format!("{} {}\n", folder.ino(), made.unwrap_or_default().as_nanos()).into_bytes()
}
