//! Turns the members of a tarball into those of a newc archive.

use std::io::{self, BufReader, Read};

use initramfs::archive::{Attributes, Segment};
use tar::{Archive, Entry, EntryType};

use super::links::{Last, Links};

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;

/// How members are copied.
pub(super) struct Rules<'r> {
    /// Later times are set back to this.
    pub(super) latest: u64,
    /// Selects members to leave out, by name.
    pub(super) skip: &'r dyn Fn(&str) -> bool,
    /// Whether it follows a base, whose links apply, and contains no devices.
    pub(super) is_addition: bool,
}

/// Copies all members.
pub(super) fn copy(
    tarball: impl Read,
    segment: &mut Segment<'_>,
    links: &mut Links,
    rules: &Rules<'_>,
) -> io::Result<()> {
    let mut archive = Archive::new(BufReader::with_capacity(1 << 20, tarball));
    // An .apk may have the zeros that end a tarball between its parts.
    archive.set_ignore_zeros(rules.is_addition);
    for entry in archive.entries()? {
        put(segment, entry?, links, rules)?;
    }
    Ok(())
}

fn put(
    segment: &mut Segment<'_>,
    mut entry: Entry<'_, impl Read>,
    links: &mut Links,
    rules: &Rules<'_>,
) -> io::Result<()> {
    let name = name_of(&entry.path_bytes())?;
    if name.is_empty() || (rules.skip)(&name) {
        return Ok(());
    }
    let target = entry.link_name_bytes().map(|target| text(&target)).transpose()?;
    let kind = entry.header().entry_type();
    let last = if kind == EntryType::Directory { Last::Follow } else { Last::Keep };
    let place =
        |name: &str| if rules.is_addition { links.place(name, last) } else { name.to_owned() };
    let name = place(&name);
    let (kind, target) = match (kind, target) {
        (EntryType::Regular, _) => (FILE, None),
        (EntryType::Directory, _) => (FOLDER, None),
        (EntryType::Symlink, Some(target)) => (LINK, Some(target)),
        // The bytes came with the first name, but newc stores them with the last one.
        (EntryType::Link, Some(target)) => {
            (LINK, Some(relative(&name, &place(&name_of(target.as_bytes())?))))
        }
        (EntryType::Char, _) if !rules.is_addition => (CHARACTER, None),
        (EntryType::Block, _) if !rules.is_addition => (BLOCK, None),
        (other, _) => {
            let what = "neither a file, a folder nor a link";
            return Err(io::Error::other(format!("{name} is {what} ({other:?})")));
        }
    };
    let attributes = attributes(&entry, kind, rules.latest)?;
    links.note(&name, target.as_deref());
    match target {
        Some(target) => {
            let size = target.len() as u64;
            segment.member(&name, attributes, size, &mut target.as_bytes())
        }
        None => segment.member(&name, attributes, entry.size(), &mut entry),
    }
}

/// Returns the path from the root, without a leading slash; empty for the root itself.
fn name_of(bytes: &[u8]) -> io::Result<String> {
    let name = text(bytes)?;
    let parts: Vec<_> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return Err(io::Error::other(format!("the name {name} contains ..")));
    }
    Ok(parts.join("/"))
}

fn attributes(entry: &Entry<'_, impl Read>, kind: u32, latest: u64) -> io::Result<Attributes> {
    let header = entry.header();
    let permissions = if kind == LINK { 0o777 } else { header.mode()? & 0o7777 };
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    // For everything else, tar(1) leaves the numbers blank.
    let device = if [CHARACTER, BLOCK].contains(&kind) {
        (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
    } else {
        (0, 0)
    };
    Ok(Attributes {
        mode: kind | permissions,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime: id(header.mtime()?.min(latest))?,
        device,
    })
}

/// Returns the relative path from one member to another, both given as paths from the root.
pub(super) fn relative(from: &str, to: &str) -> String {
    let mut left = from.split('/').peekable();
    let mut right = to.split('/').peekable();
    while left.peek().is_some() && left.peek() == right.peek() {
        left.next();
        right.next();
    }
    let up = left.count().saturating_sub(1);
    let down: Vec<&str> = right.collect();
    format!("{}{}", "../".repeat(up), down.join("/"))
}

fn text(bytes: &[u8]) -> io::Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(io::Error::other)
}
