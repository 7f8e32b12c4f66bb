//! Makes a disk image bootable by BIOS if the image itself contains GRUB and a kernel.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::identity::Identity;
use crate::alpine;
use crate::boot_files;
use crate::chroot;
use crate::error::{Problem, file};
use crate::format::{PartitionTable, Raw};
use crate::project::{Project, Target};
use crate::root::Root;
use crate::step::Watch;

/// Where packages install what is copied to the disk.
const MODULES: &str = "usr/lib/grub/i386-pc";
/// The code of a boot sector, before the disk's number and the partition table.
const BOOT_CODE: usize = 440;
/// Offset in boot.img: the first sector of core.img.
const FIRST_SECTOR: usize = 92;
/// Offset in core.img: the sector of the rest of it.
const SECOND_SECTOR: usize = 500;
/// Bytes between the boot sector and the first partition, and in the partition for GRUB.
const ROOM: usize = 2047 * 512;

/// The configuration of GRUB, which contains the menu.
const CONFIGURATION: &str = "boot/grub/grub.cfg";

/// The serial console of images, because nobody knows their machine yet.
const SERIAL: &str = "ttyS0,115200";

/// What is written outside the file system.
#[derive(Debug)]
pub(super) struct Boot {
    boot: Vec<u8>,
    core: Vec<u8>,
}

/// Puts GRUB's files and configuration into the image.
///
/// Returns `None`, and logs it, if the image has no GRUB for BIOS or no kernel.
pub(super) fn prepare(
    project: &Project,
    raw: &Raw,
    root: &Root,
    identity: &Identity,
    watch: &mut dyn Watch,
) -> Result<Option<Boot>, Problem> {
    let modules = Path::new(MODULES);
    let reading = || file("reading GRUB's boot.img");
    let (Some(boot), Some(kernel), Some(driver)) = (
        root.read(&modules.join("boot.img")).map_err(reading())?,
        kernel(root),
        driver(&raw.filesystem),
    ) else {
        watch.line("the image has no GRUB for BIOS, or no kernel: nothing makes it bootable here");
        return Ok(None);
    };
    // `provision` may have installed the kernel.
    alpine::check(&project.target, &raw.filesystem)?;
    let placing = || file("writing GRUB's files");
    for name in &root.names(MODULES) {
        let extension = Path::new(name).extension();
        if !extension.is_some_and(|extension| extension == "mod" || extension == "lst") {
            continue;
        }
        let bytes = root.read(&modules.join(name)).map_err(placing())?.unwrap_or_default();
        let path = Path::new("boot/grub/i386-pc").join(name);
        root.place(&path, &mut &*bytes, 0o644).map_err(placing())?;
    }
    let partition = match raw.table {
        PartitionTable::Msdos => "msdos1",
        PartitionTable::Gpt => "gpt2",
    };
    let script = format!(
        "exec grub-mkimage -O i386-pc -p '(,{partition})/boot/grub' -o /boot/grub/i386-pc/core.img \
         biosdisk part_msdos part_gpt {driver} normal configfile linux serial terminal echo search \
         search_fs_uuid gzio\n"
    );
    chroot::run(root, project, ("grub-mkimage in the image", &script, b""), watch)?;
    let core = root.read(Path::new("boot/grub/i386-pc/core.img")).map_err(placing())?;
    let configuration = Path::new(CONFIGURATION);
    if !root.has(configuration) {
        let parameter = alpine::root_parameter(&project.target, &raw.filesystem);
        let text = menu(root, &kernel, raw.table, (identity, parameter.as_deref()));
        root.place(configuration, &mut text.as_bytes(), 0o600).map_err(placing())?;
        if project.target == Target::Alpine {
            alpine::login_at(SERIAL, root)?;
        }
    }
    let boot = Boot { boot, core: core.unwrap_or_default() };
    if boot.core.len() > ROOM {
        let hint = "take ext4, whose driver is smaller, or leave GRUB out of the packages";
        return Err(Problem::refused("GRUB's core.img does not fit before the partition", hint));
    }
    watch.line(&format!("bootable by BIOS: GRUB starts {}", kernel.display()));
    Ok(Some(boot))
}

/// Returns whether there is a menu.
pub(crate) fn has_menu(root: &Root) -> bool {
    root.has(Path::new(CONFIGURATION))
}

/// Removes a menu that packages have made, as the trigger of Alpine's GRUB does.
///
/// Packages know the building host and not the machine. A menu that comes later is the project's.
pub(crate) fn forget_menu(root: &Root) -> Result<(), Problem> {
    let configuration = Path::new(CONFIGURATION);
    if !root.has(configuration) {
        return Ok(());
    }
    root.remove(configuration).map_err(file("removing a menu of GRUB"))
}

/// Returns GRUB's module for a file system.
fn driver(filesystem: &str) -> Option<&str> {
    match filesystem {
        "ext2" | "ext3" | "ext4" => Some("ext2"),
        "vfat" | "fat" => Some("fat"),
        "btrfs" | "xfs" | "f2fs" => Some(filesystem),
        _ => None,
    }
}

/// Returns the kernel whose name sorts last.
fn kernel(root: &Root) -> Option<PathBuf> {
    boot_files::kernels(root).into_iter().max_by_key(|path| version(&path.to_string_lossy()))
}

/// Splits a name so that 6.10 sorts after 6.9.
fn version(name: &str) -> Vec<(u64, String)> {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.map(|word| (word.parse().unwrap_or_default(), word.to_owned())).collect()
}

fn menu(
    root: &Root,
    kernel: &Path,
    table: PartitionTable,
    (identity, parameter): (&Identity, Option<&str>),
) -> String {
    let initramfs = boot_files::initramfs(root, kernel);
    let device = match (&initramfs, table) {
        (Some(_), _) => format!("UUID={}", identity.filesystem),
        // The kernel alone can find partitions by their IDs, but not file systems.
        (None, PartitionTable::Msdos) => format!("PARTUUID={}-01", identity.disk_id()),
        (None, PartitionTable::Gpt) => format!("PARTUUID={}", identity.partition),
    };
    let initramfs = initramfs.map(|path| format!("  initrd {path}\n")).unwrap_or_default();
    let parameter = parameter.map(|parameter| format!(" {parameter}")).unwrap_or_default();
    let kernel = kernel.display();
    format!(
        "serial --speed=115200\nterminal_input console serial\nterminal_output console serial\n\
         set timeout=1\nmenuentry 'Linux' {{\n  \
         linux {kernel} root={device}{parameter} rw console=tty0 console={SERIAL}\n{initramfs}}}\n"
    )
}

impl Boot {
    /// Writes the boot sector and the code that it loads.
    pub(super) fn write(&self, image: &File, table: PartitionTable) -> io::Result<()> {
        // core.img expects to be right after the boot sector.
        let first: u64 = match table {
            PartitionTable::Msdos => 1,
            PartitionTable::Gpt => 2048,
        };
        let boot = patched(&self.boot, FIRST_SECTOR, first)?;
        let core = patched(&self.core, SECOND_SECTOR, first + 1)?;
        image.write_all_at(boot.get(..BOOT_CODE).unwrap_or_default(), 0)?;
        image.write_all_at(&core, first * 512)
    }
}

fn patched(bytes: &[u8], at: usize, sector: u64) -> io::Result<Vec<u8>> {
    let mut bytes = bytes.to_vec();
    let place = bytes.get_mut(at..at + 8).ok_or(io::ErrorKind::UnexpectedEof)?;
    place.copy_from_slice(&sector.to_le_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_names_root_kernel_and_initramfs() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        for name in ["boot/vmlinuz-lts", "boot/initramfs-lts"] {
            root.place(Path::new(name), &mut &b""[..], 0o600).unwrap();
        }
        let identity = Identity {
            disk: "01234567-x".to_owned(),
            filesystem: "f".to_owned(),
            partition: "p".to_owned(),
        };
        let kernel = kernel(&root).unwrap();
        let text =
            menu(&root, &kernel, PartitionTable::Msdos, (&identity, Some("rootfstype=ext4")));
        insta::assert_snapshot!(text, @r"
        serial --speed=115200
        terminal_input console serial
        terminal_output console serial
        set timeout=1
        menuentry 'Linux' {
          linux /boot/vmlinuz-lts root=UUID=f rootfstype=ext4 rw console=tty0 console=ttyS0,115200
          initrd /boot/initramfs-lts
        }
        ");
    }
}
