//! Writes initramfs archives: newc cpio members in segments, each raw or zstd.
//!
//! The kernel unpacks any number of newc archives one after another, each compressed by itself or
//! not at all, with zero bytes between them (Linux,
//! `driver-api/early-userspace/buffer-format.rst`). So an archive is appended to a base without
//! unpacking it, and what is already compressed is stored raw, because a second layer would cost
//! time and gain nothing.

use std::io::{self, Read, Write};

use cpio::newc;

/// How the bytes of a segment are stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packing {
    /// As they are.
    Raw,
    /// As one zstd frame.
    Zstd,
    /// As one zstd frame that took more time, for what is built once and sent often.
    Dense,
}

/// zstd level: higher ones gain a few per cent of size for several times the time.
const ZSTD_LEVEL: i32 = 3;
/// The zstd level for what is worth more time.
const DENSE_LEVEL: i32 = 10;
/// Largest unit that is copied at once, in bytes.
const COPY_CHUNK: usize = 1 << 20;

/// The attributes of a member, apart from its name and its bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Attributes {
    /// File type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time in seconds since 1970.
    pub mtime: u32,
    /// Device number of a device node.
    pub device: (u32, u32),
}

impl Attributes {
    /// Returns the attributes of a folder of root's with these permission bits.
    pub fn folder(permissions: u32) -> Self {
        Self { mode: 0o040_000 | permissions, ..Self::default() }
    }

    /// Returns the attributes of a regular file of root's with these permission bits.
    pub fn file(permissions: u32) -> Self {
        Self { mode: 0o100_000 | permissions, ..Self::default() }
    }

    /// Returns the attributes of a character device of root's with these permission bits.
    pub fn character(permissions: u32, device: (u32, u32)) -> Self {
        Self { mode: 0o020_000 | permissions, device, ..Self::default() }
    }

    /// Returns the attributes of a symbolic link of root's.
    pub fn symlink() -> Self {
        Self { mode: 0o120_777, ..Self::default() }
    }
}

/// Writes an initramfs, passing every byte on to `W` as it comes.
#[derive(Debug)]
pub struct Writer<W: Write> {
    output: Counting<W>,
    members: u32,
}

impl<W: Write> Writer<W> {
    /// Starts an initramfs.
    pub fn new(output: W) -> Self {
        Self { output: Counting { output, written: 0 }, members: 0 }
    }

    /// Copies a finished initramfs, typically the base, after padding to a word.
    pub fn append(&mut self, initramfs: &mut impl Read) -> io::Result<()> {
        self.pad()?;
        copy(initramfs, &mut self.output).map(drop)
    }

    /// Writes one segment: padding to a word, what `fill` puts into it, and a trailer.
    pub fn segment(
        &mut self,
        packing: Packing,
        fill: impl FnOnce(&mut Segment<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        self.pad()?;
        match packing {
            Packing::Raw => fill_segment(&mut self.output, &mut self.members, fill)?,
            Packing::Zstd | Packing::Dense => {
                let level = if packing == Packing::Dense { DENSE_LEVEL } else { ZSTD_LEVEL };
                let mut encoder = zstd::Encoder::new(&mut self.output, level)?;
                encoder.include_checksum(true)?;
                fill_segment(&mut encoder, &mut self.members, fill)?;
                encoder.finish()?;
            }
        }
        Ok(())
    }

    /// Returns the number of bytes written so far.
    pub fn written(&self) -> u64 {
        self.output.written
    }

    /// Flushes and returns the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.output.flush()?;
        Ok(self.output.output)
    }

    /// Pads to a multiple of four bytes, where the kernel looks for the next archive.
    ///
    /// There is no padding at the end, because zstd(1) would complain about it.
    fn pad(&mut self) -> io::Result<()> {
        let missing = usize::try_from(self.output.written.wrapping_neg() % 4).unwrap_or(0);
        self.output.write_all([0; 3].get(..missing).unwrap_or_default())
    }
}

fn fill_segment(
    output: &mut dyn Write,
    members: &mut u32,
    fill: impl FnOnce(&mut Segment<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let mut segment = Segment { output, members };
    fill(&mut segment)?;
    newc::trailer(segment.output)?;
    Ok(())
}

/// One newc archive being written.
pub struct Segment<'a> {
    output: &'a mut dyn Write,
    members: &'a mut u32,
}

impl std::fmt::Debug for Segment<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Segment").field("members", &self.members).finish_non_exhaustive()
    }
}

impl Segment<'_> {
    /// Adds a folder; the kernel needs parent folders before their members.
    pub fn folder(&mut self, name: &str, permissions: u32) -> io::Result<()> {
        self.member(name, Attributes::folder(permissions), 0, &mut io::empty())
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        let mut bytes = target.as_bytes();
        self.member(name, Attributes::symlink(), target.len() as u64, &mut bytes)
    }

    /// Adds a regular file whose bytes are in memory.
    pub fn bytes(&mut self, name: &str, permissions: u32, bytes: &[u8]) -> io::Result<()> {
        let mut content = bytes;
        self.member(name, Attributes::file(permissions), bytes.len() as u64, &mut content)
    }

    /// Adds any member. `content` must yield `size` bytes, no more and no less.
    pub fn member(
        &mut self,
        name: &str,
        attributes: Attributes,
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let too_large = |_| {
            let message = format!("{name} has {size} bytes; newc holds files below 4 GiB only");
            io::Error::new(io::ErrorKind::FileTooLarge, message)
        };
        let newc_size = u32::try_from(size).map_err(too_large)?;
        *self.members += 1;
        let mut member = newc::Builder::new(name)
            .ino(*self.members)
            .mode(attributes.mode)
            .uid(attributes.uid)
            .gid(attributes.gid)
            .mtime(attributes.mtime)
            .rdev_major(attributes.device.0)
            .rdev_minor(attributes.device.1)
            .write(&mut *self.output, newc_size);
        let copied = copy(&mut content.take(size), &mut member)?;
        if copied != size || content.read(&mut [0])? != 0 {
            let message = format!("{name} changed its size of {size} bytes while it was read");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        member.finish()?;
        Ok(())
    }
}

/// Copies in large units: `io::copy` would use 8 KiB ones between these types.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<u64> {
    let mut chunk = vec![0; COPY_CHUNK];
    let mut copied = 0;
    loop {
        let length = match from.read(&mut chunk) {
            Ok(0) => return Ok(copied),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        to.write_all(chunk.get(..length).unwrap_or_default())?;
        copied += length as u64;
    }
}

/// Counts the bytes that pass.
#[derive(Debug)]
struct Counting<W> {
    output: W,
    written: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.output.write(bytes)?;
        self.written += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests;
