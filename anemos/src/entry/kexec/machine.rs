//! What another kernel must know about the machine: its memory, its screen, its ACPI tables.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, bail};

/// The E820 number of memory that a kernel may use.
pub(super) const USABLE: u32 = 1;

/// What the running kernel got from the firmware and the boot loader.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Machine {
    pub(super) memory: Vec<Region>,
    /// `struct screen_info`; zeros if it is not known.
    pub(super) screen: [u8; 64],
    /// Address of the root pointer of ACPI; 0 if the kernel finds it by itself.
    pub(super) acpi_root: u64,
}

/// A range of the memory map.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Region {
    pub(super) range: Range<u64>,
    /// Its kind, as E820 numbers it.
    pub(super) kind: u32,
}

impl Machine {
    /// Reads all of it below `root`.
    pub(super) fn read(root: &Path) -> anyhow::Result<Self> {
        let mut memory = read_memory(&root.join("sys/firmware/memmap"))?;
        memory.sort_by_key(|region| region.range.start);
        if memory.is_empty() {
            bail!("the kernel does not tell the memory map of the firmware");
        }
        // The zero page of the running kernel begins with its screen.
        let zero_page = fs::read(root.join("sys/kernel/boot_params/data")).unwrap_or_default();
        let mut screen = [0; 64];
        if let Some(known) = zero_page.first_chunk::<64>() {
            screen = *known;
        }
        let tables = fs::read_to_string(root.join("sys/firmware/efi/systab")).unwrap_or_default();
        Ok(Self { memory, screen, acpi_root: acpi_root(&tables) })
    }
}

/// Reads the memory map from the firmware (`Documentation/ABI/testing/sysfs-firmware-memmap`).
fn read_memory(folder: &Path) -> anyhow::Result<Vec<Region>> {
    let describe = || format!("reading {}", folder.display());
    let mut regions = Vec::new();
    for entry in fs::read_dir(folder).with_context(describe)? {
        let entry = entry.with_context(describe)?.path();
        let text = |name: &str| {
            let path = entry.join(name);
            let text = fs::read_to_string(&path);
            text.with_context(|| format!("reading {}", path.display()))
        };
        let number = |name: &str| {
            let text = text(name)?;
            let digits = text.trim().trim_start_matches("0x");
            u64::from_str_radix(digits, 16).with_context(|| format!("parsing {}", entry.display()))
        };
        let range = number("start")?..number("end")? + 1;
        regions.push(Region { range, kind: kind(text("type")?.trim()) });
    }
    Ok(regions)
}

/// Returns the number of a kind (Linux, `arch/x86/include/asm/e820/types.h`).
///
/// Memory of an unknown kind is left alone.
fn kind(name: &str) -> u32 {
    match name {
        "System RAM" => USABLE,
        "ACPI Tables" => 3,
        "ACPI Non-volatile Storage" => 4,
        "Unusable memory" => 5,
        "Persistent Memory" => 7,
        _ => 2,
    }
}

/// Parses `ACPI20=0x7f9014`, or `ACPI=` on older machines, in the list of EFI's tables.
fn acpi_root(tables: &str) -> u64 {
    let address = |name: &str| {
        let value = tables.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(value.trim().trim_start_matches("0x"), 16).ok()
    };
    address("ACPI20=").or_else(|| address("ACPI=")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_map_of_the_firmware_is_read_in_order() {
        let root = tempfile::tempdir().unwrap();
        for (number, start, end, kind) in [
            ("1", "0x9fc00", "0x9ffff", "Reserved"),
            ("0", "0x0", "0x9fbff", "System RAM"),
            ("2", "0x100000", "0x3ffdffff", "System RAM"),
        ] {
            let folder = root.path().join("sys/firmware/memmap").join(number);
            fs::create_dir_all(&folder).unwrap();
            for (name, text) in [("start", start), ("end", end), ("type", kind)] {
                fs::write(folder.join(name), format!("{text}\n")).unwrap();
            }
        }
        let machine = Machine::read(root.path()).unwrap();
        let region = |range, kind| Region { range, kind };
        let want = [
            region(0..0x9_fc00, 1),
            region(0x9_fc00..0xa_0000, 2),
            region(0x10_0000..0x3ffe_0000, 1),
        ];
        assert_eq!(machine.memory, want);
        assert_eq!((machine.screen, machine.acpi_root), ([0; 64], 0));
    }

    #[test]
    fn a_machine_without_memory_map_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("sys/firmware/memmap")).unwrap();
        let error = Machine::read(root.path()).unwrap_err().to_string();
        assert_eq!(error, "the kernel does not tell the memory map of the firmware");
    }

    #[test]
    fn newer_tables_of_acpi_come_first() {
        for (text, want) in [
            ("ACPI20=0x3fb7e014\nACPI=0x3fb7e000\nSMBIOS=0x1\n", 0x3fb7_e014),
            ("ACPI=0x10\n", 0x10),
            ("", 0),
        ] {
            assert_eq!(acpi_root(text), want, "{text}");
        }
    }
}
