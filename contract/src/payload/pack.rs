//! Makes payloads: the same folder gives the same bytes.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flate2::GzBuilder;
use tar::{Builder, EntryType, Header};

use crate::payload::{Compression, Description, Limits, PayloadError, inspect};

/// Payloads hold packed root file systems, so a higher level would only cost time.
const GZIP_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// Where `makeimg` looks for files that are in no repository.
const SECRETS: [&str; 2] = ["secrets", "secrets.revealed"];

/// Packs a folder: members are sorted, owned by root, with the times of the files.
///
/// With `latest`, seconds since 1970, later times are set back to it (`SOURCE_DATE_EPOCH`).
pub fn pack(
    folder: &Path,
    output: impl Write,
    compression: Compression,
    latest: Option<u64>,
) -> Result<(), PayloadError> {
    let failure = |source| failure(folder, source);
    match compression {
        Compression::Gzip => {
            // No name and no time in the header: they would differ from run to run.
            let level = flate2::Compression::new(GZIP_LEVEL);
            let mut encoder = GzBuilder::new().write(output, level);
            write_members(folder, &mut encoder, latest)?;
            encoder.finish().and_then(|mut output| output.flush()).map_err(failure)
        }
        Compression::Zstd => {
            let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL).map_err(failure)?;
            encoder.include_checksum(true).map_err(failure)?;
            write_members(folder, &mut encoder, latest)?;
            encoder.finish().and_then(|mut output| output.flush()).map_err(failure)
        }
    }
}

/// Packs a folder into a file, which appears under its name only when it passes every check.
///
/// If it contains secrets, only the caller can read it.
pub fn pack_file(
    folder: &Path,
    path: &Path,
    compression: Compression,
    latest: Option<u64>,
) -> Result<Description, PayloadError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!(".{name}.{}.partial", std::process::id()));
    let result = write_checked(folder, &partial, compression, latest)
        .and_then(|done| fs::rename(&partial, path).map_err(|e| failure(path, e)).map(|()| done));
    if result.is_err() {
        // Whether it can be removed matters less than why it is useless.
        drop(fs::remove_file(&partial));
    }
    result
}

fn write_checked(
    folder: &Path,
    partial: &Path,
    compression: Compression,
    latest: Option<u64>,
) -> Result<Description, PayloadError> {
    let mode = if has_secrets(folder) { 0o600 } else { 0o666 };
    let opened =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(partial);
    let file = opened.map_err(|source| failure(partial, source))?;
    pack(folder, BufWriter::new(file), compression, latest)?;
    let file = File::open(partial).map_err(|source| failure(partial, source))?;
    inspect(file, Limits::default())
}

/// Returns whether an image description in the folder, or one level below, has secrets beside it.
fn has_secrets(folder: &Path) -> bool {
    let here = |folder: &Path| SECRETS.iter().any(|name| folder.join(name).is_dir());
    // A folder that cannot be read cannot be packed either.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    here(folder) || entries.map(|entry| entry.path()).any(|inner| here(&inner))
}

fn write_members(
    folder: &Path,
    output: impl Write,
    latest: Option<u64>,
) -> Result<(), PayloadError> {
    let mut members = Members { links: HashMap::new(), latest, builder: Builder::new(output) };
    members.folder(folder, Path::new(""))?;
    members.builder.into_inner().map(drop).map_err(|source| failure(folder, source))
}

struct Members<W: Write> {
    builder: Builder<W>,
    /// Where a file with several names was first met, by device and inode.
    links: HashMap<(u64, u64), PathBuf>,
    latest: Option<u64>,
}

impl<W: Write> Members<W> {
    /// Appends the content of a folder, in the byte order of the names.
    fn folder(&mut self, folder: &Path, name: &Path) -> Result<(), PayloadError> {
        let entries: io::Result<Vec<_>> = fs::read_dir(folder).and_then(Iterator::collect);
        let mut entries = entries.map_err(|source| failure(folder, source))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            let metadata = entry.metadata().map_err(|source| failure(&path, source))?;
            self.member(&path, &name, &metadata)?;
            if metadata.is_dir() {
                self.folder(&path, &name)?;
            }
        }
        Ok(())
    }

    fn member(
        &mut self,
        path: &Path,
        name: &Path,
        metadata: &Metadata,
    ) -> Result<(), PayloadError> {
        if let Some(what) = special(metadata) {
            let (member, what) = (name.display().to_string(), what.to_owned());
            return Err(PayloadError::Special { member, what });
        }
        self.append(path, name, metadata).map_err(|source| failure(path, source))
    }

    fn append(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
        let mut header = self.header(metadata);
        if metadata.is_dir() {
            header.set_entry_type(EntryType::Directory);
            return self.builder.append_data(&mut header, name.join(""), io::empty());
        }
        if metadata.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            return self.builder.append_link(&mut header, name, fs::read_link(path)?);
        }
        let identity = (metadata.dev(), metadata.ino());
        if let Some(first) = self.links.get(&identity) {
            header.set_entry_type(EntryType::Link);
            return self.builder.append_link(&mut header, name, first);
        }
        if metadata.nlink() > 1 {
            self.links.insert(identity, name.to_owned());
        }
        let file = BufReader::with_capacity(1 << 17, File::open(path)?);
        header.set_size(metadata.len());
        self.builder.append_data(&mut header, name, Exactly { file, left: metadata.len() })
    }

    fn header(&self, metadata: &Metadata) -> Header {
        let mut header = Header::new_gnu();
        let modified = u64::try_from(metadata.mtime()).unwrap_or(0);
        header.set_mtime(self.latest.map_or(modified, |latest| modified.min(latest)));
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(0);
        header
    }
}

/// A file of known size: if it changed meanwhile, it would spoil the whole tarball.
struct Exactly<R> {
    file: R,
    left: u64,
}

impl<R: io::Read> io::Read for Exactly<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        let changed = || io::Error::other("the file changed while it was packed");
        if count == 0 && self.left > 0 && !into.is_empty() {
            return Err(changed());
        }
        self.left = self.left.checked_sub(count as u64).ok_or_else(changed)?;
        Ok(count)
    }
}

fn special(metadata: &Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    [
        (kind.is_char_device(), "a character device node"),
        (kind.is_block_device(), "a block device node"),
        (kind.is_fifo(), "a named pipe"),
        (kind.is_socket(), "a socket"),
    ]
    .into_iter()
    .find_map(|(is, what)| is.then_some(what))
}

fn failure(path: &Path, source: io::Error) -> PayloadError {
    PayloadError::Io { context: format!("packing {}", path.display()), source }
}
