//! Lays a kernel out in memory for `kexec_load(2)`, as the boot protocol of x86 requires.
//!
//! The source of every offset is the kernel's `Documentation/arch/x86/boot.rst`, for the zero page
//! `arch/x86/zero-page.rst`.

mod places;
mod trampoline;

use std::ops::Range;

use anyhow::{Context, bail};

use super::machine::{Machine, USABLE};
use places::{PAGE, Places, pages};

/// Offsets of the setup header, which are the same in the file and in the zero page.
const SETUP_SECTORS: usize = 0x1f1;
const HEADER_END: usize = 0x201;
const MAGIC: usize = 0x202;
const VERSION: usize = 0x206;
const LOADER: usize = 0x210;
const INITRAMFS_MAX: usize = 0x22c;
const ALIGNMENT: usize = 0x230;
const RELOCATABLE: usize = 0x234;
const FLAGS: usize = 0x236;
const COMMAND_LINE_SIZE: usize = 0x238;
const PREFERRED: usize = 0x258;
const INIT_SIZE: usize = 0x260;

/// Offsets that exist only in the zero page.
const ACPI_ROOT: usize = 0x070;
const REGIONS: usize = 0x1e8;
const COMMAND_LINE: usize = 0x228;
const INITRAMFS: usize = 0x218;
const INITRAMFS_SIZE: usize = 0x21c;
const MEMORY_MAP: usize = 0x2d0;
/// How many regions the zero page has room for.
const MOST_REGIONS: usize = 128;

/// The entry point of the 64-bit kernel, relative to where it was loaded.
const ENTRY_64: u64 = 0x200;
/// The version that introduced the flags: Linux 3.8.
const VERSION_WITH_FLAGS: u64 = 0x020c;
/// `XLF_KERNEL_64`
const FLAG_64: u64 = 1;
/// The number of boot loaders that have none of their own.
const NO_NUMBER: u8 = 0xff;

/// Where everything is placed.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// Where the processor starts.
    pub(super) entry: u64,
    pub(super) kernel: Range<u64>,
    pub(super) initramfs: Range<u64>,
    /// The zero page, the command line and the code that enters the kernel.
    pub(super) setup: Range<u64>,
    pub(super) setup_bytes: Vec<u8>,
    code: usize,
}

impl Layout {
    /// Returns the part of the kernel's file that is loaded.
    pub(super) fn kernel_code<'k>(&self, kernel: &'k [u8]) -> &'k [u8] {
        kernel.get(self.code..).unwrap_or_default()
    }
}

/// Decides where a kernel, an initramfs of this size and a command line go on a machine.
pub(super) fn lay_out(
    kernel: &[u8],
    initramfs_size: u64,
    command_line: &str,
    machine: &Machine,
) -> anyhow::Result<Layout> {
    let header = Header(kernel);
    header.check(command_line)?;
    let mut places = Places::new(
        machine
            .memory
            .iter()
            .filter(|region| region.kind == USABLE)
            .map(|region| region.range.clone()),
    );
    let size = header.number(INIT_SIZE, 4)?;
    let place = places.take_at(header.number(PREFERRED, 8)?, size);
    let movable = header.number(RELOCATABLE, 1)? != 0;
    let alignment = header.number(ALIGNMENT, 4)?;
    let place = place.or_else(|| movable.then(|| places.take_lowest(size, alignment)).flatten());
    let place = place.with_context(|| format!("finding room for a kernel of {size} bytes"))?;
    let below = header.number(INITRAMFS_MAX, 4)? + 1;
    let initramfs = places.take_highest(initramfs_size, below);
    let initramfs = initramfs
        .with_context(|| format!("finding room for an initramfs of {initramfs_size} bytes"))?;
    let command_line_size = pages(command_line.len() as u64 + 1);
    let setup = places.take_highest(PAGE + command_line_size + PAGE, below);
    let setup = setup.context("finding room for the command line")?;

    let mut bytes = zero_page(&header, machine)?;
    let put = |bytes: &mut Vec<u8>, at: usize, value: u64| {
        let value = u32::try_from(value).context("placing things below 4 GiB")?;
        overwrite(bytes, at, &value.to_le_bytes())
    };
    put(&mut bytes, INITRAMFS, initramfs.start)?;
    put(&mut bytes, INITRAMFS_SIZE, initramfs_size)?;
    put(&mut bytes, COMMAND_LINE, setup.start + PAGE)?;
    bytes.extend_from_slice(command_line.as_bytes());
    let entry = setup.start + PAGE + command_line_size;
    bytes.resize(usize::try_from(entry - setup.start)?, 0);
    bytes.extend_from_slice(&trampoline::render(entry, place.start + ENTRY_64, setup.start));
    Ok(Layout { entry, kernel: place, initramfs, setup, setup_bytes: bytes, code: header.code()? })
}

/// Renders the zero page: the header of the kernel, and what it must know about the machine.
fn zero_page(header: &Header<'_>, machine: &Machine) -> anyhow::Result<Vec<u8>> {
    let mut page = vec![0; usize::try_from(PAGE)?];
    overwrite(&mut page, 0, &machine.screen)?;
    overwrite(&mut page, ACPI_ROOT, &machine.acpi_root.to_le_bytes())?;
    let end = MAGIC + usize::try_from(header.number(HEADER_END, 1)?)?;
    let setup = header.0.get(SETUP_SECTORS..end).context("reading the setup header")?;
    overwrite(&mut page, SETUP_SECTORS, setup)?;
    overwrite(&mut page, LOADER, &[NO_NUMBER])?;
    if machine.memory.len() > MOST_REGIONS {
        bail!("the memory map has {} regions, more than {MOST_REGIONS}", machine.memory.len());
    }
    overwrite(&mut page, REGIONS, &[u8::try_from(machine.memory.len())?])?;
    for (index, region) in machine.memory.iter().enumerate() {
        let (start, size) = (region.range.start, region.range.end - region.range.start);
        let at = MEMORY_MAP + index * 20;
        overwrite(&mut page, at, &[start.to_le_bytes(), size.to_le_bytes()].concat())?;
        overwrite(&mut page, at + 16, &region.kind.to_le_bytes())?;
    }
    Ok(page)
}

fn overwrite(page: &mut [u8], at: usize, bytes: &[u8]) -> anyhow::Result<()> {
    let place = page.get_mut(at..at + bytes.len()).context("writing the zero page")?;
    place.copy_from_slice(bytes);
    Ok(())
}

/// The setup header of a kernel's file.
struct Header<'k>(&'k [u8]);

impl Header<'_> {
    fn check(&self, command_line: &str) -> anyhow::Result<()> {
        if self.0.get(MAGIC..MAGIC + 4) != Some(b"HdrS") {
            bail!("this is not a bzImage");
        }
        let version = self.number(VERSION, 2)?;
        if version < VERSION_WITH_FLAGS || self.number(FLAGS, 2)? & FLAG_64 == 0 {
            bail!("it cannot be entered in 64-bit mode (boot protocol {version:#06x})");
        }
        let most = self.number(COMMAND_LINE_SIZE, 4)?;
        if command_line.len() as u64 > most {
            bail!("its command line may have {most} bytes, not {}", command_line.len());
        }
        Ok(())
    }

    /// Reads a little-endian number.
    fn number(&self, at: usize, length: usize) -> anyhow::Result<u64> {
        let bytes = self.0.get(at..at + length).context("reading the setup header")?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Returns where the code begins: after the boot sector and the real-mode sectors, 4 if none.
    fn code(&self) -> anyhow::Result<usize> {
        let sectors = usize::try_from(self.number(SETUP_SECTORS, 1)?)?;
        Ok((if sectors == 0 { 4 } else { sectors } + 1) * 512)
    }
}

#[cfg(test)]
mod tests;
