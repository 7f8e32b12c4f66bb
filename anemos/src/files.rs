//! Copies and reads files for several modules.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;

/// Copies a file for its owner alone, and writes it back, because boot loaders have no page cache.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let describe = || format!("copying {} to {}", from.display(), to.display());
    let mut source = File::open(from).with_context(describe)?;
    let mut options = OpenOptions::new();
    let mut copy =
        options.write(true).create_new(true).mode(0o600).open(to).with_context(describe)?;
    io::copy(&mut source, &mut copy).with_context(describe)?;
    copy.sync_all().with_context(describe)
}

/// Reads a small file; none if it does not exist.
pub(crate) fn read_if_there(path: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Succeeds if the file to remove or move does not exist.
pub(crate) fn if_there(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Returns the words of a data file, without its comments.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_whitespace)
}
