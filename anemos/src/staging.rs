//! The folder in which a deployment is staged before the jump, and how all of it is taken back.

mod undo;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

pub(crate) use self::undo::UndoLog;

/// Closed to everybody but root: the final initramfs holds keys.
const FOLDER: &str = "/var/lib/anemos/staged";
const INITRAMFS: &str = "initramfs";
/// There as long as something outside of the folder is changed.
pub(crate) const UNDO_LOG: &str = "/var/lib/anemos/staged/undo.json";

/// Makes the folder and returns the place of the final initramfs in it.
pub(crate) fn prepare() -> anyhow::Result<PathBuf> {
    let describe = || format!("making {FOLDER}");
    DirBuilder::new().recursive(true).mode(0o700).create(FOLDER).with_context(describe)?;
    Ok(Path::new(FOLDER).join(INITRAMFS))
}

/// Opens the record of what is changed outside of the folder.
pub(crate) fn undo_log() -> anyhow::Result<UndoLog> {
    UndoLog::open(Path::new(UNDO_LOG))
}

/// Removes the final initramfs, once what will be booted has a copy.
pub(crate) fn drop_initramfs() -> anyhow::Result<()> {
    let path = Path::new(FOLDER).join(INITRAMFS);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
}

/// Takes back what was changed elsewhere and removes the folder; says what it did.
pub(crate) fn clear() -> anyhow::Result<Vec<String>> {
    let mut did = undo_log()?.undo()?;
    match fs::remove_dir_all(FOLDER) {
        Ok(()) => did.push(format!("removed {FOLDER}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("removing {FOLDER}")),
    }
    Ok(did)
}
