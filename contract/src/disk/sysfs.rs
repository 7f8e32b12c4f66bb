//! Reads the disks of this machine from sysfs.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use super::choose::{ChoiceError, Names, choose};
use super::{Candidate, DiskIdentity};

/// Unit of `/sys/block/*/size`, regardless of the disk's sectors.
const SIZE_UNIT: u64 = 512;
/// Largest number of bytes at each end of a disk that its digest covers.
const END: u64 = 1 << 20;

/// Returns the disks below `sys`, in the order of their names.
///
/// Only disks of hardware count, virtual machines included: nothing that is made of other disks,
/// memory or files, no optical or floppy drive, nothing without a medium. The table id is read from
/// the disk itself in `dev`, and absent if that is not permitted.
pub fn read_all(sys: &Path, dev: &Path) -> io::Result<Vec<Candidate>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(sys.join("block"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.into_iter().filter_map(|name| read(sys, dev, name)).collect())
}

/// Reads one disk; returns `None` if it is not a hardware disk, or disappeared meanwhile.
fn read(sys: &Path, dev: &Path, name: String) -> Option<Candidate> {
    let folder = sys.join("block").join(&name).canonicalize().ok()?;
    let devices = sys.join("devices").canonicalize().ok()?;
    let path = folder.strip_prefix(&devices).ok()?.to_owned();
    let size = text(&folder.join("size"))?.parse::<u64>().ok()? * SIZE_UNIT;
    if size == 0 || !is_hardware(&name, &path, &folder) {
        return None;
    }
    let sector_size = text(&folder.join("queue/logical_block_size"));
    let sector_size = sector_size.and_then(|size| size.parse().ok()).unwrap_or(SIZE_UNIT);
    // This needs permission, and the disk may have disappeared.
    let device = File::open(dev.join(name.replace('!', "/"))).ok();
    let table_id = device.as_ref().and_then(|device| table_id(device, sector_size));
    let device = device.filter(|_| table_id.is_some());
    let identity = DiskIdentity {
        serial: serial(&folder),
        wwn: text(&folder.join("wwid")).or_else(|| text(&folder.join("device/wwid"))),
        ends: device.and_then(|device| ends(&device, &folder, size).ok()),
        table_id,
        bus_path: Some(bus_path(&devices, &path, &name)),
        size: Some(size),
    };
    Some(Candidate {
        identity,
        model: text(&folder.join("device/model")).or_else(|| text(&folder.join("device/name"))),
        bus: bus(&name, &path).to_owned(),
        sector_size,
        removable: is_set(&folder.join("removable")),
        read_only: is_set(&folder.join("ro")),
        name,
    })
}

/// Returns the words of an attribute; `None` if it is absent, empty or not text.
fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let words: Vec<_> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn is_set(path: &Path) -> bool {
    text(path).is_some_and(|text| text != "0")
}

fn is_hardware(name: &str, path: &Path, folder: &Path) -> bool {
    // NVMe namespaces that can have several paths hang below a virtual device.
    let made_up = path.starts_with("virtual") && !path.starts_with("virtual/nvme-subsystem");
    let drive = ["sr", "fd", "mtdblock"].iter().any(|kind| {
        name.strip_prefix(kind).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    });
    let part_of_mmc = name.contains("boot") || name.contains("rpmb");
    !made_up && !drive && !part_of_mmc && !is_set(&folder.join("hidden"))
}

fn serial(folder: &Path) -> Option<String> {
    text(&folder.join("serial"))
        .or_else(|| text(&folder.join("device/serial")))
        .or_else(|| vital_product_data(&folder.join("device/vpd_pg80")))
}

/// Reads SCSI's page of unit serial number: a header of four bytes, the last two its length.
fn vital_product_data(path: &Path) -> Option<String> {
    let page = fs::read(path).ok()?;
    let (header, rest) = page.split_at_checked(4)?;
    let length = usize::from(u16::from_be_bytes(header.get(2..4)?.try_into().ok()?));
    let serial = String::from_utf8_lossy(rest.get(..length)?).trim().to_owned();
    (!serial.is_empty()).then_some(serial)
}

fn bus(name: &str, path: &Path) -> &'static str {
    let path = path.to_string_lossy();
    let has = |start: &str| path.split('/').any(|component| component.starts_with(start));
    match () {
        () if has("usb") => "usb",
        () if name.starts_with("nvme") => "nvme",
        () if name.starts_with("vd") => "virtio",
        () if name.starts_with("xvd") => "xen",
        () if name.starts_with("mmcblk") => "mmc",
        () if has("ata") => "ata",
        () if name.starts_with("sd") => "scsi",
        () => "other",
    }
}

/// Returns the place of the disk, without the numbers that the kernel assigns while probing.
fn bus_path(devices: &Path, path: &Path, name: &str) -> String {
    let mut sofar = PathBuf::from(devices);
    let mut stable = Vec::new();
    for component in path.iter().map(|component| component.to_string_lossy()) {
        sofar.push(&*component);
        if let Some(port) = ata_port(&sofar, &component) {
            stable.push(port);
        } else if let Some(address) = scsi_address(&component) {
            stable.push(address.to_owned());
        } else if component != name && !is_counted(&component) {
            stable.push(component.into_owned());
        }
    }
    stable.join("/")
}

/// Returns whether a component is a class or a name with a running number.
fn is_counted(component: &str) -> bool {
    let stem = component.trim_end_matches(|c: char| c.is_ascii_digit());
    let counted = ["virtio", "ata", "host", "nvme", "nvme-subsys", "block", "scsi_host"];
    counted.contains(&stem) || component.starts_with("target")
}

/// Returns channel, target and unit of `host:channel:target:unit`.
fn scsi_address(component: &str) -> Option<&str> {
    let (host, rest) = component.split_once(':')?;
    let numbers = rest.split(':').filter(|part| part.parse::<u64>().is_ok()).count();
    (host.parse::<u32>().is_ok() && numbers == 3 && rest.split(':').count() == 3).then_some(rest)
}

/// Returns the port on the controller of a component such as `ata3`.
fn ata_port(sofar: &Path, component: &str) -> Option<String> {
    component.strip_prefix("ata")?.parse::<u32>().ok()?;
    let port = text(&sofar.join("ata_port").join(component).join("port_no"))?;
    Some(format!("port{port}"))
}

/// Reads the identity of the partition table: GPT if there is one, else MS-DOS.
fn table_id(file: &File, sector_size: u64) -> Option<String> {
    gpt_guid(file, sector_size).or_else(|| dos_signature(file))
}

/// Returns the digest of what lies before the first partition and behind the last one.
///
/// A running system writes to its partitions at any time, but hardly ever outside of them.
fn ends(file: &File, folder: &Path, size: u64) -> io::Result<String> {
    let (mut first, mut last) = (size, 0);
    for entry in fs::read_dir(folder)? {
        let partition = entry?.path();
        let number = |name: &str| text(&partition.join(name))?.parse::<u64>().ok();
        if let (true, Some(start), Some(length)) =
            (partition.join("partition").exists(), number("start"), number("size"))
        {
            first = first.min(start * SIZE_UNIT);
            last = last.max((start + length) * SIZE_UNIT);
        }
    }
    let first = first.min(END).min(size);
    let last = last.max(size.saturating_sub(END)).max(first).min(size);
    let mut digest = Sha256::new();
    for (from, to) in [(0, first), (last, size)] {
        let mut bytes = vec![0; usize::try_from(to - from).unwrap_or_default()];
        file.read_exact_at(&mut bytes, from)?;
        digest.update(&bytes);
    }
    Ok(format!("{:x}", digest.finalize()))
}

fn gpt_guid(file: &File, sector_size: u64) -> Option<String> {
    let mut header = [0; 72];
    file.read_exact_at(&mut header, sector_size).ok()?;
    let bytes: [u8; 16] = header.get(56..72)?.try_into().ok()?;
    if !header.starts_with(b"EFI PART") || bytes == [0; 16] {
        return None;
    }
    Some(guid(bytes))
}

/// Formats a GUID as people know it: its first three fields are little-endian, the rest is not.
fn guid(bytes: [u8; 16]) -> String {
    const ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut text = String::new();
    for (position, byte) in ORDER.iter().filter_map(|index| bytes.get(*index)).enumerate() {
        if [4, 6, 8, 10].contains(&position) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

fn dos_signature(file: &File) -> Option<String> {
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, 0).ok()?;
    let signature = u32::from_le_bytes(sector.get(440..444)?.try_into().ok()?);
    (sector.ends_with(&[0x55, 0xaa]) && signature != 0).then(|| format!("{signature:08x}"))
}

#[cfg(test)]
mod tests;
