//! Sparse raw copies of an image that contain only what is needed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::image;

/// Bytes at each end of a disk or a partition that are copied.
///
/// A GPT needs 17 KiB, the labels of ZFS 512 KiB.
const END: u64 = 1 << 20;

/// A copy of an image.
#[derive(Debug)]
pub(super) struct Sparse {
    image: PathBuf,
    path: PathBuf,
    /// What is copied passes through this file.
    part: PathBuf,
    size: u64,
}

impl Sparse {
    /// Copies both ends of an image into a file in `work`.
    pub(super) async fn of_ends(image: &Path, work: &Path) -> io::Result<Self> {
        let size = image::virtual_size(image).await.map_err(io::Error::other)?;
        let (path, part) = (work.join("ends.raw"), work.join("part.raw"));
        File::create(&path)?.set_len(size)?;
        let copy = Self { image: image.to_owned(), path, part, size };
        copy.add_ends(0, size).await?;
        Ok(copy)
    }

    /// Returns the file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a file from one part of the image, with both its ends.
    pub(super) async fn cut(&self, start: u64, size: u64, file: &Path) -> io::Result<()> {
        self.add_ends(start, size).await?;
        let (mut from, mut to) = (File::open(&self.path)?, File::create(file)?);
        for at in [0, size.saturating_sub(END)] {
            from.seek(SeekFrom::Start(start + at))?;
            to.seek(SeekFrom::Start(at))?;
            io::copy(&mut (&mut from).take(END.min(size)), &mut to)?;
        }
        to.set_len(size)
    }

    async fn add_ends(&self, start: u64, size: u64) -> io::Result<()> {
        for at in [start, (start + size).saturating_sub(END).max(start)] {
            self.add(at / END).await?;
        }
        Ok(())
    }

    /// Copies two blocks, so that whatever begins in the first one is there in full length.
    async fn add(&self, block: u64) -> io::Result<()> {
        if block * END >= self.size {
            return Ok(());
        }
        let dd = Command::new("qemu-img").args(["dd", "-U", "-O", "raw", "bs=1M"]);
        // As with dd(1), `count` is counted from the beginning, where qemu-img has `skip`.
        let dd = dd.arg(format!("skip={block}")).arg(format!("count={}", block + 2));
        let (from, to) = (self.image.display(), self.part.display());
        let dd = dd.arg(format!("if={from}")).arg(format!("of={to}"));
        dd.run().await.map_err(io::Error::other)?;
        let (mut from, mut to) =
            (File::open(&self.part)?, File::options().write(true).open(&self.path)?);
        to.seek(SeekFrom::Start(block * END))?;
        io::copy(&mut from, &mut to)?;
        to.set_len(self.size)
    }
}
