//! Claims about payloads: what is read, what is refused and with which words.

mod damage;
mod kinds;
mod refusals;
mod round_trip;
mod texts;

use std::io::Write as _;

use tar::{Builder, EntryType, Header};

use crate::payload::{Description, Limits, PayloadError, inspect};

/// One member of a tarball made by hand: type, name, link target, mode, content.
#[derive(Clone, Debug)]
struct Planted {
    kind: EntryType,
    name: String,
    target: String,
    mode: u32,
    content: Vec<u8>,
}

const SCRIPT: &[u8] = b"#!/bin/sh\necho new system\n";

fn planted(kind: EntryType, name: &str, target: &str, mode: u32, content: &[u8]) -> Planted {
    let (name, target) = (name.to_owned(), target.to_owned());
    Planted { kind, name, target, mode, content: content.to_vec() }
}

fn file(name: &str, content: &[u8]) -> Planted {
    planted(EntryType::Regular, name, "", 0o644, content)
}

fn script(name: &str) -> Planted {
    planted(EntryType::Regular, name, "", 0o755, SCRIPT)
}

fn folder(name: &str) -> Planted {
    planted(EntryType::Directory, name, "", 0o755, b"")
}

fn link(name: &str, target: &str) -> Planted {
    planted(EntryType::Symlink, name, target, 0o777, b"")
}

fn hard(name: &str, target: &str) -> Planted {
    planted(EntryType::Link, name, target, 0o644, b"")
}

/// Makes a tarball of the members as they are, bypassing the crate's own checks of names.
fn tarball(members: &[Planted]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..member.name.len()].copy_from_slice(member.name.as_bytes());
        gnu.linkname[..member.target.len()].copy_from_slice(member.target.as_bytes());
        header.set_entry_type(member.kind);
        header.set_mode(member.mode);
        header.set_size(member.content.len() as u64);
        header.set_mtime(1_600_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        builder.append(&header, member.content.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn read(members: &[Planted]) -> Result<Description, PayloadError> {
    inspect(gzip(&tarball(members)).as_slice(), Limits::default())
}

/// Formats an outcome as people would see it.
fn words<T: std::fmt::Debug>(outcome: &Result<T, PayloadError>) -> String {
    match outcome {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}
