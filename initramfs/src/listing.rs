//! Lists what an initramfs contains: read as the kernel does, archive by archive, by streaming.

use std::collections::HashMap;
use std::io::{self, BufRead as _, Read};

use cpio::newc;
use flate2::bufread::GzDecoder;

use contract::payload::Packed;

const LINK: u32 = 0o120_000;
const TYPE: u32 = 0o170_000;
/// The longest target that the kernel accepts (`PATH_MAX`), and the most links that it follows.
const TARGET_MAX: u64 = 4096;
const HOPS_MAX: usize = 40;

/// One member.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Name without a leading `/` or `./`.
    pub name: String,
    /// File type and permission bits, as in `st_mode`.
    pub mode: u32,
    /// Size in bytes.
    pub size: u64,
    /// The target of a symbolic link.
    pub target: Option<String>,
}

/// An initramfs that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("no initramfs from byte {offset} of the {depth} on")]
pub struct ListingError {
    /// Where the unreadable part begins.
    pub offset: u64,
    /// The stream in which the offset counts.
    pub depth: &'static str,
    /// Why.
    pub source: io::Error,
}

/// Returns the members of one or more newc archives, each raw or packed with gzip or zstd.
///
/// A later member of the same name replaces the earlier one, as it does in memory.
pub fn list(reader: impl Read) -> Result<Vec<Entry>, ListingError> {
    let mut entries = Vec::new();
    archives(&mut Packed::without_digest(&mut { reader }), "file", &mut entries)?;
    let mut last = HashMap::new();
    for (index, entry) in entries.iter().enumerate() {
        last.insert(entry.name.clone(), index);
    }
    let mut index = 0..;
    entries.retain(|entry| last.get(&entry.name).copied() == index.next());
    Ok(entries)
}

/// Finds what a path stands for, following the links on its way (`bin` → `usr/bin`).
pub fn find<'a>(entries: &'a [Entry], path: &str) -> Option<&'a Entry> {
    let by_name: HashMap<&str, &Entry> =
        entries.iter().map(|entry| (entry.name.as_str(), entry)).collect();
    let mut at: Vec<String> = Vec::new();
    let mut ahead: Vec<String> = reversed(path);
    let mut hops = 0;
    while let Some(component) = ahead.pop() {
        if component == ".." {
            at.pop();
            continue;
        }
        at.push(component);
        if let Some(target) = by_name.get(at.join("/").as_str())?.target.as_deref() {
            hops += 1;
            if hops > HOPS_MAX {
                return None;
            }
            at.pop();
            if target.starts_with('/') {
                at.clear();
            }
            ahead.extend(reversed(target));
        }
    }
    by_name.get(at.join("/").as_str()).copied()
}

fn reversed(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.rev().map(str::to_owned).collect()
}

fn archives(
    input: &mut Packed<&mut dyn Read>,
    depth: &'static str,
    entries: &mut Vec<Entry>,
) -> Result<(), ListingError> {
    loop {
        let offset = input.position();
        let wrong = |source| ListingError { offset, depth, source };
        skip_padding(input).map_err(wrong)?;
        let magic = input.peek(6).map_err(wrong)?.to_vec();
        match magic.as_slice() {
            [] => return Ok(()),
            b"070701" | b"070702" => archive(input, entries).map_err(wrong)?,
            [0x1f, 0x8b, ..] if depth == "file" => {
                let mut decoder = GzDecoder::new(&mut *input);
                packed(&mut decoder, "gzip segment", entries)?;
            }
            [0x28, 0xb5, 0x2f, 0xfd, ..] if depth == "file" => {
                let decoder = zstd::Decoder::with_buffer(&mut *input).map_err(wrong)?;
                packed(&mut decoder.single_frame(), "zstd segment", entries)?;
            }
            other => {
                let text =
                    format!("neither a newc archive nor gzip or zstd ({})", other.escape_ascii());
                return Err(wrong(io::Error::new(io::ErrorKind::InvalidData, text)));
            }
        }
    }
}

fn packed(
    decoder: &mut dyn Read,
    depth: &'static str,
    entries: &mut Vec<Entry>,
) -> Result<(), ListingError> {
    archives(&mut Packed::without_digest(decoder), depth, entries)
}

/// Skips the zero bytes between archives, as the kernel does.
fn skip_padding(input: &mut Packed<&mut dyn Read>) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        let zeros = buffer.iter().take_while(|byte| **byte == 0).count();
        let all = zeros == buffer.len();
        input.consume(zeros);
        if zeros == 0 || !all {
            return Ok(());
        }
    }
}

fn archive(input: &mut Packed<&mut dyn Read>, entries: &mut Vec<Entry>) -> io::Result<()> {
    loop {
        let mut member = newc::Reader::new(&mut *input)?;
        let entry = member.entry();
        let end = entry.is_trailer();
        let (name, mode) = (entry.name(), entry.mode());
        let name = name.strip_prefix("./").unwrap_or(name).trim_start_matches('/').to_owned();
        let size = u64::from(entry.file_size());
        let target = if mode & TYPE == LINK { Some(target(&mut member)?) } else { None };
        member.finish()?;
        if end {
            return Ok(());
        }
        entries.push(Entry { name, mode, size, target });
    }
}

fn target(member: &mut impl Read) -> io::Result<String> {
    let mut target = Vec::new();
    member.take(TARGET_MAX).read_to_end(&mut target)?;
    Ok(String::from_utf8_lossy(&target).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests;
