//! The twin of a machine: a simulated machine, made from the facts of a real one.

mod likeness;
mod topology;

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use harness::machine::setup::{
    Bus, CpuLevel, DiskSetup, Firmware, NetworkCard, Sector, Setup, Way,
};
use harness::size::Size;
use harness::topology::Topology;

pub(crate) use self::likeness::Likeness;
use crate::facts::{Disk, Facts};
use crate::report::Refused;

/// A machine that is made like another one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Twin {
    pub(crate) setup: Setup,
    /// Its provider's network; none if the machine has none, or no old system to use it.
    pub(crate) topology: Option<Topology>,
    /// How the original looks to a rehearsal.
    pub(crate) original: Likeness,
}

/// Reads facts that `anemos facts` has printed.
pub(crate) fn read_facts(path: &Path) -> anyhow::Result<Facts> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse_facts(&text).map_err(|reason| {
        let reason = format!("{} holds no facts of this version: {reason}", path.display());
        Refused::new(reason, "run `anemos facts` of this version on the machine").into()
    })
}

/// Parses facts.
pub(crate) fn parse_facts(text: &str) -> serde_json::Result<Facts> {
    serde_json::from_str(text)
}

impl Twin {
    /// Decides how to make the twin of a machine with these facts.
    pub(crate) fn of(facts: &Facts) -> Self {
        let disks = disks(facts);
        let direct = disks.first().is_some_and(|disk| disk.sector == Sector::Bytes4096);
        let network_card = match driver_of_card(facts) {
            Some("e1000e") => NetworkCard::E1000e,
            _ => NetworkCard::VirtioNet,
        };
        let generic =
            network_card == NetworkCard::E1000e || disks.iter().any(|disk| disk.bus == Bus::Sata);
        let setup = Setup {
            fixture: fixture(facts, generic).map(str::to_owned),
            firmware: match (facts.firmware, facts.kexec.secure_boot) {
                (contract::firmware::Firmware::Bios, _) => Firmware::Bios,
                (contract::firmware::Firmware::Uefi, false) => Firmware::Uefi,
                (contract::firmware::Firmware::Uefi, true) => Firmware::UefiSecure,
            },
            cpu: match facts.cpu.level {
                0..=2 => CpuLevel::V2,
                3 => CpuLevel::V3,
                _ => CpuLevel::Max,
            },
            memory: Some(Size::of_bytes(likeness::memory(facts.memory.total))),
            network_card,
            // No fixture has a disk with such sectors, so only the deploy environment is booted.
            entry: if direct { Way::Direct } else { Way::Jump },
            disks,
            ..Setup::default()
        };
        let topology = (!direct).then(|| topology::of(&facts.network.in_use())).flatten();
        Self { setup, topology, original: Likeness::of(facts) }
    }
}

/// Returns the disks, beginning with the one below `/`.
///
/// Others get a usual size, because they are not written and may be large.
fn disks(facts: &Facts) -> Vec<DiskSetup> {
    let is_root = |disk: &&Disk| facts.root_disks.contains(&disk.candidate.name);
    let (root, others): (Vec<_>, Vec<_>) =
        facts.disks.iter().filter(|disk| likeness::is_lasting(disk)).partition(is_root);
    let root = root.into_iter().map(|disk| DiskSetup {
        size: disk.candidate.identity.size.map(Size::of_bytes),
        ..of_disk(facts, disk)
    });
    root.chain(others.into_iter().map(|disk| of_disk(facts, disk))).collect()
}

fn of_disk(facts: &Facts, disk: &Disk) -> DiskSetup {
    let candidate = &disk.candidate;
    let path = facts.paths.iter().find(|path| path.to == candidate.name);
    let by = |driver| path.is_some_and(|path| path.devices.iter().any(|it| it.driver == driver));
    let bus = match candidate.bus.as_str() {
        "nvme" => Bus::Nvme,
        "ata" => Bus::Sata,
        "scsi" if by("ahci") => Bus::Sata,
        "scsi" => Bus::VirtioScsi,
        _ => Bus::VirtioBlk,
    };
    let sector = if candidate.sector_size == 4096 { Sector::Bytes4096 } else { Sector::Bytes512 };
    let nameless = candidate.identity.serial.is_none() && candidate.identity.wwn.is_none();
    DiskSetup { bus, sector, nameless, ..DiskSetup::default() }
}

/// Returns the fixture whose disk has the same layers; none for the usual one.
fn fixture(facts: &Facts, generic: bool) -> Option<&'static str> {
    let is_root = |disk: &&Disk| facts.root_disks.contains(&disk.candidate.name);
    let content: Vec<_> = facts
        .disks
        .iter()
        .filter(is_root)
        .flat_map(|disk| disk.content.with_all_inside())
        .collect();
    let has = |kind: &str| content.iter().any(|one| one.kind.starts_with(kind));
    if has("lvm") {
        Some("debian-12-lvm")
    } else if has("raid") {
        Some("debian-12-md")
    } else if content.iter().any(|one| one.swap) {
        Some("debian-12-swap")
    } else {
        generic.then_some("debian-12-generic")
    }
}

/// Returns the driver of the first card in use.
fn driver_of_card(facts: &Facts) -> Option<&str> {
    let network = facts.network.in_use();
    let card = network.links.iter().find(|link| link.kind.is_hardware())?.name.clone();
    let path = facts.paths.iter().find(|path| path.to == card)?;
    path.devices.first().map(|device| device.driver.as_str())
}

#[cfg(test)]
mod tests;
