//! Partitions and file systems of the disk that a system is installed on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::{major, minor};

use crate::command::Command;
use crate::error::{Problem, file};
use crate::format::{EXT4_FEATURES, Size};
use crate::machine::Machine;
use crate::step::Watch;
use crate::tools;
use contract::disk::partition_prefix;
use contract::firmware::Firmware;

/// Size of the ESP.
///
/// It has room for the boot loaders of several systems and for updates of the firmware, and is the
/// smallest size that is FAT32 on a disk with sectors of 4096 bytes.
const ESP_MIB: u64 = 260;
/// Size of the smallest distribution's root with a kernel; most need three times as much.
const ROOT_MIB: u64 = 512;
/// Where the ESP is mounted in the new system.
const ESP_FOLDER: &str = "boot/efi";

/// File systems that GRUB reads and that we can give a UUID, by which fstab(5) names them.
const FILESYSTEMS: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "btrfs"];

/// What the kernel reports about a block device, in `/sys/dev/block`.
#[derive(Clone, Copy, Debug, Default)]
struct Facts {
    bytes: u64,
    is_partition: bool,
    is_mapped: bool,
}

impl Facts {
    fn read(number: u64) -> io::Result<Self> {
        let folder = format!("/sys/dev/block/{}:{}", major(number), minor(number));
        let folder = Path::new(&folder);
        let sectors = fs::read_to_string(folder.join("size"))?;
        Ok(Self {
            // These are sectors of 512 bytes, whatever the sector size of the disk is.
            bytes: sectors.trim().parse::<u64>().map_err(io::Error::other)? * 512,
            is_partition: folder.join("partition").exists(),
            is_mapped: folder.join("dm").exists(),
        })
    }

    /// Returns what is wrong with it, and how to fix it.
    ///
    /// A disk may be read-only until it is written.
    fn refused(self, firmware: Firmware) -> Option<(String, &'static str)> {
        let esp = if firmware == Firmware::Uefi { ESP_MIB } else { 0 };
        let least = Size((esp + ROOT_MIB) << 20);
        if self.is_partition {
            return Some(("is a partition".to_owned(), "name the whole disk that it is on"));
        }
        if self.is_mapped {
            // The kernel does not look for partitions there.
            return Some(("is a volume of the device mapper".to_owned(), "name the disk below it"));
        }
        (self.bytes < least.0).then(|| {
            let reason = format!("has {}, and a system needs {least}", Size(self.bytes));
            (reason, "name a larger disk")
        })
    }
}

/// A disk that may be written.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    /// The whole of it, by the name that the kernel gives it.
    pub(crate) device: PathBuf,
    /// The number of the device.
    number: u64,
    /// Its size.
    bytes: u64,
    firmware: Firmware,
    /// The file system of the root folder.
    pub(crate) filesystem: String,
    /// The UUID of its root file system.
    pub(crate) uuid: String,
    /// The ID of the ESP, as FAT writes it.
    pub(crate) esp_id: String,
}

impl Disk {
    /// Refuses what the system cannot be installed on.
    ///
    /// That is something other than a disk, a disk that is too small or in use, and a file system
    /// that would not boot. Missing tools are refused, too.
    pub(crate) fn find(machine: &Machine, filesystem: &str) -> Result<Self, Problem> {
        let shown = machine.disk.display();
        let refused = |reason: &str, hint: &str| {
            Err(Problem::refused(format!("{shown} {reason}"), hint.to_owned()))
        };
        let looking = || file(format!("looking at {shown}"));
        // A symlink to another disk may have the name of a partition of ours.
        let device = fs::canonicalize(&machine.disk).map_err(looking())?;
        let found = fs::metadata(&device).map_err(looking())?;
        if !found.file_type().is_block_device() {
            return refused("is not a disk", "name a whole disk, such as /dev/vda");
        }
        let facts = Facts::read(found.rdev()).map_err(looking())?;
        if let Some((reason, hint)) = facts.refused(machine.firmware) {
            return refused(&reason, hint);
        }
        // If a device is mounted, or part of something, Linux does not give it to anybody else
        // (open(2)).
        if let Err(error) = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&device) {
            return match error.kind() {
                io::ErrorKind::ResourceBusy => refused("is in use", "unmount what is on it first"),
                _ => Err(file(format!("opening {shown}"))(error)),
            };
        }
        if !FILESYSTEMS.contains(&filesystem) {
            let reason = format!("no machine boots from {filesystem:?} here");
            let hint = format!("use one of {} in the format", FILESYSTEMS.join(", "));
            return Err(Problem::refused(reason, hint));
        }
        tools::require("sfdisk", "partitioning")?;
        tools::require("mount", "the new root")?;
        tools::require(&format!("mkfs.{filesystem}"), "the root file system")?;
        if machine.firmware == Firmware::Uefi {
            tools::require("mkfs.vfat", "the ESP")?;
        }
        let uuid = random_uuid().map_err(file("drawing a UUID"))?;
        let digits = uuid.get(..8).unwrap_or_default().to_uppercase();
        let esp_id = format!("{}-{}", &digits[..4], &digits[4..]);
        let (number, bytes, firmware) = (found.rdev(), facts.bytes, machine.firmware);
        Ok(Self {
            device,
            number,
            bytes,
            firmware,
            filesystem: filesystem.to_owned(),
            uuid,
            esp_id,
        })
    }

    /// Returns the room that is left for the root file system, in bytes.
    pub(crate) fn root_bytes(&self) -> u64 {
        let esp = if self.firmware == Firmware::Uefi { ESP_MIB } else { 0 };
        // A MiB before the first partition, one after the last, and the one of GRUB.
        self.bytes.saturating_sub((esp + 3) << 20)
    }

    /// Returns the partition with the root file system.
    pub(crate) fn root(&self) -> PathBuf {
        self.partition(2)
    }

    /// Returns the ESP, on machines that have one.
    pub(crate) fn esp(&self) -> Option<PathBuf> {
        (self.firmware == Firmware::Uefi).then(|| self.partition(1))
    }

    /// Returns a partition by its number.
    fn partition(&self, number: u8) -> PathBuf {
        let prefix = partition_prefix(&self.device.to_string_lossy());
        PathBuf::from(format!("{prefix}{number}"))
    }

    /// Fails for a block device that is not a partition of this disk.
    fn owns(&self, partition: &Path) -> io::Result<()> {
        let number = fs::metadata(partition)?.rdev();
        let number = format!("{}:{}", major(number), minor(number));
        // In sysfs, a partition is in the folder of its disk.
        let folder = fs::canonicalize(Path::new("/sys/dev/block").join(number))?;
        let parent = fs::read_to_string(folder.join("../dev")).unwrap_or_default();
        let disk = format!("{}:{}", major(self.number), minor(self.number));
        if folder.join("partition").exists() && parent.trim() == disk {
            return Ok(());
        }
        Err(io::Error::other(format!("it is not a partition of {}", self.device.display())))
    }

    /// Writes the partition table and makes the file systems.
    pub(crate) fn make(&self, watch: &mut dyn Watch) -> Result<(), Problem> {
        self.partitioned(watch)?;
        for partition in self.esp().iter().chain([&self.root()]) {
            let checking = format!("checking {}", partition.display());
            self.owns(partition).map_err(file(checking))?;
        }
        self.formatted(watch)
    }

    fn partitioned(&self, watch: &mut dyn Watch) -> Result<(), Problem> {
        watch.line(&format!("partitioning {}", self.device.display()));
        let first = match self.firmware {
            Firmware::Bios => {
                "1: size=1MiB, type=21686148-6449-6E6F-744E-656564454649, name=bios".to_owned()
            }
            Firmware::Uefi => format!("1: size={ESP_MIB}MiB, type=uefi, name=esp"),
        };
        let work = tempfile::tempdir().map_err(file("making a folder"))?;
        let script = work.path().join("table");
        fs::write(&script, format!("{first}\n2: type=linux, name=root\n"))
            .map_err(file("writing the partition table down"))?;
        Command::new(tools::require("sfdisk", "partitioning")?)
            .args(["--quiet", "--wipe", "always", "--wipe-partitions", "always", "--label", "gpt"])
            .arg(&self.device)
            .input(&script)
            .run(watch)?;
        Ok(())
    }

    fn formatted(&self, watch: &mut dyn Watch) -> Result<(), Problem> {
        if let Some(esp) = self.esp() {
            let id = self.esp_id.replace('-', "");
            let mkfs = Command::new(tools::require("mkfs.vfat", "the ESP")?);
            // For this size it would choose FAT16, which UEFI only knows on removable media.
            mkfs.args(["-F", "32", "-i", &id, "-n", "ESP"]).arg(esp).run(watch)?;
        }
        let mkfs = tools::require(&format!("mkfs.{}", self.filesystem), "the root file system")?;
        let mkfs = Command::new(mkfs);
        let mkfs = match self.filesystem.as_str() {
            "ext4" => mkfs.args(["-q", "-F", "-U", &self.uuid, "-O", EXT4_FEATURES]),
            "ext2" | "ext3" => mkfs.args(["-q", "-F", "-U", &self.uuid]),
            "xfs" => mkfs.args(["-q", "-f", "-m", &format!("uuid={}", self.uuid)]),
            _ => mkfs.args(["-q", "-f", "-U", &self.uuid]),
        };
        let shown = format!("mkfs.{} {}", self.filesystem, self.root().display());
        Ok(mkfs.arg(self.root()).announced(&shown, watch).run(watch)?)
    }

    /// Mounts the root file system.
    pub(crate) fn mount(&self, root: &Path, watch: &mut dyn Watch) -> Result<(), Problem> {
        fs::create_dir_all(root).map_err(file(format!("making {}", root.display())))?;
        let mount = Command::new("mount");
        mount.args(["-t", &self.filesystem]).args([&self.root(), root]).run(watch)?;
        Ok(())
    }

    /// Mounts the ESP in the new system, if there is one.
    pub(crate) fn mount_esp(&self, root: &Path, watch: &mut dyn Watch) -> Result<(), Problem> {
        let Some(esp) = self.esp() else { return Ok(()) };
        let folder = root.join(ESP_FOLDER);
        fs::create_dir_all(&folder).map_err(file("making the folder of the ESP"))?;
        Ok(Command::new("mount").args(["-t", "vfat"]).args([&esp, &folder]).run(watch)?)
    }

    /// Unmounts both.
    pub(crate) fn unmount(&self, root: &Path) -> Result<(), Problem> {
        let esp = root.join(ESP_FOLDER);
        if self.esp().is_some() {
            match umount2(&esp, MntFlags::UMOUNT_NOFOLLOW) {
                // It is only mounted at the end.
                Err(Errno::EINVAL | Errno::ENOENT) => {}
                done => done.map_err(file(format!("unmounting {}", esp.display())))?,
            }
        }
        umount2(root, MntFlags::empty()).map_err(file(format!("unmounting {}", root.display())))
    }

    /// Returns the lines of fstab(5).
    pub(crate) fn table(&self) -> String {
        let check = u8::from(self.filesystem.starts_with("ext"));
        let root = format!("UUID={} / {} defaults 0 {check}\n", self.uuid, self.filesystem);
        let esp = format!("UUID={} /{ESP_FOLDER} vfat umask=0077 0 2\n", self.esp_id);
        if self.esp().is_some() { root + &esp } else { root }
    }
}

/// Returns a random UUID from the kernel (random(4)).
fn random_uuid() -> io::Result<String> {
    let mut text = String::new();
    File::open("/proc/sys/kernel/random/uuid")?.read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::Said;

    fn disk(device: &str, firmware: Firmware) -> Disk {
        Disk {
            device: device.into(),
            number: 0,
            bytes: 2 << 30,
            firmware,
            filesystem: "ext4".to_owned(),
            uuid: "1b4e28ba-2fa1-41d2-883f-0016d3cca427".to_owned(),
            esp_id: "1B4E-28BA".to_owned(),
        }
    }

    #[test]
    fn partitions_and_table_follow_from_disk_and_firmware() {
        let nvme = disk("/dev/nvme0n1", Firmware::Uefi);
        assert_eq!(nvme.root(), Path::new("/dev/nvme0n1p2"));
        assert_eq!(nvme.esp(), Some("/dev/nvme0n1p1".into()));
        assert_eq!(
            nvme.table(),
            "UUID=1b4e28ba-2fa1-41d2-883f-0016d3cca427 / ext4 defaults 0 1\n\
             UUID=1B4E-28BA /boot/efi vfat umask=0077 0 2\n"
        );
        let bios = disk("/dev/vda", Firmware::Bios);
        assert_eq!((bios.root(), bios.esp()), ("/dev/vda2".into(), None));
        assert_eq!(bios.table().lines().count(), 1);
    }

    #[test]
    fn what_is_no_disk_is_refused() {
        let machine = Machine::from_environment(Path::new("/etc/passwd"));
        let said = Disk::find(&machine, "ext4").unwrap_err().to_string();
        assert_eq!(said, "/etc/passwd is not a disk");
    }

    #[test]
    fn partitions_and_small_disks_are_refused() {
        let mib =
            |mib: u64, is_partition| Facts { bytes: mib << 20, is_partition, is_mapped: false };
        let mapped = Facts { is_mapped: true, ..mib(9000, false) };
        for (facts, firmware, want) in [
            (mib(512, false), Firmware::Bios, None),
            (mib(511, false), Firmware::Bios, Some("has 511 MiB, and a system needs 512 MiB")),
            (mib(772, false), Firmware::Uefi, None),
            (mib(771, false), Firmware::Uefi, Some("has 771 MiB, and a system needs 772 MiB")),
            (Facts::default(), Firmware::Bios, Some("has 0 bytes, and a system needs 512 MiB")),
            (mib(9000, true), Firmware::Bios, Some("is a partition")),
            (mapped, Firmware::Bios, Some("is a volume of the device mapper")),
        ] {
            let said = facts.refused(firmware).map(|(reason, _)| reason);
            assert_eq!(said.as_deref(), want, "{facts:?} {firmware:?}");
        }
    }

    /// A part of a file as a disk, while this value lives.
    struct Loop(PathBuf);

    impl Loop {
        /// Makes the loop device, or reports why it cannot.
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        fn of(file: &Path, first_mib: u64, mib: u64) -> Option<Self> {
            let (offset, size) = ((first_mib << 20).to_string(), (mib << 20).to_string());
            let losetup = Command::new("losetup").args(["-f", "--show", "-o", &offset]);
            let losetup = losetup.args(["--sizelimit", &size]).arg(file);
            match losetup.output(&mut Said::default()) {
                Ok(device) => Some(Self(String::from_utf8(device).unwrap().trim().into())),
                Err(problem) => {
                    eprintln!("skipped: {problem}");
                    None
                }
            }
        }
    }

    impl Drop for Loop {
        fn drop(&mut self) {
            let _gone = Command::new("losetup").arg("-d").arg(&self.0).run(&mut Said::default());
        }
    }

    /// Makes a folder with a file that has room for a disk.
    fn image() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image");
        File::create(&image).unwrap().set_len(1 << 30).unwrap();
        (folder, image)
    }

    #[test]
    fn what_is_small_in_use_or_boots_nowhere_is_refused_by_name() {
        let (_folder, image) = image();
        let Some(disk) = Loop::of(&image, 0, 600) else { return };
        let machine = |firmware| Machine { firmware, ..Machine::from_environment(&disk.0) };
        let find = |filesystem: &str, firmware| {
            let found = Disk::find(&machine(firmware), filesystem);
            found.map(drop).map_err(|problem| problem.to_string())
        };
        let shown = disk.0.display();
        assert_eq!(
            find("ext4", Firmware::Uefi),
            Err(format!("{shown} has 600 MiB, and a system needs 772 MiB"))
        );
        assert_eq!(
            find("minix", Firmware::Bios),
            Err("no machine boots from \"minix\" here".to_owned())
        );
        let held = OpenOptions::new().read(true).custom_flags(libc::O_EXCL).open(&disk.0).unwrap();
        assert_eq!(find("ext4", Firmware::Bios), Err(format!("{shown} is in use")));
        drop(held);
        assert_eq!(find("ext4", Firmware::Bios), Ok(()));
    }

    #[test]
    fn a_disk_is_made_mounted_and_unmounted_with_the_esp_and_without() {
        let (folder, image) = image();
        let at = |name: &str| folder.path().join(name);
        let mut loops = Vec::new();
        // Show the partitions where sfdisk puts them, because the kernel may not show them here.
        for (name, first, mib) in [("disk", 0, 1024), ("disk1", 1, 260), ("disk2", 261, 762)] {
            let Some(part) = Loop::of(&image, first, mib) else { return };
            std::os::unix::fs::symlink(&part.0, at(name)).unwrap();
            loops.push(part);
        }
        let machine =
            Machine { firmware: Firmware::Uefi, ..Machine::from_environment(&at("disk")) };
        let (mut disk, mut said) = (Disk::find(&machine, "ext4").unwrap(), Said::default());
        assert_eq!(disk.device, fs::canonicalize(at("disk")).unwrap(), "the kernel's name");
        disk.partitioned(&mut said).unwrap();
        disk.device = at("disk");
        let refused = disk.make(&mut said).unwrap_err().describe();
        assert!(refused.contains("is not a partition of"), "{refused}");
        disk.formatted(&mut said).unwrap();
        let mut esp = [0; 90];
        File::open(at("disk1")).unwrap().read_exact(&mut esp).unwrap();
        assert_eq!(esp[82..], *b"FAT32   ");
        let (root, device) = (at("a root"), |path: &Path| fs::metadata(path).unwrap().dev());
        for with_esp in [true, false] {
            disk.mount(&root, &mut said).unwrap();
            assert_ne!(device(&root), device(folder.path()), "{:?}", said.0);
            if with_esp {
                // Not every kernel has FAT; without it, this is the failure that leaves the root
                // mounted.
                let _mounted_or_not = disk.mount_esp(&root, &mut said);
            }
            disk.unmount(&root).unwrap();
            assert_eq!(device(&root), device(folder.path()), "{:?}", said.0);
        }
    }
}
