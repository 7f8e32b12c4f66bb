//! The checks that can be overridden, by the names that people use.

use serde::{Deserialize, Serialize};

use super::Refusal;

/// A check whose refusal is a matter of judgement; users who know better may continue.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Check {
    /// Whether the disk that the machine boots from is written.
    BootDisk,
    /// Whether the clock can be right.
    Clock,
    /// Whether the payload boots from that bus.
    DiskBus,
    /// Whether the disk is large enough for the payload.
    DiskSize,
    /// Whether the deploy environment has the drivers of the disk and the network.
    Drivers,
    /// Whether the payload boots by this platform firmware.
    Firmware,
    /// Whether anybody can log in afterwards.
    Login,
    /// Whether the memory is enough.
    Memory,
    /// Whether the payload boots from sectors of that size.
    SectorSize,
}

impl Check {
    /// All of them.
    pub(crate) const ALL: [Self; 9] = [
        Self::BootDisk,
        Self::Clock,
        Self::DiskBus,
        Self::DiskSize,
        Self::Drivers,
        Self::Firmware,
        Self::Login,
        Self::Memory,
        Self::SectorSize,
    ];

    /// Its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::BootDisk => "boot-disk",
            Self::Clock => "clock",
            Self::DiskBus => "disk-bus",
            Self::DiskSize => "disk-size",
            Self::Drivers => "drivers",
            Self::Firmware => "firmware",
            Self::Login => "login",
            Self::Memory => "memory",
            Self::SectorSize => "sector-size",
        }
    }
}

impl Refusal {
    /// Returns the check to override; none if continuing can only fail, or do harm.
    pub(crate) fn check(&self) -> Option<Check> {
        match self {
            Self::BootDiskLeft { .. } => Some(Check::BootDisk),
            Self::ClockWrong { .. } => Some(Check::Clock),
            Self::DiskBus { .. } => Some(Check::DiskBus),
            Self::DiskTooSmall { .. } => Some(Check::DiskSize),
            Self::DriverMissing { .. } => Some(Check::Drivers),
            Self::FirmwareMismatch { .. } => Some(Check::Firmware),
            Self::NoLogin { .. } | Self::NoSshServer => Some(Check::Login),
            Self::TooLittleMemory { .. } => Some(Check::Memory),
            Self::SectorSize { .. } => Some(Check::SectorSize),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Check;

    #[test]
    fn a_check_is_called_as_the_configuration_has_it() {
        for check in Check::ALL {
            assert_eq!(serde_json::to_value(check).unwrap(), check.name());
        }
    }
}
