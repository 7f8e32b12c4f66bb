//! Signatures on a disk and its partitions, to find those of a system that is no more.

use std::io;
use std::path::Path;

use serde::Deserialize;

use super::Partition;
use super::sparse::Sparse;
use crate::command::{Command, CommandError};

/// The status of blkid(8) if it finds more than one thing.
const AMBIVALENT: i32 = 8;

/// A disk or a partition, with what lies on it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Area {
    name: String,
    is_disk: bool,
    signatures: Vec<Signature>,
    /// Whether systems cannot determine what lies there.
    is_ambivalent: bool,
}

/// Magic bytes that identify what lies on a device.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Signature {
    /// In bytes from the beginning of the disk.
    at: u64,
    kind: String,
    uuid: Option<String>,
    usage: String,
}

impl Signature {
    /// Returns whether something could be assembled or activated from it.
    fn is_holder(&self) -> bool {
        matches!(self.usage.as_str(), "raid" | "crypto" | "other") || self.kind == "btrfs"
    }
}

/// Reads each partition, and the disk itself.
pub(super) async fn areas(
    copy: &Sparse,
    partitions: &[Partition],
    work: &Path,
) -> io::Result<Vec<Area>> {
    let mut areas = Vec::new();
    let file = work.join("area.raw");
    for Partition { number, start, size } in partitions {
        copy.cut(*start, *size, &file).await?;
        let area = Area::of(format!("partition {number}"), *start, &file).await?;
        areas.push(area);
    }
    let disk = Area::of("the disk".to_owned(), 0, copy.path()).await?;
    areas.push(Area { is_disk: true, ..disk });
    Ok(areas)
}

impl Area {
    async fn of(name: String, start: u64, file: &Path) -> io::Result<Self> {
        let wipefs = Command::new("wipefs").args(["--json", "--output", "OFFSET,TYPE,UUID,USAGE"]);
        let listed = wipefs.arg(file).run().await.map_err(io::Error::other)?;
        let signatures = parse(&listed.text(), start)?;
        let is_ambivalent = match Command::new("blkid").arg("--probe").arg(file).run().await {
            // Nothing is also an answer, but blkid calls it an error.
            Err(CommandError::Status { status, .. }) => status.code() == Some(AMBIVALENT),
            probed => probed.map(|_found| false).map_err(io::Error::other)?,
        };
        Ok(Self { name, is_disk: false, signatures, is_ambivalent })
    }

    /// Returns warnings about the old system's signatures, and about what no system can identify.
    ///
    /// A signature counts if an old system had it there, or on another of its areas in the same
    /// place, and something new is there, too. For the disk, a new partition table is something
    /// new, but then only signatures that hold other devices count, because ISO images are file
    /// systems with a table. Next to a new member of a RAID nothing counts, because that may have
    /// its superblock at the end, with a file system before it.
    pub(super) fn warnings(&self, before: &[Self], table_is_new: bool) -> Vec<String> {
        let was_there = |found: &&Signature| before.iter().any(|a| a.signatures.contains(found));
        let is_table = |found: &&Signature| found.usage == "partition-table";
        let (tables, others): (Vec<_>, Vec<_>) = self.signatures.iter().partition(is_table);
        let (old, new): (Vec<_>, Vec<_>) = others.iter().copied().partition(was_there);
        let table = tables.first().filter(|_| self.is_disk && table_is_new);
        let Some(beside) = new.first().or(table) else { return Vec::new() };
        let may_belong = new.iter().any(|found| found.usage == "raid");
        let left = old.into_iter().filter(|found| !new.is_empty() || found.is_holder());
        let mut left: Vec<_> = left.filter(|_| !may_belong).map(|found| &found.kind).collect();
        left.dedup();
        let name = &self.name;
        let mut warnings: Vec<_> = left
            .into_iter()
            .map(|kind| {
                format!(
                    "signature: {name} still has {kind} of the old system beside {}",
                    beside.kind
                )
            })
            .collect();
        if warnings.is_empty() && self.is_ambivalent {
            let mut kinds: Vec<_> = others.iter().map(|found| found.kind.as_str()).collect();
            kinds.dedup();
            warnings.push(format!("signature: {name} is ambivalent: {}", kinds.join(", ")));
        }
        warnings
    }
}

fn parse(json: &str, start: u64) -> io::Result<Vec<Signature>> {
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
    let listing: Listing = serde_json::from_str(json)?;
    let rows = listing.signatures.into_iter().map(|Row { offset, kind, uuid, usage }| {
        let digits = offset.trim_start_matches("0x");
        let offset = u64::from_str_radix(digits, 16).map_err(io::Error::other)?;
        Ok(Signature { at: start + offset, kind, uuid, usage })
    });
    rows.collect()
}
