//! Rebuilds a disk as it was at some position in its log of writes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::command::CommandError;
use crate::image;
use crate::write_log::WriteLog;

/// The disk as it was when the machine was switched on, with what was written since.
#[derive(Debug)]
pub(super) struct Rebuilt {
    raw: PathBuf,
    log: WriteLog,
}

impl Rebuilt {
    /// Starts with the backing image of `disk`, a qcow2 image, and rebuilds it in `raw`.
    pub(super) async fn new(disk: &Path, log: &Path, raw: PathBuf) -> io::Result<Self> {
        let failed = |error: CommandError| io::Error::other(error);
        image::backing_as_raw(disk, &raw).await.map_err(failed)?;
        Ok(Self { raw, log: WriteLog::open(log)? })
    }

    /// Turns the raw image into the disk as it was at position `at` of the log.
    pub(super) fn go_to(&mut self, at: u64) -> io::Result<()> {
        let raw = File::options().write(true).open(&self.raw)?;
        self.log.replay(&raw, at)
    }

    /// Replaces `disk` by the disk as it was at position `at` of the log.
    pub(super) async fn put(&mut self, at: u64, disk: &Path) -> io::Result<()> {
        self.go_to(at)?;
        // It is complete by itself: it may be kept, and the raw one continues to the next position.
        image::from_raw(disk, &self.raw).await.map_err(io::Error::other)
    }
}
