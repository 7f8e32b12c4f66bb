//! The times of files in a reproducible result.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::error::{Problem, file};

/// Sets times after the epoch back to it, for a reproducible result.
pub(super) fn clamp(root: &Path, epoch: Option<i64>) -> Result<(), Problem> {
    let Some(epoch) = epoch else { return Ok(()) };
    clamp_below(root, epoch).map_err(file("setting the times of files back"))
}

fn clamp_below(path: &Path, epoch: i64) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.is_dir() {
        let entries: BTreeMap<_, _> = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| (entry.file_name(), entry.path())))
            .collect::<io::Result<_>>()?;
        for inner in entries.values() {
            clamp_below(inner, epoch)?;
        }
    }
    if found.mtime() >= epoch {
        let time = TimeSpec::new(epoch, 0);
        utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)?;
    }
    Ok(())
}
