//! Finds the bytes of a file on a disk, through partitions and linear logical volumes.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail};
use fiemap::FiemapExtentFlags;
use nix::sys::stat::{major, minor};

use crate::command;

/// How many layers between a file system and its disk are followed.
const MOST_LAYERS: usize = 4;
/// The unit in which Linux counts, whatever the sectors of a disk are.
const SECTOR: u64 = 512;

/// Returns the first byte of a file on `disk`, a kernel name; the file must be in one piece there.
pub(super) fn of(file: &File, size: u64, disk: &str) -> anyhow::Result<u64> {
    let device = file.metadata().context("reading the file")?.dev();
    let mut device = format!("{}:{}", major(device), minor(device));
    let mut offset = extent(file, size)?;
    for _ in 0..MOST_LAYERS {
        let folder = Path::new("/sys/dev/block").join(&device).canonicalize();
        let folder = folder.with_context(|| format!("looking at the device {device}"))?;
        if !folder.join("dm").exists() {
            return Ok(partition_start(&folder, disk)? + offset);
        }
        let table = table_of(&device)?;
        (device, offset) = below(&table, offset, size)
            .with_context(|| format!("looking at what the device {device} is made of"))?;
    }
    bail!("there are more than {MOST_LAYERS} layers between it and a disk")
}

/// Returns the targets of a mapped device (dmsetup(8)).
fn table_of(device: &str) -> anyhow::Result<String> {
    let (major, minor) = device.split_once(':').context("reading the number of a device")?;
    command::output(Path::new("dmsetup"), ["table", "--major", major, "--minor", minor])
}

/// Returns the device below a mapped one, and the position there of bytes in one linear target.
///
/// Any other kind keeps them elsewhere, changed, or more than once (Linux,
/// `admin-guide/device-mapper/linear`).
fn below(table: &str, offset: u64, size: u64) -> anyhow::Result<(String, u64)> {
    for line in table.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [start, length, kind, arguments @ ..] = fields.as_slice() else { continue };
        let bytes = |text: &str| text.parse::<u64>().ok()?.checked_mul(SECTOR);
        let (Some(start), Some(length)) = (bytes(start), bytes(length)) else { continue };
        if offset < start || offset + size > start + length {
            continue;
        }
        let [device, first] = arguments else { bail!("it is of the kind {kind}") };
        let first = bytes(first).filter(|_| *kind == "linear");
        let first = first.with_context(|| format!("it is of the kind {kind}"))?;
        return Ok(((*device).to_owned(), first + offset - start));
    }
    bail!("the file does not lie in one part of it")
}

/// Returns the first byte of a partition, which must be on the disk.
fn partition_start(folder: &Path, disk: &str) -> anyhow::Result<u64> {
    let parent = folder.parent().and_then(Path::file_name);
    match fs::read_to_string(folder.join("start")) {
        Ok(start) if parent.is_some_and(|name| name == disk) => {
            let start =
                start.trim().parse::<u64>().context("reading where the partition starts")?;
            Ok(start * SECTOR)
        }
        _ => bail!("it lies on no partition of {disk} itself"),
    }
}

/// Returns where a file is in its file system; it must be in one piece.
fn extent(file: &File, size: u64) -> anyhow::Result<u64> {
    // Flags for bytes on the disk that are not, or not only, the bytes of the file.
    let elsewhere = FiemapExtentFlags::UNKNOWN
        | FiemapExtentFlags::DELALLOC
        | FiemapExtentFlags::ENCODED
        | FiemapExtentFlags::NOT_ALIGNED
        | FiemapExtentFlags::DATA_INLINE
        | FiemapExtentFlags::UNWRITTEN
        | FiemapExtentFlags::SHARED;
    let extents: Result<Vec<_>, _> = fiemap::Fiemap::new(file).collect();
    let extents = extents.context("asking the file system for its blocks")?;
    match extents.as_slice() {
        [one] if one.fe_length >= size && !one.fe_flags.intersects(elsewhere) => {
            Ok(one.fe_physical)
        }
        _ => bail!("the file system keeps it in no single place"),
    }
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn a_place_is_gone_through_to_below_a_linear_target_alone() {
        const LV: &str = "0 4096 linear 254:3 2048\n4096 8192 linear 254:4 0\n";
        for (table, offset, want) in [
            (LV, 0, Ok(("254:3", 2048 * 512))),
            (LV, 8192, Ok(("254:3", 2048 * 512 + 8192))),
            (LV, 4096 * 512 + 512, Ok(("254:4", 512))),
            // Half of it is on the one, half on the other.
            (LV, 4095 * 512, Err("the file does not lie in one part of it")),
            (LV, 12288 * 512, Err("the file does not lie in one part of it")),
            (
                "0 4096 crypt aes-xts-plain64 :64:logon:x 0 254:3 32768\n",
                0,
                Err("it is of the kind crypt"),
            ),
            ("0 4096 thin 254:2 1\n", 0, Err("it is of the kind thin")),
            ("0 4096 mirror core 1 1024 2 254:3 0 254:4 0\n", 0, Err("it is of the kind mirror")),
            ("", 0, Err("the file does not lie in one part of it")),
        ] {
            let found = below(table, offset, 16 << 10).map_err(|error| error.to_string());
            let want = want.map(|(device, at)| (device.to_owned(), at)).map_err(str::to_owned);
            assert_eq!(found, want, "{table} {offset}");
        }
    }
}
