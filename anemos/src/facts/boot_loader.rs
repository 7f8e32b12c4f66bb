//! What can boot another kernel once: GRUB's folder and the EFI system partition.

use std::fs;
use std::path::{Path, PathBuf};

use initramfs::firmware::VARIABLES;
use serde::{Deserialize, Serialize};

use super::mounts::{self, Mount};
use super::root::Root;
use crate::room;

/// The means to boot something once.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BootLoader {
    /// Absent when its configuration is not found.
    pub(crate) grub: Option<Grub>,
    /// Absent when none is mounted.
    pub(crate) esp: Option<Esp>,
    /// Whether variables of the platform firmware can be written.
    pub(crate) variables: bool,
}

/// GRUB as it is installed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Grub {
    /// Where its configuration is.
    pub(crate) folder: PathBuf,
    /// Whether the configuration boots once what `next_entry` names.
    pub(crate) next_entry: bool,
    /// Whether the configuration reads `custom.cfg`.
    pub(crate) custom: bool,
    /// Whether there is an environment block, which `next_entry` is kept in.
    pub(crate) environment: bool,
    pub(crate) volume: Volume,
}

/// The EFI system partition.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Esp {
    /// Where it is mounted.
    pub(crate) folder: PathBuf,
    /// Number of the partition.
    pub(crate) number: u32,
    /// First sector of the partition, in logical sectors of the disk.
    pub(crate) start: u64,
    /// Number of such sectors.
    pub(crate) sectors: u64,
    /// Identity of the partition in the GPT.
    pub(crate) guid: String,
    pub(crate) volume: Volume,
}

/// The file system that files for the boot loader are written to.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Volume {
    pub(crate) device: String,
    pub(crate) filesystem: String,
    /// Whether it lies on a partition or a disk itself, with no layer in between.
    pub(crate) plain: bool,
    pub(crate) writable: bool,
    /// Bytes that root may still write.
    pub(crate) free: u64,
}

const GRUB_FOLDERS: [&str; 2] = ["/boot/grub", "/boot/grub2"];
/// Where the EFI system partition is mounted, by habit and by the Boot Loader Specification.
const ESP_FOLDERS: [&str; 3] = ["/boot/efi", "/efi", "/boot"];
/// Bytes of an environment block (GRUB manual, "Environment block").
const ENVIRONMENT: u64 = 1024;

pub(super) fn read(root: &Root) -> BootLoader {
    let mounts = mounts::read(root);
    let variables = mounts.iter().any(|mount| mount.point == VARIABLES && mount.writable);
    BootLoader {
        grub: GRUB_FOLDERS.iter().find_map(|folder| grub(root, &mounts, Path::new(folder))),
        esp: ESP_FOLDERS.iter().find_map(|folder| esp(root, &mounts, Path::new(folder))),
        variables,
    }
}

fn grub(root: &Root, mounts: &[Mount], folder: &Path) -> Option<Grub> {
    let configuration = root.may(folder.join("grub.cfg"))?;
    let environment = fs::metadata(root.path(folder.join("grubenv")));
    Some(Grub {
        folder: folder.to_owned(),
        next_entry: configuration.contains("next_entry"),
        custom: configuration.contains("custom.cfg"),
        environment: environment.is_ok_and(|file| file.len() == ENVIRONMENT),
        volume: volume(root, mounts::below(mounts, folder)?),
    })
}

fn esp(root: &Root, mounts: &[Mount], folder: &Path) -> Option<Esp> {
    // Mounted on demand by systemd, it is there twice: the automount comes first.
    let mount = mounts
        .iter()
        .rfind(|mount| Path::new(&mount.point) == folder && mount.filesystem == "vfat")?;
    let partition = root.path("sys/dev/block").join(&mount.device).canonicalize().ok()?;
    let number = |name: &str| fs::read_to_string(partition.join(name)).ok()?.trim().parse().ok();
    let sector = partition.join("../queue/logical_block_size");
    let sector: u64 = fs::read_to_string(sector).ok()?.trim().parse().ok()?;
    let udev = root.may(format!("run/udev/data/b{}", mount.device))?;
    let guid = udev.lines().find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_UUID="))?;
    // Linux counts in units of 512 bytes, whatever the sectors are.
    let sectors = |units: u64| units * 512 / sector.max(512);
    Some(Esp {
        folder: folder.to_owned(),
        number: u32::try_from(number("partition")?).ok()?,
        start: sectors(number("start")?),
        sectors: sectors(number("size")?),
        guid: guid.to_owned(),
        volume: volume(root, mount),
    })
}

fn volume(root: &Root, mount: &Mount) -> Volume {
    let device = root.path("sys/dev/block").join(&mount.device).canonicalize();
    let plain = device
        .is_ok_and(|device| device.join("partition").exists() || device.join("device").exists());
    Volume {
        device: mount.source.clone(),
        filesystem: mount.filesystem.clone(),
        plain,
        writable: mount.writable,
        free: room::free(&root.path(&mount.point)).unwrap_or(0),
    }
}
