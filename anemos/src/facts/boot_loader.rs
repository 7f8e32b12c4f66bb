//! What can boot another kernel once: GRUB, EXTLINUX and the EFI system partition.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use contract::boot_entry::VARIABLES;
use serde::{Deserialize, Serialize};

use super::mounts::{self, Mount};
use super::root::Root;
use crate::room;

/// The means of booting something once.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BootLoader {
    /// Absent if its configuration is not found.
    pub(crate) grub: Option<Grub>,
    /// Absent if it is not found beside a configuration.
    pub(crate) extlinux: Option<Extlinux>,
    /// Absent if none is mounted.
    pub(crate) esp: Option<Esp>,
    /// Whether variables of the platform firmware can be written.
    pub(crate) variables: bool,
}

impl BootLoader {
    /// Returns EXTLINUX if a BIOS starts it.
    pub(crate) fn starting_extlinux(&self) -> Option<&Extlinux> {
        self.extlinux.as_ref().filter(|extlinux| extlinux.starts)
    }
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
    /// Whether there is an environment block, which stores `next_entry`.
    pub(crate) environment: bool,
    pub(crate) volume: Volume,
}

/// EXTLINUX as it is installed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Extlinux {
    /// Where it is; the paths of its configuration are relative to this folder.
    pub(crate) folder: PathBuf,
    pub(crate) configuration: PathBuf,
    /// Whether a BIOS starts it; it may be left over beside another boot loader.
    pub(crate) starts: bool,
    /// The program that makes it boot something once; absent if that is not installed.
    pub(crate) program: Option<PathBuf>,
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
    /// Whether it is directly on a partition or a disk, with no layer in between.
    pub(crate) plain: bool,
    pub(crate) writable: bool,
    /// Bytes that root can still write.
    pub(crate) free: u64,
}

const GRUB_FOLDERS: [&str; 2] = ["/boot/grub", "/boot/grub2"];
/// Where EXTLINUX usually is: by its manual, on Arch Linux, on Alpine Linux.
const EXTLINUX_FOLDERS: [&str; 3] = ["/boot/extlinux", "/boot/syslinux", "/boot"];
/// Names of its configuration; the first one counts (Syslinux, `doc/extlinux.txt`).
const EXTLINUX_CONFIGURATIONS: [&str; 2] = ["extlinux.conf", "syslinux.cfg"];
const EXTLINUX_PROGRAMS: [&str; 4] =
    ["/usr/sbin/extlinux", "/usr/bin/extlinux", "/sbin/extlinux", "/bin/extlinux"];
/// Where the EFI system partition is mounted, by convention and by the Boot Loader Specification.
const ESP_FOLDERS: [&str; 3] = ["/boot/efi", "/efi", "/boot"];
/// Bytes of an environment block (GRUB manual, "Environment block").
const ENVIRONMENT: u64 = 1024;

pub(super) fn read(root: &Root) -> BootLoader {
    let mounts = mounts::read(root);
    let variables = mounts.iter().any(|mount| mount.point == VARIABLES && mount.writable);
    BootLoader {
        grub: GRUB_FOLDERS.iter().find_map(|folder| grub(root, &mounts, Path::new(folder))),
        extlinux: EXTLINUX_FOLDERS
            .iter()
            .find_map(|folder| extlinux(root, &mounts, Path::new(folder))),
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

fn extlinux(root: &Root, mounts: &[Mount], folder: &Path) -> Option<Extlinux> {
    let is_there = |path: &Path| root.path(path).is_file();
    if !is_there(&folder.join("ldlinux.sys")) {
        return None;
    }
    let mut configurations = EXTLINUX_CONFIGURATIONS.iter().map(|name| folder.join(name));
    let mount = mounts::below(mounts, folder)?;
    Some(Extlinux {
        folder: folder.to_owned(),
        configuration: configurations.find(|path| is_there(path))?,
        starts: extlinux_starts(root, mount).unwrap_or(false),
        program: EXTLINUX_PROGRAMS.iter().map(PathBuf::from).find(|path| is_there(path)),
        volume: volume(root, mount),
    })
}

/// Returns whether EXTLINUX is started by the boot records; none if they cannot be read.
///
/// The record of the partition must be that of EXTLINUX, and the record of the disk must not be
/// that of GRUB, which would ignore the other.
fn extlinux_starts(root: &Root, mount: &Mount) -> Option<bool> {
    let device = root.path("sys/dev/block").join(&mount.device).canonicalize().ok()?;
    let record = |device: &Path| {
        let name = device.file_name()?.to_str()?.replace('!', "/");
        let mut record = [0; 512];
        File::open(root.path("dev").join(name)).ok()?.read_exact(&mut record).ok()?;
        Some(record)
    };
    let own = record(&device)?;
    let disk = if device.join("partition").exists() { record(device.parent()?)? } else { own };
    // Here a FAT has the name of the program that made it; GRUB has a message.
    let ours = own.get(3..11).is_some_and(|name| name == b"SYSLINUX" || name == b"EXTLINUX");
    Some(ours && !disk.windows(4).any(|bytes| bytes == b"GRUB"))
}

fn esp(root: &Root, mounts: &[Mount], folder: &Path) -> Option<Esp> {
    // If systemd mounts it on demand, it is listed twice, with the automount first.
    let mount = mounts
        .iter()
        .rfind(|mount| Path::new(&mount.point) == folder && mount.filesystem == "vfat")?;
    let partition = root.path("sys/dev/block").join(&mount.device).canonicalize().ok()?;
    let number = |name: &str| fs::read_to_string(partition.join(name)).ok()?.trim().parse().ok();
    let sector = partition.join("../queue/logical_block_size");
    let sector: u64 = fs::read_to_string(sector).ok()?.trim().parse().ok()?;
    let udev = root.may(format!("run/udev/data/b{}", mount.device))?;
    let guid = udev.lines().find_map(|line| line.strip_prefix("E:ID_PART_ENTRY_UUID="))?;
    // Linux counts in units of 512 bytes, whatever the sector size is.
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
    Volume {
        device: mount.source.clone(),
        filesystem: mount.filesystem.clone(),
        plain: device.is_ok_and(|device| is_plain(&device)),
        writable: mount.writable,
        free: room::free(&root.path(&mount.point)).unwrap_or(0),
    }
}

/// Returns whether a folder of `/sys` belongs to a partition or a disk without layers below.
///
/// RAIDs and caches may have partitions, too, but consist of other devices; GRUB does not write to
/// them (GRUB manual, "Environment block").
fn is_plain(device: &Path) -> bool {
    let is_partition = device.join("partition").exists();
    let disk = device.parent().filter(|_| is_partition).unwrap_or(device);
    let made_of = fs::read_dir(disk.join("slaves"));
    let made_of_others = made_of.is_ok_and(|mut slaves| slaves.next().is_some());
    (is_partition || device.join("device").exists()) && !made_of_others
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Renders a record that begins with a jump and the name of its maker, and contains a message.
    fn record(name: &str, message: &str) -> String {
        format!("{:<512}", format!("jmp{name:<8}{message}"))
    }

    #[test]
    fn extlinux_starts_a_machine_by_the_boot_records_of_partition_and_disk() {
        for (partition, disk, want) in [
            (record("SYSLINUX", ""), record("", "Missing operating system."), Some(true)),
            (record("EXTLINUX", ""), record("", ""), Some(true)),
            (record("SYSLINUX", ""), record("", "GRUB Geom"), Some(false)),
            (record("", ""), record("", ""), Some(false)),
            (record("SYSLINUX", ""), String::new(), None),
        ] {
            let place = tempfile::tempdir().unwrap();
            let at = |name: &str| place.path().join(name);
            for folder in ["dev", "sys/block/vda/vda1", "sys/dev/block"] {
                fs::create_dir_all(at(folder)).unwrap();
            }
            fs::write(at("sys/block/vda/vda1/partition"), "1").unwrap();
            std::os::unix::fs::symlink("../../block/vda/vda1", at("sys/dev/block/254:1")).unwrap();
            fs::write(at("dev/vda"), &disk).unwrap();
            fs::write(at("dev/vda1"), &partition).unwrap();
            let mount = Mount {
                device: "254:1".into(),
                point: "/".into(),
                filesystem: "ext4".into(),
                source: "/dev/vda1".into(),
                writable: true,
            };
            let root = Root::new(place.path());
            assert_eq!(extlinux_starts(&root, &mount), want, "{partition} {disk}");
        }
    }

    #[test]
    fn a_partition_is_plain_where_its_disk_is_made_of_no_other() {
        let plain = ["sda/device/type", "sda/sda1/partition", "nvme0n1/nvme0n1p1/partition"];
        let layers = ["md0/md0p1/partition", "md0/slaves/sda2", "bcache0/bcache0p1/partition"];
        let place = tempfile::tempdir().unwrap();
        for name in plain.iter().chain(&layers).chain(&["bcache0/slaves/sdb", "dm-0/slaves/sda3"]) {
            fs::create_dir_all(place.path().join(name)).unwrap();
        }
        fs::create_dir_all(place.path().join("sda/slaves")).unwrap();
        for (device, want) in [
            ("sda", true),
            ("sda/sda1", true),
            ("nvme0n1/nvme0n1p1", true),
            ("md0", false),
            ("md0/md0p1", false),
            ("bcache0/bcache0p1", false),
            ("dm-0", false),
        ] {
            assert_eq!(is_plain(&place.path().join(device)), want, "{device}");
        }
    }

    #[test]
    fn extlinux_is_where_its_loader_and_a_configuration_are() {
        for (files, want) in [
            (&["boot/extlinux/ldlinux.sys"][..], None),
            (&["boot/extlinux/extlinux.conf"], None),
            (
                &["boot/extlinux/ldlinux.sys", "boot/extlinux/syslinux.cfg", "usr/bin/extlinux"],
                Some(("/boot/extlinux/syslinux.cfg", Some("/usr/bin/extlinux"))),
            ),
            (
                &["boot/ldlinux.sys", "boot/extlinux.conf", "boot/syslinux.cfg"],
                Some(("/boot/extlinux.conf", None)),
            ),
        ] {
            let place = tempfile::tempdir().unwrap();
            for name in files.iter().chain(&["proc/self/mountinfo"]) {
                fs::create_dir_all(place.path().join(name).parent().unwrap()).unwrap();
                let text = "27 1 254:1 / / rw - ext4 /dev/vda1 rw\n";
                fs::write(place.path().join(name), text).unwrap();
            }
            let found = read(&Root::new(place.path())).extlinux;
            let found = found.map(|found| (found.configuration, found.program));
            let path = |path: &str| PathBuf::from(path);
            let want = want.map(|(file, program)| (path(file), program.map(path)));
            assert_eq!(found, want, "{files:?}");
        }
    }
}
