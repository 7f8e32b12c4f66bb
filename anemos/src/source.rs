//! Brings files that a user names here: by path or URL, with an optional digest.

mod digests;
mod fetch;
mod resolver;
pub(crate) mod signature;
mod trust;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use contract::payload::PayloadError;

pub(crate) use self::digests::{Trust, compare, digest};
use self::fetch::Patience;
use crate::config::Location;
use crate::report::Refused;

/// Returns a file that is here and is the right one, as far as that can be checked yet.
///
/// If it is named by a URL, it is fetched into `folder` and stays there; a path is returned
/// unchanged.
pub(crate) fn bring(
    location: &Location,
    trust: Trust<'_>,
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    match location {
        Location::Url(url) => fetch::fetch(url, trust, folder, Patience::default()),
        Location::Path(path) => {
            digests::check(path, trust)?;
            Ok(path.clone())
        }
    }
}

/// Returns the addresses of the server that a file comes from; none if it is here.
pub(crate) fn servers(location: &Location) -> anyhow::Result<Vec<SocketAddr>> {
    let Location::Url(url) = location else { return Ok(Vec::new()) };
    let uri = url.parse().with_context(|| format!("reading the URL {location}"))?;
    let resolver = resolver::FileResolver::new().context("reading the resolver's settings")?;
    // A proxy may know a name that this machine does not.
    Ok(resolver.servers(&uri).unwrap_or_default())
}

/// Turns a flaw of a payload into a refusal; an error of reading it stays an error.
pub(crate) fn refuse(error: PayloadError) -> anyhow::Error {
    if error.is_refusal() {
        Refused::new(error.to_string(), error.hint()).into()
    } else {
        error.into()
    }
}

#[cfg(test)]
mod tests;
