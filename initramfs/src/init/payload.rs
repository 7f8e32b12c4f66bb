//! Checks and unpacks the payload inside the deploy environment.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use contract::deploy::PayloadMember;
use contract::paths;
use contract::payload::{Description, Limits, unpack as unpack_payload};

fn open() -> anyhow::Result<File> {
    File::open(Path::new("/").join(paths::PAYLOAD)).context("opening the payload")
}

/// Compares the digest of the payload with the one of the deploy description.
pub(super) fn verify(member: &PayloadMember) -> anyhow::Result<()> {
    let mut digest = Sha256::new();
    io::copy(&mut BufReader::with_capacity(1 << 20, open()?), &mut digest)
        .context("reading the payload")?;
    let seen = format!("{:x}", digest.finalize());
    if seen == member.sha256 {
        return Ok(());
    }
    bail!("the payload {} has the digest {seen} instead of {}", member.name, member.sha256)
}

/// Unpacks the payload and gives its memory back. Returns what it turned out to be.
pub(super) fn unpack(member: &PayloadMember) -> anyhow::Result<Description> {
    let limits = Limits { unpacked: member.unpacked_limit, ..Limits::default() };
    let reader = BufReader::with_capacity(1 << 20, open()?);
    let description = unpack_payload(reader, Path::new(paths::WORK), limits)
        .with_context(|| format!("unpacking {}", member.name))?;
    fs::remove_file(Path::new("/").join(paths::PAYLOAD)).context("removing the packed payload")?;
    Ok(description)
}
