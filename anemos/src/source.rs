//! Files that a user names: a path or a URL, and the digest that either must have.

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
            digests::check(path, trust)?;
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
