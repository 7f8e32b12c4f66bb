//! Which disk a deployment is about, said in a way that survives a change of kernel.

mod choose;
pub mod sysfs;

use serde::{Deserialize, Serialize};

/// What identifies a disk; absent where the disk, or the user, does not say it.
///
/// Kernel names (`sda`) are no part of it: probing order changes with the kernel.
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
    /// SHA-256 of what lies before the first partition and behind the last one, a MiB of each at the
    /// most, in hexadecimal digits: what no running system writes to. Only with a partition table.
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
    /// The strong marks: what hardly any other disk has too.
    pub fn marks(&self) -> [Mark<'_>; 4] {
        let mark = |name, value, lasts| Mark { name, value, lasts };
        [
            mark("serial number", self.serial.as_deref(), true),
            mark("world wide name", self.wwn.as_deref(), true),
            mark("table id", self.table_id.as_deref(), true),
            mark("digest of its ends", self.ends.as_deref(), false),
        ]
    }

    /// Returns what is known of both disks and the same.
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

    /// How many strong marks are known.
    pub fn known_marks(&self) -> usize {
        self.marks().iter().filter(|mark| mark.value.is_some()).count()
    }

    /// Whether the device itself says who it is, and not only what was written to it, which a copy
    /// has as well.
    pub fn names_its_device(&self) -> bool {
        self.serial.is_some() || self.wwn.is_some()
    }
}

/// Something that a disk is known by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark<'i> {
    /// What it is, for people.
    pub name: &'static str,
    /// Absent where the disk does not have it.
    pub value: Option<&'i str>,
    /// Whether a disk on which it differs is another one; else it may have been written since.
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
    /// Model, as its maker calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The bus that it is on: `virtio`, `nvme`, `ata`, `scsi`, `usb`, `mmc`, `xen` or `other`.
    pub bus: String,
    /// Logical sector size in bytes.
    pub sector_size: u64,
    /// Whether its medium can be taken out.
    pub removable: bool,
    /// Whether it refuses writes.
    pub read_only: bool,
}
