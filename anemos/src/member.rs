//! A member of the final initramfs: its name, and the source of its bytes.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use anyhow::Context;

use crate::modules;

/// A member of the archive: anything but a folder, which the names imply.
#[derive(Debug)]
pub(crate) struct Member {
    /// Path from the root, without a leading slash.
    pub(crate) name: String,
    pub(crate) source: Source,
}

/// Where the bytes of a member come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// A file, unchanged.
    File { path: PathBuf, size: u64, permissions: u32 },
    /// A file that may be compressed, in uncompressed form.
    Uncompressed { path: PathBuf, size: u64 },
    /// Bytes in memory.
    Bytes { bytes: Vec<u8>, permissions: u32 },
    /// A symbolic link to this target.
    Symlink(String),
}

impl Source {
    /// Returns a file with its present size and permissions.
    pub(crate) fn file(path: PathBuf) -> anyhow::Result<Self> {
        let metadata =
            fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?;
        let permissions = metadata.permissions().mode() & 0o777;
        Ok(Self::File { path, size: metadata.len(), permissions })
    }

    /// Returns a file to be packed uncompressed; it is read once to know its size.
    pub(crate) fn uncompressed(path: PathBuf) -> anyhow::Result<Self> {
        let size = modules::open(&path).and_then(|mut file| io::copy(&mut file, &mut io::sink()));
        let size = size.with_context(|| format!("reading {}", path.display()))?;
        Ok(Self::Uncompressed { path, size })
    }

    /// Returns the size of its bytes in the archive.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } | Self::Uncompressed { size, .. } => *size,
            Self::Bytes { bytes, .. } => bytes.len() as u64,
            Self::Symlink(target) => target.len() as u64,
        }
    }

    /// Opens the bytes.
    pub(crate) fn open(&self) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::File { path, .. } => Box::new(File::open(path)?),
            Self::Uncompressed { path, .. } => modules::open(path)?,
            Self::Bytes { bytes, .. } => Box::new(bytes.as_slice()),
            Self::Symlink(target) => Box::new(target.as_bytes()),
        })
    }
}

impl Member {
    pub(crate) fn new(name: impl Into<String>, source: Source) -> Self {
        Self { name: name.into(), source }
    }

    pub(crate) fn secret(name: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self::new(name, Source::Bytes { bytes, permissions: 0o600 })
    }
}
