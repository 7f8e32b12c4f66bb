//! Checks whether payload, machine and deploy environment fit together.

use contract::firmware::Firmware;
use contract::network::Restore;
use contract::payload::Settings;

use crate::amount;
use crate::facts::{Clock, Disk, Facts};
use crate::plan::{Plan, Purpose};
use crate::refusal::Refusal;

/// Returns what does not fit, for a disk and a machine that exist.
pub(super) fn check(facts: &Facts, plan: &Plan) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if let (Some(payload), Some(disk)) = (&plan.payload, &plan.disk.found) {
        refusals.extend(of_disk(&payload.settings, disk));
        refusals.extend(of_firmware(&payload.settings, facts));
    }
    if plan.purpose == Purpose::Deploy {
        refusals.extend(boot_disk(facts, plan));
        refusals.extend(login(plan));
        refusals.extend(clock(facts.clock));
        refusals.extend(drivers(plan));
    }
    refusals
}

fn of_disk(settings: &Settings, disk: &Disk) -> Vec<Refusal> {
    let candidate = &disk.candidate;
    let name = || candidate.name.clone();
    let size = candidate.identity.size.unwrap_or_default();
    let too_small = settings.disk_size.filter(|needs| *needs > size).map(|needs| {
        let (needs, has) = (amount::mib(needs), amount::mib_down(size));
        Refusal::DiskTooSmall { name: name(), needs, has }
    });
    let known = |bus: &String| bus_of(bus) == candidate.bus;
    let other_bus = !settings.disks.is_empty() && !settings.disks.iter().any(known);
    let other_bus = other_bus.then(|| Refusal::DiskBus {
        name: name(),
        bus: candidate.bus.clone(),
        buses: settings.disks.clone(),
    });
    let has = candidate.sector_size;
    let sector = !settings.sectors.is_empty() && !settings.sectors.contains(&has);
    let sector =
        sector.then(|| Refusal::SectorSize { name: name(), has, sizes: settings.sectors.clone() });
    too_small.into_iter().chain(other_bus).chain(sector).collect()
}

/// Returns the bus of a disk by its word in `payload.toml`, which is QEMU's.
fn bus_of(word: &str) -> &str {
    match word {
        "virtio-blk" => "virtio",
        "virtio-scsi" => "scsi",
        "sata" => "ata",
        other => other,
    }
}

fn of_firmware(settings: &Settings, facts: &Facts) -> Option<Refusal> {
    let has = match (facts.firmware, facts.kexec.secure_boot) {
        (Firmware::Bios, _) => "bios",
        (Firmware::Uefi, false) => "uefi",
        (Firmware::Uefi, true) => "uefi-secure",
    };
    let boots = &settings.firmware;
    let fits = boots.is_empty() || boots.iter().any(|word| word == has);
    (!fits).then(|| Refusal::FirmwareMismatch { has, boots: boots.clone() })
}

/// Refuses to leave a disk alone that the machine boots from.
///
/// The firmware would still start what is on that disk, and that looks for the old system.
fn boot_disk(facts: &Facts, plan: &Plan) -> Option<Refusal> {
    let selected = plan.disk.found.as_ref()?;
    let also = plan.also_write.iter().filter_map(|disk| disk.found.as_ref());
    let written: Vec<_> =
        std::iter::once(selected).chain(also).map(|disk| &disk.candidate.name).collect();
    let left = facts.boot_disks.iter().filter(|name| !written.contains(name));
    let names: Vec<_> = left.cloned().collect();
    (!names.is_empty()).then_some(Refusal::BootDiskLeft { names })
}

/// Refuses a deployment after which nobody can log in, unless the user has agreed to that.
fn login(plan: &Plan) -> Option<Refusal> {
    let access = &plan.access;
    let (from, without_shell) = (access.from.clone()?, access.without_shell);
    (access.authorized_keys <= without_shell).then_some(Refusal::NoLogin { from, without_shell })
}

fn clock(clock: Clock) -> Option<Refusal> {
    (clock.now < clock.kernel_installed).then(|| Refusal::ClockWrong {
        now: amount::date(clock.now),
        installed: amount::date(clock.kernel_installed),
    })
}

/// Refuses missing drivers of the disk that is written, and of the links that are restored.
fn drivers(plan: &Plan) -> Vec<Refusal> {
    let disk = plan.disk.found.as_ref().map(|disk| disk.candidate.name.as_str());
    let links: Vec<_> = match &plan.restore {
        Some(Restore::Static(network)) => {
            network.links.iter().map(|link| link.name.as_str()).collect()
        }
        _ => Vec::new(),
    };
    let matters = |to: &str| disk == Some(to) || links.contains(&to);
    let missing = plan.drivers_missing.iter().filter(|missing| matters(&missing.to));
    missing
        .map(|missing| Refusal::DriverMissing {
            to: missing.to.clone(),
            device: missing.device.alias.clone(),
            driver: missing.device.driver.clone(),
        })
        .collect()
}
