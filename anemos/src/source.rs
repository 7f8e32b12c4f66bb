//! Files that a user names: a path or a URL, and the digest that either must have.

mod fetch;
mod resolver;
pub(crate) mod signature;
mod trust;

use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use contract::payload::{PayloadError, hexadecimal};
use sha2::{Digest as _, Sha256};

use crate::config::{Digest, Location};
use crate::report::Refused;
use crate::source::fetch::Patience;

/// What says that a file is the right one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trust<'d> {
    /// Its digest.
    Digest(&'d Digest),
    /// Whoever it comes from: the server that a certificate names, or this machine.
    Origin,
    /// The file itself, which is a signature; it may come from anybody.
    Itself,
}

impl<'d> From<Option<&'d Digest>> for Trust<'d> {
    fn from(digest: Option<&'d Digest>) -> Self {
        digest.map_or(Self::Origin, Self::Digest)
    }
}

/// Returns a file that is here and is the right one, as far as that can be said yet.
///
/// What a URL names is fetched into `folder` and stays there; a path is returned as it is.
pub(crate) fn bring(
    location: &Location,
    trust: Trust<'_>,
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    match location {
        Location::Url(url) => fetch::fetch(url, trust, folder, Patience::default()),
        Location::Path(path) => {
            check(path, trust)?;
            Ok(path.clone())
        }
    }
}

/// Addresses of the server that a file comes from; none when it is here.
pub(crate) fn servers(location: &Location) -> anyhow::Result<Vec<SocketAddr>> {
    let Location::Url(url) = location else { return Ok(Vec::new()) };
    let uri = url.parse().with_context(|| format!("reading the URL {location}"))?;
    let resolver = resolver::FileResolver::new().context("reading the resolver's settings")?;
    // A proxy may know a name that this machine does not.
    Ok(resolver.servers(&uri).unwrap_or_default())
}

/// Makes sure that a file can be read and has the digest, if one is given.
fn check(path: &Path, trust: Trust<'_>) -> anyhow::Result<()> {
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

/// Refuses a digest that is not the wanted one.
pub(crate) fn compare(name: &str, found: &str, wanted: &Digest) -> anyhow::Result<()> {
    if found == wanted.hex() {
        return Ok(());
    }
    let reason = format!("{name} has the digest sha256:{found}, not sha256:{}", wanted.hex());
    let hint = "get the file again, or correct the digest if it is meant to have changed";
    Err(Refused::new(reason, hint).into())
}

/// A writer that knows the digest of what went through it.
struct Digesting<W> {
    output: W,
    digest: Sha256,
}

impl<W: Write> Digesting<W> {
    fn new(output: W) -> Self {
        Self { output, digest: Sha256::new() }
    }

    /// The digest of all that was written, in hexadecimal digits.
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

/// Turns what is wrong with a payload into a refusal; what is wrong with reading it is none.
pub(crate) fn refuse(error: PayloadError) -> anyhow::Error {
    if error.is_refusal() {
        Refused::new(error.to_string(), error.hint()).into()
    } else {
        error.into()
    }
}

#[cfg(test)]
mod tests;
