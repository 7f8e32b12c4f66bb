//! Why a payload could not even be tried.

use std::io;
use std::path::PathBuf;

use crate::evidence::PartError;
use crate::firmware::FirmwareError;
use crate::guest::GuestError;

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// A file operation failed.
    #[error("{doing}: {source}")]
    File {
        /// The operation, as a gerund.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A folder of the evidence could not be made.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The platform firmware is not available.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The configuration cannot be parsed.
    #[error("parsing {}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The guest failed.
    #[error(transparent)]
    Guest(#[from] GuestError),
}

impl DirectError {
    /// Returns a function that describes a failed file operation.
    pub(crate) fn file(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::File { doing, source }
    }
}
