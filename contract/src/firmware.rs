//! The platform firmware of a machine: PC BIOS or UEFI.

use std::path::Path;

use serde::{Deserialize, Serialize};

/// Platform firmware.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// PC BIOS.
    Bios,
    /// UEFI.
    Uefi,
}

impl Firmware {
    /// Returns the firmware of this machine (Linux, `ABI/testing/sysfs-firmware-efi`).
    pub fn here(sys: &Path) -> Self {
        if sys.join("firmware/efi").exists() { Self::Uefi } else { Self::Bios }
    }

    /// Returns the word of the contract: `bios` or `uefi`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bios => "bios",
            Self::Uefi => "uefi",
        }
    }
}
