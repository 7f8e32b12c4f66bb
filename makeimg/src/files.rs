//! Copies input files into the image, owned by root, with their modes and symlinks unchanged.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Problem, file};
use crate::root::Root;

/// Copies files, each to its path in the image.
pub(crate) fn copy<'a>(
    root: &Root,
    files: impl IntoIterator<Item = (&'a PathBuf, &'a PathBuf)>,
) -> Result<(), Problem> {
    for (path, source) in files {
        copy_one(root, path, source).map_err(file(format!(
            "copying {} to /{}",
            source.display(),
            path.display()
        )))?;
    }
    Ok(())
}

fn copy_one(root: &Root, path: &Path, source: &Path) -> std::io::Result<()> {
    let found = fs::symlink_metadata(source)?;
    if found.is_symlink() {
        return root.symlink(path, fs::read_link(source)?.as_os_str());
    }
    root.place(path, &mut File::open(source)?, found.permissions().mode() & 0o7777)
}
