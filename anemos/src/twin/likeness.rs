//! Compares a twin with its original, by statements about what they should have in common.

use contract::network::{Difference, Network};
use serde::{Deserialize, Serialize};

use crate::amount::mib;
use crate::facts::{Disk, Facts, Lockdown, Permission};

/// Kernels keep part of the memory for themselves, so what they report is rounded up to this.
const MEMORY_STEP: u64 = 128 << 20;

/// A machine as a rehearsal sees it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Likeness {
    /// What a twin copies.
    pub(crate) copied: Vec<String>,
    /// The network, which a twin copies, too.
    pub(crate) network: Network,
    /// What a twin does not copy.
    pub(crate) own: Vec<String>,
}

/// How two machines are alike.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Comparison {
    /// The number of statements that are true for both.
    pub(crate) alike: usize,
    /// What should be true for both, but is not.
    pub(crate) differences: Vec<String>,
    /// What is true for only one of them, and was not meant to be copied.
    pub(crate) not_copied: Vec<String>,
}

/// Returns the memory of a machine whose kernel reports this much.
pub(super) fn memory(total: u64) -> u64 {
    total.div_ceil(MEMORY_STEP) * MEMORY_STEP
}

impl Likeness {
    /// Describes a machine with these facts.
    pub(crate) fn of(facts: &Facts) -> Self {
        let mut copied = vec![
            format!("firmware: {}", facts.firmware.name()),
            format!("secure boot: {}", if facts.kexec.secure_boot { "on" } else { "off" }),
            format!("processors: x86-64-v{}", facts.cpu.level),
            format!("memory: {}", mib(memory(facts.memory.total))),
        ];
        let is_root = |disk: &&Disk| facts.root_disks.contains(&disk.candidate.name);
        let (root, others): (Vec<_>, Vec<_>) =
            facts.disks.iter().filter(|disk| is_lasting(disk)).partition(is_root);
        for (number, disk) in root.iter().enumerate() {
            let name = format!("system disk {}", number + 1);
            copied.extend(of_disk(&name, disk));
            let size = disk.candidate.identity.size.unwrap_or(0);
            copied.push(format!("{name}: {size} bytes"));
            copied.extend(layers(disk).map(|kind| format!("{name}: holds {kind}")));
        }
        for (number, disk) in others.iter().enumerate() {
            copied.extend(of_disk(&format!("other disk {}", number + 1), disk));
        }
        copied.dedup();
        let mut own = vec![
            format!("host name: {}", facts.hostname),
            format!("machine-id: {}", facts.machine_id.as_deref().unwrap_or("none")),
            format!("processors: {} of them", facts.cpu.count),
            format!("kernel: {}", facts.kernel.release),
            format!("consoles: {}", facts.consoles.join(", ")),
            format!("boot loader: {}", boot_loader(facts)),
            format!("authorised keys: {}", facts.access.authorized_keys.len()),
            format!("kexec: {}", kexec(facts)),
        ];
        own.extend(facts.not_captured.iter().map(|what| format!("network: {what}")));
        for path in &facts.paths {
            let drivers: Vec<_> = path.devices.iter().map(|it| it.driver.as_str()).collect();
            own.push(format!("drivers on the way to {}: {}", path.to, drivers.join(", ")));
        }
        for disk in &facts.disks {
            let serial = disk.candidate.identity.serial.as_deref().unwrap_or("none");
            own.push(format!("serial number of {}: {serial}", disk.candidate.name));
        }
        let mut network = facts.network.in_use();
        for link in &mut network.links {
            // A card's slot is only for finding it again, and leases end at another time.
            link.device = None;
            link.addresses.iter_mut().for_each(|address| address.valid_secs = None);
        }
        Self { copied, network, own }
    }

    /// Returns how another machine is like this one.
    pub(crate) fn compare(&self, other: &Self) -> Comparison {
        let difference = |one: &[String], two: &[String]| {
            let missing = one.iter().filter(|it| !two.contains(it));
            let missing = missing.cloned().map(Difference::Missing);
            let added = two.iter().filter(|it| !one.contains(it));
            missing.chain(added.cloned().map(Difference::Added)).collect::<Vec<_>>()
        };
        let mut differences = difference(&self.copied, &other.copied);
        differences.extend(self.network.differences(&other.network));
        let all = self.copied.len() + self.network.statements().len();
        let missing = differences.iter().filter(|it| matches!(it, Difference::Missing(_))).count();
        Comparison {
            alike: all - missing,
            differences: in_words(&differences),
            not_copied: in_words(&difference(&self.own, &other.own)),
        }
    }
}

fn in_words(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

impl Comparison {
    /// Renders it for people, one line each.
    pub(crate) fn render(&self) -> String {
        let count = |number: usize, what: &str| match number {
            0 => format!("no {what}"),
            1 => format!("1 {what}"),
            number => format!("{number} {what}s"),
        };
        let mut lines = vec![format!(
            "twin: alike in {}, {} in what it copies",
            count(self.alike, "statement"),
            count(self.differences.len(), "difference"),
        )];
        lines.extend(self.differences.iter().map(|line| format!("  differs: {line}")));
        lines.extend(self.not_copied.iter().map(|line| format!("  not copied: {line}")));
        lines.join("\n")
    }
}

/// Returns whether a disk belongs to the machine.
///
/// It is neither a removable medium, nor the disk that every simulated machine has to show that
/// nobody writes to it.
pub(super) fn is_lasting(disk: &Disk) -> bool {
    let identity = &disk.candidate.identity;
    !disk.candidate.removable && identity.serial.as_deref() != Some("anemos-witness")
}

fn of_disk(name: &str, disk: &Disk) -> [String; 2] {
    let candidate = &disk.candidate;
    [
        format!("{name}: bus {}", candidate.bus),
        format!("{name}: sectors of {} bytes", candidate.sector_size),
    ]
}

/// Describes the state of kexec, which may decide how the deploy environment is entered.
fn kexec(facts: &Facts) -> &'static str {
    match (facts.kexec.permission, facts.kexec.lockdown) {
        (Permission::Disabled, _) => "disabled by kernel.kexec_load_disabled",
        (Permission::NotBuiltIn, _) => "not built in",
        (Permission::Allowed, Lockdown::None) => "allowed",
        (Permission::Allowed, _) => "allowed for signed kernels, by lockdown",
    }
}

/// Returns the kinds of layers on a disk besides partitions with file systems.
fn layers(disk: &Disk) -> impl Iterator<Item = String> {
    let all = disk.content.with_all_inside().into_iter();
    all.filter_map(|one| match one.kind.as_str() {
        _ if one.swap => Some("swap".to_owned()),
        "disk" | "partition" => None,
        layer => Some(layer.to_owned()),
    })
}

fn boot_loader(facts: &Facts) -> String {
    if let Some(extlinux) = facts.boot_loader.starting_extlinux() {
        return format!("EXTLINUX in {}", extlinux.folder.display());
    }
    let grub = facts.boot_loader.grub.as_ref();
    grub.map_or("none that is known".to_owned(), |grub| {
        format!("GRUB in {}", grub.folder.display())
    })
}
