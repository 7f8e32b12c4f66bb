//! Why a payload could not even be tried.

use crate::file::{FileError, ParseError};
use crate::firmware::FirmwareError;
use crate::guest::GuestError;

/// Why it could not be tried.
#[derive(Debug, thiserror::Error)]
pub enum DirectError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// The platform firmware is not available.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// The configuration cannot be parsed.
    #[error(transparent)]
    Config(#[from] ParseError),
    /// The guest failed.
    #[error(transparent)]
    Guest(#[from] GuestError),
}
