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
    /// Path of the device below `/sys/devices`, without its kernel names of block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bus_path: Option<String>,
    /// Size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
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
