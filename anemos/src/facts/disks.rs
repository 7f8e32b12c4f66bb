//! The disks of the machine, and what lies on them.

use anyhow::Context;
use initramfs::disk::{Candidate, sysfs};
use serde::{Deserialize, Serialize};

use super::occupants::{self, Occupant, Uses};
use super::root::Root;

/// A disk.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Disk {
    /// How it presents itself.
    #[serde(flatten)]
    pub(crate) candidate: Candidate,
    /// Names of its links in `/dev/disk/by-id`.
    pub(crate) by_id: Vec<String>,
    /// What lies on it: the disk itself, its partitions, what is made of them.
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
    let holds_root = |disk: &&Disk| {
        let all = disk.content.with_all_inside();
        all.iter().any(|one| one.mounts.iter().any(|mount| mount == "/"))
    };
    disks.iter().filter(holds_root).map(|disk| disk.candidate.name.clone()).collect()
}

/// Returns the links in `/dev/disk/by-id` with the kernel names that they lead to.
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
