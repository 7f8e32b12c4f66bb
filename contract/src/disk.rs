//! Identifies the disk of a deployment in a way that survives a change of kernel.

mod choose;
pub mod sysfs;

use serde::{Deserialize, Serialize};

/// What identifies a disk; absent if the disk, or the user, does not say.
///
/// Kernel names (`sda`) are not part of it, because probing order changes with the kernel.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskIdentity {
    /// Serial number, without surrounding blanks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// World wide name, as in `/sys/block/*/device/wwid` or `/sys/block/*/wwid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wwn: Option<String>,
    /// GPT disk GUID (lower case) or MS-DOS disk signature (eight hexadecimal digits).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_id: Option<String>,
    /// SHA-256 of what lies before the first partition and behind the last one.
    ///
    /// It covers at most a MiB of each, which no running system writes to, in hexadecimal digits.
    /// Only present with a partition table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// Path of the device below `/sys/devices`, without its kernel names of block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus_path: Option<String>,
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl DiskIdentity {
    /// Returns the strong marks, which hardly any other disk shares.
    pub fn marks(&self) -> [Mark<'_>; 4] {
        let mark = |name, value, lasts| Mark { name, value, lasts };
        [
            mark("serial number", self.serial.as_deref(), true),
            mark("world wide name", self.wwn.as_deref(), true),
            mark("table id", self.table_id.as_deref(), true),
            mark("digest of its ends", self.ends.as_deref(), false),
        ]
    }

    /// Returns what is known about both disks and equal.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        let mut same = self.clone();
        same.serial.take_if(|_| self.serial != other.serial);
        same.wwn.take_if(|_| self.wwn != other.wwn);
        same.table_id.take_if(|_| self.table_id != other.table_id);
        same.ends.take_if(|_| self.ends != other.ends);
        same.bus_path.take_if(|_| self.bus_path != other.bus_path);
        same.size.take_if(|_| self.size != other.size);
        same
    }

    /// Returns how many strong marks are known.
    pub fn known_marks(&self) -> usize {
        self.marks().iter().filter(|mark| mark.value.is_some()).count()
    }

    /// Returns whether the device itself says who it is.
    ///
    /// What was only written to it does not count, because a copy has that as well.
    pub fn names_its_device(&self) -> bool {
        self.serial.is_some() || self.wwn.is_some()
    }
}

/// Something that identifies a disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark<'i> {
    /// What it is, for people.
    pub name: &'static str,
    /// Absent if the disk does not have it.
    pub value: Option<&'i str>,
    /// Whether a different value means another disk; if not, it may have been rewritten since.
    pub lasts: bool,
}

/// A disk of this machine, as it presents itself now.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Candidate {
    /// Kernel name, valid until the next boot.
    pub name: String,
    /// What identifies it.
    pub identity: DiskIdentity,
    /// Model, as its manufacturer calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The bus that it is on: `virtio`, `nvme`, `ata`, `scsi`, `usb`, `mmc`, `xen` or `other`.
    pub bus: String,
    /// Logical sector size in bytes.
    pub sector_size: u64,
    /// Whether its medium can be removed.
    pub removable: bool,
    /// Whether it refuses writes.
    pub read_only: bool,
}

/// Returns what precedes the partition number: with a `p` if the disk's name ends in a digit.
///
/// The kernel names partitions this way (Linux, `block/partitions/core.c`).
pub fn partition_prefix(device: &str) -> String {
    let infix = if device.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
    format!("{device}{infix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_of_disks_that_end_in_a_digit_have_a_p() {
        for (device, want) in [
            ("/dev/vda", "/dev/vda"),
            ("/dev/nvme0n1", "/dev/nvme0n1p"),
            ("/dev/mmcblk0", "/dev/mmcblk0p"),
        ] {
            assert_eq!(partition_prefix(device), want);
        }
    }
}
