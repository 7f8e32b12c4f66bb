//! Selects the disk that is overwritten.

use contract::disk::sysfs::{ChoiceError, Names, choose};
use contract::disk::{Candidate, DiskIdentity};
use serde::Serialize;

use super::inputs::Purpose;
use crate::config::{Select, Selector};
use crate::facts::{Disk, Facts};
use crate::refusal::Refusal;

/// The disk that is overwritten.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedDisk {
    /// Absent if none could be selected.
    pub(crate) identity: Option<DiskIdentity>,
    /// The disk, if this machine has it.
    pub(crate) found: Option<Disk>,
    /// Why this disk was selected.
    pub(crate) why: String,
}

impl PlannedDisk {
    /// Returns the device name in the running system.
    pub(crate) fn name(&self) -> String {
        let found = self.found.as_ref();
        found.map_or_else(|| "the disk".to_owned(), |disk| format!("/dev/{}", disk.candidate.name))
    }

    /// Returns whether it is, or was meant to be, a disk of this machine.
    pub(super) fn this_machine(&self) -> bool {
        self.found.is_some() || self.identity.is_none()
    }
}

/// Selects the disk; something that is only built may be for another machine.
pub(super) fn select(
    facts: &Facts,
    select: &Select,
    purpose: Purpose,
) -> Result<PlannedDisk, Refusal> {
    match select {
        Select::Root => below_root(facts),
        Select::By(selector) => by(facts, selector, purpose),
    }
}

/// Selects the other disks that may be written; none of them may be `selected`.
pub(super) fn also(
    facts: &Facts,
    selectors: &[Selector],
    purpose: Purpose,
    selected: &PlannedDisk,
) -> Result<Vec<PlannedDisk>, Refusal> {
    let mut names = vec![selected.name()];
    let also = selectors.iter().map(|selector| {
        let disk = by(facts, selector, purpose)?;
        if disk.found.is_some() && names.contains(&disk.name()) {
            return Err(Refusal::DiskTwice { name: disk.name(), wanted: selector.to_string() });
        }
        names.push(disk.name());
        Ok(disk)
    });
    also.collect()
}

fn below_root(facts: &Facts) -> Result<PlannedDisk, Refusal> {
    let is_below = |disk: &&Disk| facts.root_disks.contains(&disk.candidate.name);
    let below: Vec<_> = facts.disks.iter().filter(is_below).collect();
    match below.as_slice() {
        [] => Err(Refusal::RootDiskUnknown { seen: names(&facts.disks) }),
        [disk] => recognisable(facts, disk, "it is the disk below /".to_owned()),
        several => Err(Refusal::RootDiskSpread { names: names(several.iter().copied()) }),
    }
}

fn by(facts: &Facts, selector: &Selector, purpose: Purpose) -> Result<PlannedDisk, Refusal> {
    let fitting: Vec<_> = facts.disks.iter().filter(|disk| fits(disk, selector)).collect();
    let wanted = selector.to_string();
    match fitting.as_slice() {
        [disk] => recognisable(facts, disk, format!("it has {wanted}")),
        [] if purpose == Purpose::Build => elsewhere(selector),
        [] => Err(Refusal::DiskNotFound { wanted, seen: names(&facts.disks) }),
        several => Err(Refusal::DiskAmbiguous { wanted, names: names(several.iter().copied()) }),
    }
}

fn names<'d>(disks: impl IntoIterator<Item = &'d Disk>) -> Vec<String> {
    disks.into_iter().map(|disk| disk.candidate.name.clone()).collect()
}

fn fits(disk: &Disk, selector: &Selector) -> bool {
    let identity = &disk.candidate.identity;
    let same = |wanted: &Option<String>, found: &Option<String>| {
        wanted.is_none() || wanted.as_deref() == found.as_deref()
    };
    same(&selector.serial, &identity.serial)
        && same(&selector.wwn, &identity.wwn)
        && same(&selector.table_id.as_ref().map(|id| id.to_lowercase()), &identity.table_id)
        && selector.by_id.as_ref().is_none_or(|name| disk.by_id.contains(name))
        && (selector.size.is_none() || selector.size == identity.size)
}

/// Plans for a disk that another kernel can find again and write to.
///
/// If there is a clone of it, with the same table ID and the same size, it is refused, because
/// nobody knows which of the two comes first after the jump.
fn recognisable(facts: &Facts, disk: &Disk, why: String) -> Result<PlannedDisk, Refusal> {
    let Candidate { name, identity, read_only, .. } = disk.candidate.clone();
    // One mark is only enough if it is the device's own, because the others are copied with a disk.
    if !identity.names_its_device() && identity.known_marks() < 2 {
        return Err(Refusal::DiskNameless { name });
    }
    let anywhere = DiskIdentity { bus_path: None, ..identity.clone() };
    let all: Vec<_> = facts.disks.iter().map(|disk| disk.candidate.clone()).collect();
    if let Err(ChoiceError::Doubt { names: Names(names), .. }) = choose(&anywhere, &all) {
        return Err(Refusal::DiskAmbiguous { wanted: anywhere.to_string(), names });
    }
    if read_only {
        return Err(Refusal::DiskReadOnly { name });
    }
    Ok(PlannedDisk { identity: Some(identity), found: Some(disk.clone()), why })
}

/// Plans for a disk of another machine, of which only the selector is known.
fn elsewhere(selector: &Selector) -> Result<PlannedDisk, Refusal> {
    let identity = DiskIdentity {
        serial: selector.serial.clone(),
        wwn: selector.wwn.clone(),
        table_id: selector.table_id.as_ref().map(|id| id.to_lowercase()),
        size: selector.size,
        ..DiskIdentity::default()
    };
    if identity.known_marks() == 0 {
        return Err(Refusal::DiskNameless { name: format!("the disk with {selector}") });
    }
    let why = format!("it is a disk of another machine, with {selector}");
    Ok(PlannedDisk { identity: Some(identity), found: None, why })
}
