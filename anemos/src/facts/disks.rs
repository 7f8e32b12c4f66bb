//! The disks of the machine, and their contents.

use anyhow::Context;
use contract::disk::{Candidate, sysfs};
use serde::{Deserialize, Serialize};

use super::occupants::{self, Occupant, Uses};
use super::root::Root;

/// Where the boot loader's own file systems are mounted.
///
/// These are the folders by convention and by the Boot Loader Specification.
const BOOT_FOLDERS: [&str; 3] = ["/boot", "/boot/efi", "/efi"];

/// A disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Disk {
    /// How it identifies itself.
    #[serde(flatten)]
    pub(crate) candidate: Candidate,
    /// Names of its links in `/dev/disk/by-id`.
    pub(crate) by_id: Vec<String>,
    /// What is on it: the disk itself, its partitions, and the devices made from them.
    pub(crate) content: Occupant,
}

pub(super) fn read(root: &Root) -> anyhow::Result<Vec<Disk>> {
    let candidates = sysfs::read_all(&root.path("sys"), &root.path("dev"));
    let candidates = candidates.context("reading the disks of /sys/block")?;
    let uses = Uses::read(root);
    let links = by_id(root);
    Ok(candidates
        .into_iter()
        .map(|candidate| Disk {
            by_id: links_to(&links, &candidate.name),
            content: occupants::read(root, &uses, &candidate.name),
            candidate,
        })
        .collect())
}

/// Returns the names of the disks below `/`.
pub(super) fn below_root(disks: &[Disk]) -> Vec<String> {
    holding(disks, &["/"])
}

/// Returns the names of the disks that the machine boots from.
///
/// They are those with the boot loader's own file systems, or else those below `/`, which contains
/// its files then.
pub(super) fn booted_from(disks: &[Disk]) -> Vec<String> {
    let own = holding(disks, &BOOT_FOLDERS);
    if own.is_empty() { below_root(disks) } else { own }
}

/// Returns the names of the disks that contain what is mounted at one of these points.
fn holding(disks: &[Disk], points: &[&str]) -> Vec<String> {
    let holds = |disk: &&Disk| {
        let all = disk.content.with_all_inside();
        all.iter().flat_map(|one| &one.mounts).any(|mount| points.contains(&mount.as_str()))
    };
    disks.iter().filter(holds).map(|disk| disk.candidate.name.clone()).collect()
}

/// Returns the links in `/dev/disk/by-id` with the kernel names that they point to.
fn by_id(root: &Root) -> Vec<(String, String)> {
    let folder = "dev/disk/by-id";
    let names = root.names(folder).into_iter();
    names
        .filter_map(|name| {
            let target = std::fs::read_link(root.path(folder).join(&name)).ok()?;
            Some((name, target.file_name()?.to_string_lossy().into_owned()))
        })
        .collect()
}

fn links_to(links: &[(String, String)], name: &str) -> Vec<String> {
    links.iter().filter(|(_, target)| target == name).map(|(link, _)| link.clone()).collect()
}
