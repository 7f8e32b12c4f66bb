//! Signatures of a device as wipefs(8) lists them, with the rule for which are left over.
//!
//! Nothing here reads a device or writes to one.

use anyhow::Context;
use serde::Deserialize;

/// The columns of wipefs(8) that [`parse`] needs.
pub(super) const COLUMNS: &str = "OFFSET,TYPE,UUID,USAGE";

/// Magic bytes that identify what lies on a device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Signature {
    /// Where the magic bytes are, from the beginning of the device.
    pub(super) offset: u64,
    /// What it stands for, such as `linux_raid_member`.
    pub(super) kind: String,
    /// The identity of what lies there, if it has one.
    pub(super) uuid: Option<String>,
    /// `filesystem`, `raid`, `crypto`, `partition-table` or `other`.
    pub(super) usage: String,
}

impl Signature {
    /// Returns whether something could be assembled or activated from it.
    pub(super) fn is_holder(&self) -> bool {
        matches!(self.usage.as_str(), "raid" | "crypto" | "other") || self.kind == "btrfs"
    }

    fn is_table(&self) -> bool {
        self.usage == "partition-table"
    }
}

/// Returns what wipefs(8) lists with `--json`.
pub(super) fn parse(json: &str) -> anyhow::Result<Vec<Signature>> {
    /// The output of wipefs, which is empty in some versions if there is nothing.
    #[derive(Deserialize)]
    struct Listing {
        signatures: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        offset: String,
        #[serde(rename = "type")]
        kind: String,
        uuid: Option<String>,
        usage: String,
    }
    if json.trim().is_empty() {
        return Ok(Vec::new());
    }
    let listing: Listing = serde_json::from_str(json).context("parsing the list of wipefs")?;
    let rows = listing.signatures.into_iter().map(|Row { offset, kind, uuid, usage }| {
        let digits = offset.strip_prefix("0x").context("an offset has no 0x")?;
        let offset = u64::from_str_radix(digits, 16).context("an offset is not a number")?;
        Ok(Signature { offset, kind, uuid, usage })
    });
    rows.collect()
}

/// A signature at its place on the disk.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Found {
    /// What wipefs(8) says about it, counted from the beginning of its device.
    pub(super) signature: Signature,
    /// The first byte of the device on the disk.
    pub(super) start: u64,
    /// The 512 bytes around the magic, which say more about what lies there than its identity.
    pub(super) sector: Vec<u8>,
}

impl Found {
    /// Returns whether both have the same disk position, on any device, and the same identity.
    fn is_alike(&self, other: &Self) -> bool {
        let at = |found: &Self| found.start.checked_add(found.signature.offset);
        let (one, two) = (&self.signature, &other.signature);
        at(self) == at(other) && (&one.kind, &one.uuid) == (&two.kind, &two.uuid)
    }

    /// Returns whether nobody has written it since the other was found.
    fn is_same(&self, other: &Self) -> bool {
        self.is_alike(other) && self.sector == other.sector
    }
}

/// The judgement of the signatures on one device of the new system.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Judgement<'a> {
    /// None of the old system's signatures is there.
    New,
    /// Only the old system's: the device is unchanged, or was written just as it was.
    Untouched(Vec<&'a Found>),
    /// Some of the old system's may belong there.
    Doubtful(Vec<&'a Found>),
    /// These are left over.
    LeftOver {
        /// The old system's.
        old: Vec<&'a Found>,
        /// One of those that they stand beside.
        beside: &'a Found,
    },
}

/// A device, as far as signatures are concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Device {
    /// The disk itself, where a partition table counts, too.
    Disk,
    /// A partition, which has no partition table of its own.
    Partition,
}

/// Judges the signatures of a device by those of the old system's disk.
///
/// A payload may write the same image again, or keep a partition, so the same identity at the same
/// place does not make a left-over. One is left over only if
///
/// * it has an identity, and every byte of its sector is unchanged. What was in use has changed its
///   superblock since it was made (times, counters, salts), so one that is made again differs.
/// * next to it is one that was not there before, as opposed to one that was changed. An image that
///   is written again and a partition that is kept have nothing new on any device.
/// * both cannot belong there. A new member of a RAID may have a file system at its beginning, as
///   md has with its superblock at the end, so next to one nothing is left over. A disk with a
///   partition table may be a file system too, as ISO images are, but holds no other device.
///
/// Partition tables are never left over, since a program that writes one writes all of it. They
/// count for the disk alone: on a partition, one is most often the boot sector of a file system.
pub(super) fn judge<'a>(device: Device, now: &'a [Found], old: &[Found]) -> Judgement<'a> {
    let (tables, others): (Vec<_>, Vec<_>) =
        now.iter().partition(|found| found.signature.is_table());
    let is_untouched = |found: &&Found| old.iter().any(|old| found.is_same(old));
    let (untouched, written): (Vec<_>, Vec<_>) = others.into_iter().partition(is_untouched);
    if untouched.is_empty() {
        return Judgement::New;
    }
    let new = written.into_iter().filter(|found| !old.iter().any(|old| found.is_alike(old)));
    let new: Vec<_> = new.collect();
    let table = tables.into_iter().find(|table| device == Device::Disk && !is_untouched(table));
    let Some(beside) = new.first().copied().or(table) else {
        return Judgement::Untouched(untouched);
    };
    let may_belong = new.iter().any(|found| found.signature.usage == "raid");
    let is_left_over = |found: &&Found| {
        let holds = !new.is_empty() || found.signature.is_holder();
        !may_belong && found.signature.uuid.is_some() && holds
    };
    let (old, doubtful): (Vec<_>, Vec<_>) = untouched.into_iter().partition(is_left_over);
    if old.is_empty() {
        return Judgement::Doubtful(doubtful);
    }
    Judgement::LeftOver { old, beside }
}

#[cfg(test)]
mod tests;
