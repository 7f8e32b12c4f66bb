//! Verifies that a file is the right one, usually by its digest.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Context as _;
use contract::payload::hexadecimal;
use sha2::{Digest as _, Sha256};

use crate::config::Digest;
use crate::report::Refused;

/// What proves that a file is the right one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'d> {
    /// Its digest.
    Digest(&'d Digest),
    /// Where it comes from: the server that a certificate names, or this machine.
    Origin,
    /// The file itself, which is a signature; anybody may provide it.
    Itself,
}

impl<'d> From<Option<&'d Digest>> for Trust<'d> {
    fn from(digest: Option<&'d Digest>) -> Self {
        digest.map_or(Self::Origin, Self::Digest)
    }
}

/// Checks that a file can be read and has the digest, if one is given.
pub(super) fn check(path: &Path, trust: Trust<'_>) -> anyhow::Result<()> {
    let Trust::Digest(wanted) = trust else {
        return File::open(path).map(drop).with_context(|| format!("reading {}", path.display()));
    };
    compare(&path.display().to_string(), &digest(path)?, wanted)
}

/// Returns the digest of a file in hexadecimal digits.
pub(crate) fn digest(path: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let mut digest = Digesting::new(io::sink());
    io::copy(&mut file, &mut digest).with_context(reading)?;
    Ok(digest.hex())
}

/// Refuses a digest that is not the expected one.
pub(crate) fn compare(name: &str, found: &str, wanted: &Digest) -> anyhow::Result<()> {
    if found == wanted.hex() {
        return Ok(());
    }
    let reason = format!("{name} has the digest sha256:{found}, not sha256:{}", wanted.hex());
    let hint = "get the file again, or correct the digest if it is meant to have changed";
    Err(Refused::new(reason, hint).into())
}

/// A writer that computes the digest of what goes through it.
struct Digesting<W> {
    output: W,
    digest: Sha256,
}

impl<W: Write> Digesting<W> {
    fn new(output: W) -> Self {
        Self { output, digest: Sha256::new() }
    }

    /// Returns the digest of everything that was written, in hexadecimal digits.
    fn hex(self) -> String {
        hexadecimal(&self.digest.finalize())
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.digest.update(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
