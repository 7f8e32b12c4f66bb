//! Why a payload could not even be tried.

use std::io;
use std::path::PathBuf;

use crate::evidence::PartError;
use crate::firmware::FirmwareError;
use crate::guest::GuestError;

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// A file.
    #[error("{doing}: {source}")]
    File {
        /// What was tried, as a gerund.
        doing: String,
        /// Why it did not work.
        source: io::Error,
    },
    /// A folder of the evidence.
    #[error(transparent)]
    Part(#[from] PartError),
    /// The platform firmware.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The configuration.
    #[error("parsing {}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The guest.
    #[error(transparent)]
    Guest(#[from] GuestError),
}

impl DirectError {
    /// Says what was tried with a file when it did not work.
    pub(crate) fn file(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::File { doing, source }
    }
}
