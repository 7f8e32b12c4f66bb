//! Payloads: packed tarballs that describe a new system, read in one pass and never held in memory.
//!
//! What `deploy` needs from the deploy environment is judged elsewhere: here is only what follows
//! from the payload alone.

pub mod environment;
mod error;
mod extract;
mod members;
mod pack;
mod packed;
mod program;
mod settings;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use error::PayloadError;
pub use pack::{pack, pack_file};
pub use packed::{Packed, hexadecimal};
pub use program::examine;
pub use settings::Settings;

use extract::Extractor;
use members::Discard;

/// What a payload contains, as far as planning its deployment needs it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Description {
    /// How the tarball is packed.
    pub compression: Compression,
    /// Which kind of payload it is.
    pub kind: Kind,
    /// The single top folder, which unpacking strips.
    pub top: Option<String>,
    /// Number of members, the single top folder included.
    pub members: u64,
    /// Bytes of memory that it takes unpacked: files in whole pages, a page for everything else.
    pub unpacked: u64,
    /// What `payload.toml` says.
    pub settings: Settings,
    /// What `anemos.env` says.
    pub environment: BTreeMap<String, String>,
    /// Digest of the packed file: SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
    /// Size of the packed file in bytes.
    pub size: u64,
}

/// What lies at the top of a payload.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Kind {
    /// An executable `deploy`.
    Deploy {
        /// What the kernel needs to run it: of its `#!` line, or the loader of a dynamic executable.
        interpreter: Option<String>,
        /// The program that `#!/usr/bin/env PROGRAM` looks up.
        program: Option<String>,
    },
    /// `IMGBUILD`, an image description.
    Imgbuild,
    /// `image.toml`, a disk image to write.
    Image,
}

impl Kind {
    /// Returns the name of the top file that makes it this kind.
    pub fn marker(&self) -> &'static str {
        match self {
            Self::Deploy { .. } => "deploy",
            Self::Imgbuild => "IMGBUILD",
            Self::Image => "image.toml",
        }
    }
}

/// How a tarball is packed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// RFC 1952; several gzip members in a row are one stream, as for gzip(1).
    Gzip,
    /// RFC 8878; several frames in a row are one stream, as for zstd(1).
    Zstd,
}

impl Compression {
    /// Infers the compression from the name of a file to be written; reading looks at the first
    /// bytes.
    pub fn from_name(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        [
            (".tar.gz", Self::Gzip),
            (".tgz", Self::Gzip),
            (".tar.zst", Self::Zstd),
            (".tzst", Self::Zstd),
        ]
        .into_iter()
        .find_map(|(end, compression)| name.ends_with(end).then_some(compression))
    }

    /// Returns the name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// How much a payload may use at most.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of memory when unpacked, counted as in [`Description::unpacked`].
    pub unpacked: u64,
    /// Number of members.
    pub members: u64,
}

impl Default for Limits {
    /// No limit of size; more members than any payload has, but fewer than would fill our memory.
    fn default() -> Self {
        Self { unpacked: u64::MAX, members: 200_000 }
    }
}

/// Checks and describes a payload in one pass.
pub fn inspect(reader: impl Read, limits: Limits) -> Result<Description, PayloadError> {
    members::walk(reader, limits, &mut Discard)
}

/// Checks, unpacks and describes a payload in one pass; strips the single top folder.
///
/// `destination` is created; if it exists, it must be empty. On an error, what was unpacked so far
/// stays.
pub fn unpack(
    reader: impl Read,
    destination: &Path,
    limits: Limits,
) -> Result<Description, PayloadError> {
    members::walk(reader, limits, &mut Extractor::create(destination)?)
}
