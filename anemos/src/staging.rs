//! The folder in which a deployment is staged before the jump.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Closed to everybody but root: the final initramfs holds keys.
const FOLDER: &str = "/var/lib/anemos/staged";
const INITRAMFS: &str = "initramfs";

/// Makes the folder and returns the place of the final initramfs in it.
pub(crate) fn prepare() -> anyhow::Result<PathBuf> {
    let describe = || format!("making {FOLDER}");
    DirBuilder::new().recursive(true).mode(0o700).create(FOLDER).with_context(describe)?;
    Ok(Path::new(FOLDER).join(INITRAMFS))
}

/// Removes the folder with all that is in it; true when there was one.
pub(crate) fn clear() -> anyhow::Result<bool> {
    match fs::remove_dir_all(FOLDER) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("removing {FOLDER}")),
    }
}
