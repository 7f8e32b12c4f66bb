//! A machine as a file describes it: what the file does not name has its usual value.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::size::Size;

/// A machine, with the faults that strike it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setup {
    /// The simulated VPS; by default what the payload names, else `debian-12`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fixture: Option<String>,
    /// Platform firmware.
    pub firmware: Firmware,
    /// The board; by default `pc` with a BIOS, `q35` with UEFI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chipset: Option<Chipset>,
    /// What the processor can do.
    pub cpu: CpuLevel,
    /// Number of processors; by default what the run provides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Size of memory; by default that of the fixture, or what the payload needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Size>,
    /// The network card.
    pub network_card: NetworkCard,
    /// The network of its provider; by default QEMU's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology: Option<String>,
    /// What the server offers it beside the payload.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<String>,
    /// Number of further network cards, each with a cable to nobody.
    #[serde(skip_serializing_if = "is_zero")]
    pub spare_cards: u8,
    /// Whether it has a watchdog.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub watchdog: bool,
    /// How the deploy environment is entered.
    pub entry: Way,
    /// A shell command that root runs on the old system before anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepare: Option<String>,
    /// Whether the deployment itself is only rehearsed: `anemos deploy --rehearse`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub rehearse: bool,
    /// A shell command that root runs in a rescue; the rehearsal follows what happens next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescue: Option<String>,
    /// Which disk comes first after the reset.
    pub disk_order: DiskOrder,
    /// Which of two network cards comes first, and when.
    pub card_order: CardOrder,
    /// Its disks, the system's first; by default one on virtio-blk.
    #[serde(rename = "disk", skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DiskSetup>,
    /// The faults that strike it.
    #[serde(rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// A disk as a file describes it.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskSetup {
    /// How it is attached.
    pub bus: Bus,
    /// Size of a sector in bytes, logical and physical.
    pub sector: Sector,
    /// Its size; by default that of the fixture.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Whether it does not identify itself: it has no serial number.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nameless: bool,
    /// Whether it is plugged in only when the old system runs, in a slot before the others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub late: bool,
    /// Whether it may be written, although it is not the system's.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub may_change: bool,
    /// What is on it, if it is not the system's.
    #[serde(skip_serializing_if = "is_data")]
    pub content: Content,
}

/// How a disk is attached.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bus {
    /// `/dev/vda`
    #[default]
    VirtioBlk,
    /// `/dev/sda` on a paravirtual adapter.
    VirtioScsi,
    /// `/dev/nvme0n1`
    Nvme,
    /// `/dev/sda` on an AHCI controller.
    Sata,
}

/// What is on a disk that is not the system's.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Somebody's data, all over it.
    #[default]
    Data,
    /// The same as on the system's disk, partition table and all.
    Clone,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_data(content: &Content) -> bool {
    *content == Content::Data
}

impl Setup {
    /// Returns the disk with the system.
    pub fn system_disk(&self) -> DiskSetup {
        self.disks.first().copied().unwrap_or_default()
    }

    /// Returns the disk with the system to be changed, adding it if there is none.
    pub fn system_disk_mut(&mut self) -> &mut DiskSetup {
        if self.disks.is_empty() {
            self.disks.push(DiskSetup::default());
        }
        &mut self.disks[0]
    }

    /// Returns the board.
    pub fn chipset(&self) -> Chipset {
        self.chipset.unwrap_or(match self.firmware {
            Firmware::Bios => Chipset::Pc,
            Firmware::Uefi | Firmware::UefiSecure => Chipset::Q35,
        })
    }
}

/// Platform firmware.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Firmware {
    /// `SeaBIOS`, which comes with QEMU.
    #[default]
    Bios,
    /// UEFI (OVMF), which starts whatever it finds.
    Uefi,
    /// UEFI that enforces secure boot with the keys that machines are sold with.
    UefiSecure,
}

/// The board of a machine, by QEMU's name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Chipset {
    /// i440FX of 1996, which most virtual servers still show.
    Pc,
    /// ICH9 of 2007, with PCI Express.
    Q35,
}

/// What a processor can do, by the levels of the x86-64 ABI.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CpuLevel {
    /// The level that current distributions are compiled for.
    #[default]
    V2,
    /// With AVX2, too.
    V3,
    /// Everything that the accelerator has.
    Max,
}

/// The network card of a machine, by QEMU's name.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkCard {
    /// Paravirtual.
    #[default]
    VirtioNet,
    /// Intel 82574L.
    E1000e,
}

/// How the deploy environment is entered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the old system, by the way that `anemos deploy` prefers.
    #[default]
    Jump,
    /// From the old system by kexec.
    Kexec,
    /// From the old system through the boot loader.
    Bootloader,
    /// Directly, onto empty disks.
    Direct,
}

impl Way {
    /// Returns the value of `--entry` for `anemos deploy`, or `None` if it decides itself.
    pub fn method(self) -> Option<&'static str> {
        match self {
            Self::Kexec => Some("kexec"),
            Self::Bootloader => Some("bootloader"),
            Self::Jump | Self::Direct => None,
        }
    }
}

/// Which disk comes first after the reset.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DiskOrder {
    /// The same as before it.
    #[default]
    Kept,
    /// The disks are plugged in in reverse; the firmware still boots the system's.
    Swapped,
}

/// Which of two network cards comes first, and when.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CardOrder {
    /// The first, always.
    #[default]
    Kept,
    /// The second after the reset: each is in the other's slot.
    Swapped,
    /// The second for every kernel after the old system's.
    ///
    /// It is plugged in while that one runs, into the slot before the first.
    Late,
}

impl CardOrder {
    /// Returns whether the second card is plugged in only when the old system runs.
    pub fn is_late(self) -> bool {
        self == Self::Late
    }
}

/// Size of a sector.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u32", into = "u32")]
pub enum Sector {
    /// The size that most disks show.
    #[default]
    Bytes512,
    /// The size that some NVMe and SATA disks show.
    Bytes4096,
}

impl TryFrom<u32> for Sector {
    type Error = String;

    fn try_from(bytes: u32) -> Result<Self, String> {
        match bytes {
            512 => Ok(Self::Bytes512),
            4096 => Ok(Self::Bytes4096),
            _ => Err(format!("a sector has 512 or 4096 bytes, not {bytes}")),
        }
    }
}

impl From<Sector> for u32 {
    fn from(sector: Sector) -> Self {
        match sector {
            Sector::Bytes512 => 512,
            Sector::Bytes4096 => 4096,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_as_short_as_what_it_says() {
        let setup: Setup = toml::from_str("firmware = 'uefi'\n[[disk]]\nbus = 'nvme'\n").unwrap();
        assert_eq!(setup.chipset(), Chipset::Q35);
        assert_eq!(setup.system_disk().bus, Bus::Nvme);
        assert_eq!(setup.system_disk().sector, Sector::Bytes512);
        assert_eq!(Setup::default().chipset(), Chipset::Pc);
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = "firmware = 'uefi-secure'\ncpu = 'max'\nmemory = '300M'\nentry = 'direct'\n\
                    watchdog = true\nrehearse = true\nprepare = 'true'\nrescue = 'true'\ndisk-order = 'swapped'\ncard-order = 'late'\n[[disk]]\nsector = 4096\nsize = '2G'\n[[disk]]\n";
        let setup: Setup = toml::from_str(text).unwrap();
        let written = toml::to_string(&setup).unwrap();
        assert_eq!(toml::from_str::<Setup>(&written).unwrap(), setup, "{written}");
    }

    #[test]
    fn mistakes_are_named() {
        for (text, want) in [
            ("colour = 1", "unknown field `colour`"),
            ("[[disk]]\nsector = 520", "a sector has 512 or 4096 bytes, not 520"),
            ("memory = 'much'", "\"much\" is not a size"),
            ("firmware = 'coreboot'", "unknown variant `coreboot`"),
        ] {
            let error = toml::from_str::<Setup>(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
