//! Makes the firmware boot a kernel from the EFI system partition once.
//!
//! There the kernel is its own boot loader (Linux, `Documentation/admin-guide/efi-stub.rst`): it
//! reads the initramfs that its command line names. The firmware deletes `BootNext` as it boots
//! (UEFI specification, section 3.3), and `BootOrder` is not touched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use contract::boot_entry::{self, VARIABLES};

use super::next::{Next, copy};
use crate::facts::{Esp, Facts};
use crate::staging::UndoLog;

/// Our folder on the EFI system partition.
const FOLDER: &str = "EFI/anemos";
/// The variable is kept without power, and visible to boot services and to the running system.
const ATTRIBUTES: u32 = 7;

/// Stages everything, and records it in `undo`.
pub(super) fn stage(facts: &Facts, next: &Next<'_>, undo: &mut UndoLog) -> anyhow::Result<()> {
    let esp = facts.boot_loader.esp.as_ref().context("finding the EFI system partition")?;
    let (number, entry) = free_entry(Path::new(VARIABLES))?;
    let folder = esp.folder.join(FOLDER);
    if !esp.folder.join("EFI").exists() {
        undo.make_folder(&esp.folder.join("EFI"))?;
    }
    copy(next, &folder, "vmlinuz.efi", undo)?;
    let option = load_option(esp, next.command_line)?;
    write_variable(undo, &entry, &option)?;
    // This comes last: until it is written, nothing of the above is booted.
    write_variable(undo, &variable("BootNext"), &number.to_le_bytes())
}

fn variable(name: &str) -> PathBuf {
    Path::new(VARIABLES).join(format!("{name}-{}", boot_entry::GLOBAL))
}

/// Writes a variable and reads it back, because some firmware accepts what it does not keep.
fn write_variable(undo: &mut UndoLog, path: &Path, data: &[u8]) -> anyhow::Result<()> {
    let bytes = [&ATTRIBUTES.to_le_bytes(), data].concat();
    undo.write(path, &bytes)?;
    let kept = fs::read(path).with_context(|| format!("reading {} back", path.display()))?;
    if kept != bytes {
        bail!("the firmware did not keep {}", path.display());
    }
    Ok(())
}

/// Returns the first number without a boot entry, and the variable for that entry.
fn free_entry(variables: &Path) -> anyhow::Result<(u16, PathBuf)> {
    let free = (0..=u16::MAX).map(|number| {
        let name = format!("Boot{number:04X}-{}", boot_entry::GLOBAL);
        (number, variables.join(name))
    });
    let mut free = free.filter(|(_, path)| !path.exists());
    free.next().context("finding a number for a boot entry")
}

/// Renders `EFI_LOAD_OPTION` (UEFI specification, section 3.1.3).
fn load_option(esp: &Esp, command_line: &str) -> anyhow::Result<Vec<u8>> {
    const ACTIVE: u32 = 1;
    let path = file_path(&format!("\\{}\\vmlinuz.efi", FOLDER.replace('/', "\\")));
    let paths = [partition_path(esp)?, path, vec![0x7f, 0xff, 4, 0]].concat();
    let length = u16::try_from(paths.len()).context("measuring the path of the kernel")?;
    let initramfs = format!("initrd=\\{}\\initramfs", FOLDER.replace('/', "\\"));
    Ok([
        ACTIVE.to_le_bytes().to_vec(),
        length.to_le_bytes().to_vec(),
        boot_entry::utf16(boot_entry::DESCRIPTION),
        paths,
        boot_entry::utf16(&format!("{initramfs} {command_line}")),
    ]
    .concat())
}

/// Renders the device path of a GPT partition (section 10.3.5.1).
fn partition_path(esp: &Esp) -> anyhow::Result<Vec<u8>> {
    const GPT: [u8; 2] = [2, 2];
    Ok([
        vec![4, 1, 42, 0],
        esp.number.to_le_bytes().to_vec(),
        esp.start.to_le_bytes().to_vec(),
        esp.sectors.to_le_bytes().to_vec(),
        guid(&esp.guid).with_context(|| format!("reading the identity {:?}", esp.guid))?.to_vec(),
        GPT.to_vec(),
    ]
    .concat())
}

/// Renders the device path of a file (section 10.3.5.4).
fn file_path(name: &str) -> Vec<u8> {
    let name = boot_entry::utf16(name);
    let length = u16::try_from(name.len() + 4).unwrap_or(u16::MAX);
    [vec![4, 4], length.to_le_bytes().to_vec(), name].concat()
}

/// Parses a GUID: its first three fields are stored little-endian, the others as they are written.
fn guid(text: &str) -> Option<[u8; 16]> {
    let fields: Vec<_> = text.split('-').collect();
    let [first, second, third, fourth, fifth] = fields.as_slice() else { return None };
    let first = u32::from_str_radix(first, 16).ok()?.to_le_bytes();
    let second = u16::from_str_radix(second, 16).ok()?.to_le_bytes();
    let third = u16::from_str_radix(third, 16).ok()?.to_le_bytes();
    let fourth = u16::from_str_radix(fourth, 16).ok()?.to_be_bytes();
    let fifth = u64::from_str_radix(fifth, 16).ok()?.to_be_bytes();
    let rest = fifth.get(2..)?;
    [first.as_slice(), &second, &third, &fourth, rest].concat().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::{free_entry, guid, load_option};
    use crate::facts::Esp;

    #[test]
    fn a_load_option_is_as_the_specification_has_it() {
        let esp = Esp {
            folder: "/boot/efi".into(),
            number: 15,
            start: 2048,
            sectors: 0x3e000,
            guid: "1b8c4d5e-0001-4a2b-8c3d-00112233aabb".to_owned(),
            volume: crate::facts::Volume::default(),
        };
        let bytes = load_option(&esp, "quiet").unwrap();
        let hex: Vec<_> = bytes.chunks(16).map(|row| format!("{row:02x?}")).collect();
        insta::assert_snapshot!(hex.join("\n"));
    }

    #[test]
    fn only_a_guid_is_one() {
        let bytes = guid("00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(bytes[..8], [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66]);
        assert_eq!(bytes[8..], [0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        for text in ["", "00112233", "x0112233-4455-6677-8899-aabbccddeeff"] {
            assert_eq!(guid(text), None, "{text}");
        }
    }

    #[test]
    fn numbers_of_others_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        for number in ["0000", "0001", "0003"] {
            let name = format!("Boot{number}-{}", contract::boot_entry::GLOBAL);
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let (number, path) = free_entry(folder.path()).unwrap();
        assert_eq!(number, 2);
        assert!(path.to_string_lossy().contains("Boot0002-8be4df61"), "{path:?}");
    }
}
