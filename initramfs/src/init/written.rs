//! Counts what is written to the selected disk.

use std::fs;

use anyhow::{Context, bail};

use contract::disk::DiskIdentity;

/// The selected disk, as this kernel knows it.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// Its name below `/sys/block`.
    pub(super) name: String,
    /// Its device node.
    pub(super) device: String,
    /// What identified it: everything that equals the wanted disk.
    pub(super) known_by: DiskIdentity,
    /// Sectors written or discarded before `deploy` began.
    baseline: u64,
    /// What distinguishes it from one that appears later under the same name.
    ///
    /// See Linux, `ABI/testing/sysfs-block`, from 5.15 on.
    sequence: Option<String>,
    /// Other disks that `deploy` may write to; these have none of their own.
    pub(super) also: Vec<Selected>,
}

impl Selected {
    /// Returns the disk of this name; nothing that was written so far counts.
    pub(super) fn found(
        name: &str,
        device: String,
        known_by: DiskIdentity,
    ) -> anyhow::Result<Self> {
        let (baseline, also) = (sectors(name)?, Vec::new());
        let (name, sequence) = (name.to_owned(), sequence(name));
        Ok(Self { name, device, known_by, baseline, sequence, also })
    }

    /// Ignores everything that was written so far.
    pub(super) fn begin_anew(&mut self) -> anyhow::Result<()> {
        self.baseline = sectors(&self.name)?;
        Ok(())
    }

    /// Returns the device nodes of it and the other disks that may be written.
    pub(super) fn devices(&self) -> Vec<&str> {
        self.all().map(|disk| disk.device.as_str()).collect()
    }

    /// Returns it and the other disks that may be written.
    pub(super) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.also)
    }
}

fn sequence(name: &str) -> Option<String> {
    fs::read_to_string(format!("/sys/block/{name}/diskseq")).ok()
}

/// Returns whether a disk that may be written was written or had sectors discarded.
///
/// That is the commit point. What is still in the page cache counts once it was synced.
pub(super) fn sectors_written(disk: &Selected) -> anyhow::Result<bool> {
    for disk in disk.all() {
        let sectors = sectors(&disk.name)?;
        if sequence(&disk.name) != disk.sequence {
            bail!("{} was gone, and is back", disk.device);
        }
        if sectors != disk.baseline {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns how many sectors of a disk were written or discarded; an error if it is gone.
pub(super) fn sectors(name: &str) -> anyhow::Result<u64> {
    let (mut sum, mut is_there) = (0, false);
    let entries = fs::read_dir("/sys/block").context("reading /sys/block")?;
    for entry in entries {
        let other = entry.context("reading /sys/block")?.file_name();
        let other = other.to_string_lossy();
        if other == name || is_path_of(&other, name) {
            let path = format!("/sys/block/{other}/stat");
            let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
            sum += parse_stat(&text).with_context(|| format!("parsing {path}"))?;
            is_there |= other == name;
        }
    }
    if !is_there {
        bail!("the disk {name} is gone");
    }
    Ok(sum)
}

/// Returns whether a hidden disk is a path to an NVMe namespace, as `nvme0c1n1` to `nvme0n1`.
///
/// With native multipath, older kernels count what is written on the paths alone.
pub(super) fn is_path_of(path: &str, name: &str) -> bool {
    let Some((controller, namespace)) = name.rsplit_once('n') else { return false };
    let middle = path
        .strip_prefix(controller)
        .and_then(|rest| rest.strip_suffix(&format!("n{namespace}")))
        .and_then(|middle| middle.strip_prefix('c'));
    name.starts_with("nvme") && middle.is_some_and(|digits| digits.parse::<u32>().is_ok())
}

/// Adds up sectors written (field 7) and discarded (field 14, from Linux 4.18).
///
/// `Documentation/block/stat.rst` numbers the fields from 1.
fn parse_stat(text: &str) -> anyhow::Result<u64> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let number = |index: usize| -> anyhow::Result<u64> {
        fields.get(index).context("a field is missing")?.parse().context("a field is not a number")
    };
    let discarded = if fields.len() > 13 { number(13)? } else { 0 };
    Ok(number(6)? + discarded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_an_nvme_namespace_are_told_from_other_disks() {
        for (path, name, want) in [
            ("nvme0c0n1", "nvme0n1", true),
            ("nvme0c12n1", "nvme0n1", true),
            ("nvme0c0n2", "nvme0n1", false),
            ("nvme1c0n1", "nvme0n1", false),
            ("nvme0n1", "nvme0n1", false),
            ("vda", "vda", false),
            ("sdn1", "sdn", false),
        ] {
            assert_eq!(is_path_of(path, name), want, "{path} {name}");
        }
    }

    #[test]
    fn written_and_discarded_sectors_are_added_up() {
        // From a guest with Linux 6.1; the second line as Linux 4.17 would print it.
        for (text, want) in [
            ("  446 3 21370 190 34 7 328 32 0 180 240 5 0 4096 9 12 8\n", Some(328 + 4096)),
            ("  446 3 21370 190 34 7 328 32 0 180 240\n", Some(328)),
            ("446 3\n", None),
        ] {
            assert_eq!(parse_stat(text).ok(), want, "{text}");
        }
    }
}
