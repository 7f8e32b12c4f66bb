//! What is on a disk: partitions, file systems, swap, and what other layers make from them.

use serde::{Deserialize, Serialize};

use super::mounts::{self, Mount};
use super::root::Root;

/// A block device and what uses it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Occupant {
    pub(crate) name: String,
    /// `disk`, `partition`, `raid1`, `lvm`, `crypt`, …
    pub(crate) kind: String,
    /// In bytes.
    pub(crate) size: u64,
    /// The type of its file system, including swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) filesystem: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// Its mount points.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<String>,
    /// Whether the running system swaps to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) swap: bool,
    /// Its partitions, and the devices that are made from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) inside: Vec<Occupant>,
}

impl Occupant {
    /// Returns it with everything inside, outermost first.
    pub(crate) fn with_all_inside(&self) -> Vec<&Self> {
        let inside = self.inside.iter().flat_map(Self::with_all_inside);
        std::iter::once(self).chain(inside).collect()
    }
}

/// What uses which block device.
#[derive(Debug)]
pub(super) struct Uses {
    mounts: Vec<Mount>,
    /// Device nodes of swap devices.
    swaps: Vec<String>,
    /// Device nodes of the members of each btrfs.
    pools: Vec<Vec<String>>,
}

impl Uses {
    pub(super) fn read(root: &Root) -> Self {
        let swaps = root.may("proc/swaps").unwrap_or_default();
        Self {
            mounts: mounts::read(root),
            swaps: swaps
                .lines()
                .skip(1)
                .filter_map(|line| line.split(' ').next())
                .map(str::to_owned)
                .collect(),
            pools: pools(root),
        }
    }

    /// Returns whether a mount is on the device with these numbers and nodes.
    ///
    /// A btrfs has numbers of its own and names one member, but is on all of them.
    fn is_on(&self, mount: &Mount, device: &str, nodes: &[String]) -> bool {
        let of_pool = |pool: &&Vec<String>| nodes.iter().any(|node| pool.contains(node));
        mount.device == device
            || nodes.contains(&mount.source)
            || self.pools.iter().filter(of_pool).any(|pool| pool.contains(&mount.source))
    }
}

/// Reads which devices each btrfs consists of, because `mountinfo` only shows one of them.
fn pools(root: &Root) -> Vec<Vec<String>> {
    const POOLS: &str = "sys/fs/btrfs";
    let members = |pool| root.names(format!("{POOLS}/{pool}/devices"));
    let nodes_of = |name: String| nodes(&name, &name_of(root, &format!("sys/block/{name}")));
    let pools = root.names(POOLS).into_iter();
    pools.map(|pool| members(pool).into_iter().flat_map(nodes_of).collect()).collect()
}

/// Returns the name of a block device, which the device mapper chooses for its own devices.
fn name_of(root: &Root, folder: &str) -> String {
    let kernel_name = folder.rsplit('/').next().unwrap_or(folder);
    root.may(format!("{folder}/dm/name")).unwrap_or_else(|| kernel_name.to_owned())
}

/// Returns the device nodes of a block device.
fn nodes(kernel_name: &str, name: &str) -> [String; 2] {
    [format!("/dev/{kernel_name}"), format!("/dev/mapper/{name}")]
}

/// Reads what is on the disk `name`.
pub(super) fn read(root: &Root, uses: &Uses, name: &str) -> Occupant {
    let disk = format!("sys/block/{name}");
    let partitions = root.names(&disk).into_iter();
    let mut partitions: Vec<_> = partitions
        .filter(|entry| root.path(format!("{disk}/{entry}/partition")).exists())
        .map(|entry| occupant(root, uses, &format!("{disk}/{entry}"), "partition".to_owned()))
        .collect();
    partitions.sort_by_key(|partition| (partition.name.len(), partition.name.clone()));
    let mut whole = occupant(root, uses, &disk, "disk".to_owned());
    whole.inside.splice(0..0, partitions);
    whole
}

fn occupant(root: &Root, uses: &Uses, folder: &str, kind: String) -> Occupant {
    let kernel_name = folder.rsplit('/').next().unwrap_or(folder);
    let name = name_of(root, folder);
    let nodes = nodes(kernel_name, &name);
    let device = root.may(format!("{folder}/dev")).unwrap_or_default();
    let here = |mount: &&Mount| uses.is_on(mount, &device, &nodes);
    let mounts: Vec<_> = uses.mounts.iter().filter(here).collect();
    let udev = root.may(format!("run/udev/data/b{device}")).unwrap_or_default();
    let property =
        |key: &str| udev.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
    let size = root.may(format!("{folder}/size")).and_then(|size| size.parse::<u64>().ok());
    Occupant {
        filesystem: mounts
            .first()
            .map(|mount| mount.filesystem.clone())
            .or_else(|| property("E:ID_FS_TYPE=")),
        label: property("E:ID_FS_LABEL="),
        mounts: mount_points(&mounts),
        swap: uses.swaps.iter().any(|swap| nodes.contains(swap)),
        inside: holders(root, uses, folder),
        size: size.unwrap_or_default() * 512,
        kind,
        name,
    }
}

/// Returns where a device is mounted: each point once, without bind mounts below others.
fn mount_points(mounts: &[&Mount]) -> Vec<String> {
    let mut points: Vec<_> = mounts.iter().map(|mount| mount.point.clone()).collect();
    points.sort();
    points.dedup();
    points
}

/// Returns the devices that are made from the one in `folder`, alone or with others.
fn holders(root: &Root, uses: &Uses, folder: &str) -> Vec<Occupant> {
    let names = root.names(format!("{folder}/holders")).into_iter();
    names
        .map(|name| {
            let holder = format!("sys/block/{name}");
            let kind = kind_of(root, &holder);
            let mut made = occupant(root, uses, &holder, kind);
            // A RAID can have partitions like a disk.
            if made.kind.starts_with("raid") {
                made.inside.extend(
                    read(root, uses, &name)
                        .inside
                        .into_iter()
                        .filter(|inside| inside.kind == "partition"),
                );
            }
            made
        })
        .collect()
}

/// Returns what makes a device from others: the prefix that each layer gives to its UUID.
fn kind_of(root: &Root, folder: &str) -> String {
    if let Some(level) = root.may(format!("{folder}/md/level")) {
        return level;
    }
    let uuid = root.may(format!("{folder}/dm/uuid")).unwrap_or_default();
    let prefix = uuid.split('-').next().unwrap_or_default().to_lowercase();
    if prefix.is_empty() { "device".to_owned() } else { prefix }
}
