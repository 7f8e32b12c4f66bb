//! What the user adds to a base: packages of Alpine, tarballs, newc archives, folders.
//!
//! Each becomes a separate archive after the base. The kernel unpacks one after another, and a
//! later member replaces an earlier one of the same name (Linux,
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;
use initramfs::archive::{Attributes, Packing, Segment, Writer};

use super::links::{Last, Links};
use super::tarball::{self, Rules};
use crate::report::Refused;

/// Bytes of a member's header in a tarball (tar(5)).
const HEADER: usize = 512;
/// Where the header contains this magic word.
const USTAR: std::ops::Range<usize> = 257..262;

/// Something to add.
#[derive(Debug)]
pub(super) struct Addition {
    path: PathBuf,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Folder,
    /// A package of Alpine, format 2.
    Apk,
    Tarball,
    /// A newc archive, compressed or not, which is appended as it is.
    Newc,
}

/// Why a file is not usable.
#[derive(Debug, Eq, PartialEq)]
enum Unknown {
    /// It is a package of Alpine, format 3.
    Adb,
    Anything,
}

impl Addition {
    /// Checks its kind and reads all of it, so that nothing is built if it cannot be added.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let describe = || format!("reading {}", path.display());
        let kind = if fs::metadata(path).with_context(describe)?.is_dir() {
            Ok(Kind::Folder)
        } else {
            let mut head = Vec::new();
            let packed = File::open(path).with_context(describe)?;
            packed.take(HEADER as u64).read_to_end(&mut head).with_context(describe)?;
            kind_of(&head, &first_bytes(path).with_context(describe)?)
        };
        let kind = kind.map_err(|unknown| refusal(path, &unknown))?;
        let addition = Self { path: path.to_owned(), kind };
        let mut nowhere = Writer::new(io::sink());
        addition.write(&mut nowhere, Packing::Raw, &mut Links::default(), 0).map_err(|error| {
            let reason = format!("{} cannot be added: {:#}", path.display(), error.root_cause());
            Refused::new(reason, "leave that out, or repair it")
        })?;
        Ok(addition)
    }

    /// Appends it; `links` are the links of everything before it.
    pub(super) fn write<W: Write>(
        &self,
        writer: &mut Writer<W>,
        packing: Packing,
        links: &mut Links,
        latest: u64,
    ) -> anyhow::Result<()> {
        let is_about_itself = |name: &str| self.kind == Kind::Apk && name.starts_with('.');
        let rules = Rules { latest, skip: &is_about_itself, is_addition: true };
        let done = match self.kind {
            Kind::Folder => {
                writer.segment(packing, |segment| folder(&self.path, "", segment, links, latest))
            }
            Kind::Apk | Kind::Tarball => writer.segment(packing, |segment| {
                tarball::copy(unpack(&self.path)?, segment, links, &rules)
            }),
            Kind::Newc => File::open(&self.path).and_then(|mut file| writer.append(&mut file)),
        };
        done.with_context(|| format!("adding {}", self.path.display()))
    }
}

/// Returns what a file is by its first bytes, compressed and uncompressed.
fn kind_of(packed: &[u8], unpacked: &[u8]) -> Result<Kind, Unknown> {
    let first_name = |start: &str| unpacked.starts_with(start.as_bytes());
    match unpacked {
        _ if packed.starts_with(b"ADB") => Err(Unknown::Adb),
        [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => Ok(Kind::Newc),
        // apk-package(5): either the signature or the description comes first.
        _ if unpacked.get(USTAR) != Some(b"ustar") => Err(Unknown::Anything),
        _ if first_name(".SIGN.") || first_name(".PKGINFO") => Ok(Kind::Apk),
        _ => Ok(Kind::Tarball),
    }
}

fn refusal(path: &Path, unknown: &Unknown) -> Refused {
    let path = path.display();
    match unknown {
        Unknown::Adb => Refused::new(
            format!("{path} is an .apk of the format 3 (ADB), which only apk itself reads"),
            format!("unpack it, and add the folder: apk extract --destination DIR {path}"),
        ),
        Unknown::Anything => Refused::new(
            format!("{path} is neither an .apk, a tarball nor a newc archive"),
            "gzip, zstd and what is not packed can be added; unpack it, and add the folder",
        ),
    }
}

/// Opens a file that may be compressed; the parts of an .apk are compressed one by one.
fn unpack(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut magic = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut magic)?;
    let file = File::open(path)?;
    Ok(match magic.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(MultiGzDecoder::new(file)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::new(file)?),
        _ => Box::new(file),
    })
}

/// Returns the first uncompressed bytes; another archive may follow a frame of zstd.
fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, mut bytes) = (unpack(path)?, Vec::new());
    while bytes.len() < HEADER {
        let mut chunk = [0; HEADER];
        match file.read(&mut chunk) {
            Ok(0) => break,
            Ok(length) => bytes.extend_from_slice(chunk.get(..length).unwrap_or_default()),
            Err(_) if !bytes.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// Adds the contents of a folder, sorted by name, owned by root and with their modes.
fn folder(
    path: &Path,
    name: &str,
    segment: &mut Segment<'_>,
    links: &mut Links,
    latest: u64,
) -> io::Result<()> {
    let mut entries = fs::read_dir(path)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let own = entry.file_name().into_string();
        let own =
            own.map_err(|name| io::Error::other(format!("{} is not UTF-8", name.display())))?;
        let name = if name.is_empty() { own } else { format!("{name}/{own}") };
        let metadata = fs::symlink_metadata(&path)?;
        let kind = metadata.file_type();
        let last = if kind.is_dir() { Last::Follow } else { Last::Keep };
        let place = links.place(&name, last);
        let time = u64::try_from(metadata.mtime()).unwrap_or(0).min(latest);
        let mtime = u32::try_from(time).map_err(io::Error::other)?;
        let attributes = Attributes { mode: metadata.mode(), mtime, ..Attributes::default() };
        if kind.is_dir() {
            links.note(&place, None);
            segment.member(&place, attributes, 0, &mut io::empty())?;
            folder(&path, &name, segment, links, latest)?;
        } else if kind.is_symlink() {
            let target = fs::read_link(&path)?;
            let target = target
                .to_str()
                .ok_or_else(|| io::Error::other(format!("{name} leads to what is not UTF-8")))?;
            links.note(&place, Some(target));
            let attributes = Attributes { mtime, ..Attributes::symlink() };
            segment.member(&place, attributes, target.len() as u64, &mut target.as_bytes())?;
        } else if kind.is_file() {
            links.note(&place, None);
            segment.member(&place, attributes, metadata.len(), &mut File::open(&path)?)?;
        } else {
            return Err(io::Error::other(format!("{name} is neither a file, a folder nor a link")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
