//! The kernel to enter, with its initramfs.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};

use crate::files;
use crate::staging::UndoLog;

/// The kernel of the deploy environment with what it is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Next<'n> {
    pub(crate) kernel: &'n Path,
    pub(crate) initramfs: &'n Path,
    pub(crate) command_line: &'n str,
}

/// Copies kernel and initramfs to a folder of ours that nobody else can enter.
///
/// The initramfs contains keys, and some file systems have one mode for everything.
pub(super) fn copy(
    next: &Next<'_>,
    folder: &Path,
    kernel: &str,
    undo: &mut UndoLog,
) -> anyhow::Result<()> {
    undo.make_folder(folder)?;
    let mode =
        folder.metadata().with_context(|| format!("looking at {}", folder.display()))?.mode();
    if mode & 0o077 != 0 {
        bail!(
            "everybody could read the keys in {}: mount its file system anew with umask=0077",
            folder.display()
        );
    }
    files::copy(next.kernel, &folder.join(kernel))?;
    files::copy(next.initramfs, &folder.join("initramfs"))
}
