//! Finds the selected disk again and knows whether it was written.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::read_only;
use super::report::Report;
use super::uevents::Uevents;
use contract::disk::{DiskIdentity, sysfs};

/// How long a disk may take to appear: controllers of real servers need half a minute.
const LIMIT: Duration = Duration::from_secs(90);

/// The selected disk, as this kernel knows it.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// Its name below `/sys/block`.
    name: String,
    /// Its device node.
    pub(super) device: String,
    /// What it was found again by: what is the same as on the disk that was wanted.
    pub(super) known_by: DiskIdentity,
    /// Sectors written or discarded before `deploy` began.
    baseline: u64,
    /// What tells it from one that comes later under the same name (Linux,
    /// `ABI/testing/sysfs-block`, from 5.15 on).
    sequence: Option<String>,
    /// Other disks that `deploy` may write to; they have none of their own.
    pub(super) also: Vec<Selected>,
}

impl Selected {
    /// Takes what was written so far for nothing.
    pub(super) fn begin_anew(&mut self) -> anyhow::Result<()> {
        self.baseline = sectors(&self.name)?;
        Ok(())
    }

    /// The device nodes of it and the other disks that may be written.
    pub(super) fn devices(&self) -> Vec<&str> {
        self.all().map(|disk| disk.device.as_str()).collect()
    }

    /// It and the other disks that may be written.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.also)
    }
}

/// Waits until exactly one disk fits each identity, the selected one and those of `also`.
pub(super) fn wait(
    report: &mut Report,
    wanted: &DiskIdentity,
    also: &[DiskIdentity],
) -> anyhow::Result<Selected> {
    let uevents = Uevents::subscribe().context("subscribing to device events")?;
    let deadline = Instant::now() + LIMIT;
    let mut selected = wait_for(&uevents, deadline, wanted)?;
    report.line(&format!("disk {} is the selected one, by {wanted}", selected.device));
    for wanted in also {
        let other = wait_for(&uevents, deadline, wanted)?;
        if selected.all().any(|known| known.name == other.name) {
            bail!("{} is meant twice: once by {wanted}", other.device);
        }
        report.line(&format!("disk {} may be written too, by {wanted}", other.device));
        selected.also.push(other);
    }
    Ok(selected)
}

fn wait_for(
    uevents: &Uevents,
    deadline: Instant,
    wanted: &DiskIdentity,
) -> anyhow::Result<Selected> {
    loop {
        let candidates = sysfs::read_all(Path::new("/sys"), Path::new("/dev"))?;
        let problem = match sysfs::choose(wanted, &candidates) {
            Ok(found) => return select(&found.name, wanted.common(&found.identity)),
            Err(problem) => problem,
        };
        if !uevents.wait(deadline)? {
            bail!("{problem} (waited {} s for it)", LIMIT.as_secs());
        }
    }
}

/// Has the kernel refuse every write to all other disks that are there now.
///
/// Linux 6.1 refuses writes to the partitions of a disk with the flag too. Older kernels may keep a
/// flag for each partition by itself, so each gets its own.
fn protect_others(report: &mut Report, selected: &Selected) {
    for name in others(selected) {
        protect(report, &name);
    }
}

/// The names of all other disks that are there now.
pub(super) fn others(selected: &Selected) -> Vec<String> {
    let mut names = names_below(Path::new("/sys/block"));
    names.retain(|name| selected.all().all(|ours| is_other_disk(name, &ours.name)));
    names
}

/// The same for the disks that may be written, and all others; an error where the former still can.
pub(super) fn protect_all(report: &mut Report, selected: &Selected) -> anyhow::Result<()> {
    for disk in selected.all() {
        protect(report, &disk.name);
        read_only::set(&disk.device).with_context(|| format!("protecting {}", disk.device))?;
    }
    protect_others(report, selected);
    Ok(())
}

/// Makes a disk and its partitions read-only, and says so.
pub(super) fn protect(report: &mut Report, name: &str) {
    let partitions = partitions_of(&Path::new("/sys/block").join(name));
    for name in std::iter::once(name).chain(partitions.iter().map(String::as_str)) {
        let device = node(name);
        match read_only::set(&device) {
            Ok(()) => report.line(&format!("disk {device} is read-only for the deployment")),
            // A drive without a medium, or a hidden path of another disk.
            Err(error) => report.line(&format!("disk {device} is not protected: {error}")),
        }
    }
}

/// The device nodes of the selected disk's partitions, with where each begins in bytes.
pub(super) fn partitions(selected: &Selected) -> Vec<(String, u64)> {
    let folder = Path::new("/sys/block").join(&selected.name);
    let partitions = partitions_of(&folder).into_iter().filter_map(|name| {
        let start = fs::read_to_string(folder.join(&name).join("start")).ok()?;
        let start = start.trim().parse::<u64>().ok()?;
        // In units of 512 bytes, whatever the sectors of the disk are.
        Some((node(&name), start.checked_mul(512)?))
    });
    partitions.collect()
}

/// The partitions of a disk, by its folder in `/sys/block` (Linux, `ABI/stable/sysfs-block`).
fn partitions_of(disk: &Path) -> Vec<String> {
    let is_partition = |name: &String| disk.join(name).join("partition").exists();
    names_below(disk).into_iter().filter(is_partition).collect()
}

/// The device node of a disk or a partition, by its name in `/sys/block`.
pub(super) fn node(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// The names in a folder, in their order; one that cannot be read has none.
fn names_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Whether it is a disk of the machine: neither the selected one nor one that the kernel makes.
fn is_other_disk(name: &str, selected: &str) -> bool {
    const MADE: &[&str] = &["loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd"];
    name != selected
        && !is_path_of(name, selected)
        && !MADE.iter().any(|prefix| name.starts_with(prefix))
}

fn select(name: &str, known_by: DiskIdentity) -> anyhow::Result<Selected> {
    let device = node(name);
    let (baseline, also) = (sectors(name)?, Vec::new());
    let (name, sequence) = (name.to_owned(), sequence(name));
    Ok(Selected { name, device, known_by, baseline, sequence, also })
}

fn sequence(name: &str) -> Option<String> {
    fs::read_to_string(format!("/sys/block/{name}/diskseq")).ok()
}

/// Whether anybody wrote to a disk that may be written, or discarded sectors of it: the commit
/// point. What is still in the page cache counts once it was synced.
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

/// Sectors that were written to a disk or discarded; an error when it is gone.
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

/// Whether a hidden disk is one path to an NVMe namespace, as `nvme0c1n1` is to `nvme0n1`: with
/// native multipath, older kernels count what is written on the paths alone.
fn is_path_of(path: &str, name: &str) -> bool {
    let Some((controller, namespace)) = name.rsplit_once('n') else { return false };
    let middle = path
        .strip_prefix(controller)
        .and_then(|rest| rest.strip_suffix(&format!("n{namespace}")))
        .and_then(|middle| middle.strip_prefix('c'));
    name.starts_with("nvme") && middle.is_some_and(|digits| digits.parse::<u32>().is_ok())
}

/// Adds up sectors written (field 7) and discarded (field 14, from Linux 4.18), as
/// `Documentation/block/stat.rst` numbers them from 1.
fn parse_stat(text: &str) -> anyhow::Result<u64> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let number = |index: usize| -> anyhow::Result<u64> {
        fields.get(index).context("a field is missing")?.parse().context("a field is no number")
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
    fn every_disk_but_the_selected_one_is_another() {
        for (name, want) in [
            ("vda", false),
            ("vdb", true),
            ("sda", true),
            ("nvme0n1", true),
            ("loop0", false),
            ("sr0", false),
            ("md127", false),
        ] {
            assert_eq!(is_other_disk(name, "vda"), want, "{name}");
        }
        assert!(!is_other_disk("nvme0c0n1", "nvme0n1"), "a path of the selected one");
    }

    #[test]
    fn partitions_are_told_from_the_other_folders_of_a_disk() {
        let disk = tempfile::tempdir().unwrap();
        for name in ["vdb1/partition", "vdb2/partition", "queue/ro"] {
            fs::create_dir_all(disk.path().join(name)).unwrap();
        }
        assert_eq!(partitions_of(disk.path()), ["vdb1", "vdb2"]);
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
