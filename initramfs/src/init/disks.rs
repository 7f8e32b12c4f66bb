//! Finds the disks of the deployment again among those of this kernel.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::read_only;
use super::report::Report;
use super::uevents::Uevents;
use super::written::{Selected, is_path_of};
use contract::disk::{DiskIdentity, sysfs};

/// How long a disk may take to appear; controllers of real servers need half a minute.
const LIMIT: Duration = Duration::from_secs(90);

/// Waits until exactly one disk matches each identity, the selected one and those of `also`.
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
            Ok(found) => {
                let known_by = wanted.common(&found.identity);
                return Selected::found(&found.name, node(&found.name), known_by);
            }
            Err(problem) => problem,
        };
        if !uevents.wait(deadline)? {
            bail!("{problem} (waited {} s for it)", LIMIT.as_secs());
        }
    }
}

/// Makes the kernel refuse every write to all other disks that are present now.
///
/// With this flag, Linux 6.1 refuses writes to the partitions of the disk, too. Older kernels may
/// keep a flag for each partition, so each gets its own.
fn protect_others(report: &mut Report, selected: &Selected) {
    for name in others(selected) {
        protect(report, &name);
    }
}

/// Returns the names of all other disks that are present now.
pub(super) fn others(selected: &Selected) -> Vec<String> {
    let mut names = names_below(Path::new("/sys/block"));
    names.retain(|name| selected.all().all(|ours| is_other_disk(name, &ours.name)));
    names
}

/// Protects the writable disks and all others; fails if one of the former can still be written.
pub(super) fn protect_all(report: &mut Report, selected: &Selected) -> anyhow::Result<()> {
    for disk in selected.all() {
        protect(report, &disk.name);
        read_only::set(&disk.device).with_context(|| format!("protecting {}", disk.device))?;
    }
    protect_others(report, selected);
    Ok(())
}

/// Makes a disk and its partitions read-only, and reports it.
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

/// Returns the device nodes of the selected disk's partitions, with the first byte of each.
pub(super) fn partitions(selected: &Selected) -> Vec<(String, u64)> {
    let folder = Path::new("/sys/block").join(&selected.name);
    let partitions = partitions_of(&folder).into_iter().filter_map(|name| {
        let start = fs::read_to_string(folder.join(&name).join("start")).ok()?;
        let start = start.trim().parse::<u64>().ok()?;
        // In units of 512 bytes, regardless of the disk's sectors.
        Some((node(&name), start.checked_mul(512)?))
    });
    partitions.collect()
}

/// Returns the partitions of a disk in `/sys/block` (Linux, `ABI/stable/sysfs-block`).
fn partitions_of(disk: &Path) -> Vec<String> {
    let is_partition = |name: &String| disk.join(name).join("partition").exists();
    names_below(disk).into_iter().filter(is_partition).collect()
}

/// Returns the device node of a disk or a partition, by its name in `/sys/block`.
pub(super) fn node(name: &str) -> String {
    format!("/dev/{}", name.replace('!', "/"))
}

/// Returns the names in a folder, sorted; none if it cannot be read.
fn names_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Returns whether it is another disk of the machine, not one that the kernel makes up.
fn is_other_disk(name: &str, selected: &str) -> bool {
    const MADE: &[&str] = &["loop", "ram", "zram", "dm-", "md", "nbd", "sr", "fd"];
    name != selected
        && !is_path_of(name, selected)
        && !MADE.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
