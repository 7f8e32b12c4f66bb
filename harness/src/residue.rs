//! Residue: what a deployment has left on a disk although it should not have.
//!
//! Tools of the host look at sparse copies of what matters: the ends of the disk, where partition
//! tables are, and those of each partition, where signatures are.

use std::io;
use std::path::Path;

use serde_json::Value;

use crate::command::{Command, CommandError};

mod signatures;
mod sparse;

use signatures::Area;
use sparse::Sparse;

/// A disk as it was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Disk {
    /// Identifier of its partition table: that of a GPT, or the four bytes of an MBR.
    id: Option<String>,
    /// What sfdisk(8) says is wrong with the table.
    complaints: Vec<String>,
    /// The partitions, then the disk, with what lies on them.
    areas: Vec<Area>,
}

impl Disk {
    /// Reads an image with sectors of 512 bytes, which sfdisk(8) assumes for a file.
    ///
    /// The copies go to the folder `work`.
    pub async fn read(image: &Path, work: &Path) -> io::Result<Self> {
        let copy = Sparse::of_ends(image, work).await?;
        let table = Table::read(copy.path()).await?;
        let areas = signatures::areas(&copy, &table.partitions, work).await?;
        Ok(Self { id: table.id, complaints: table.complaints, areas })
    }
}

/// Describes what is left that should not be, from the disk before and the one after.
pub fn warnings(before: &Disk, after: &Disk) -> Vec<String> {
    let kept = before.id.is_some() && before.id == after.id;
    let warning = kept.then(|| "the partition table is still the old system's".to_owned());
    let complaints = after.complaints.iter().map(|line| format!("partition table: {line}"));
    let signatures = after.areas.iter().flat_map(|area| area.warnings(&before.areas, !kept));
    warning.into_iter().chain(complaints).chain(signatures).collect()
}

/// A partition table.
#[derive(Debug, Default)]
struct Table {
    id: Option<String>,
    complaints: Vec<String>,
    partitions: Vec<Partition>,
}

/// The place of a partition, in bytes.
#[derive(Clone, Debug)]
struct Partition {
    number: String,
    start: u64,
    size: u64,
}

impl Table {
    async fn read(disk: &Path) -> io::Result<Self> {
        let listed = match Command::new("sfdisk").arg("--json").arg(disk).run().await {
            // No table is also an answer, but sfdisk calls it an error.
            Err(CommandError::Status { .. }) => return Ok(Self::default()),
            listed => listed.map_err(io::Error::other)?,
        };
        let json: Value = serde_json::from_slice(&listed.stdout)?;
        let id = json.pointer("/partitiontable/id").and_then(Value::as_str).map(str::to_owned);
        let partitions = json.pointer("/partitiontable/partitions").and_then(Value::as_array);
        let partition = |row: &Value| {
            let node = row.get("node")?.as_str()?;
            let bytes = |key| row.get(key)?.as_u64()?.checked_mul(512);
            let number = node.rsplit(|c: char| !c.is_ascii_digit()).next()?.to_owned();
            Some(Partition { number, start: bytes("start")?, size: bytes("size")? })
        };
        let partitions = partitions.into_iter().flatten().filter_map(partition).collect();
        let said = String::from_utf8_lossy(&listed.stderr).into_owned();
        let complaints = said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned);
        Ok(Self { id, complaints: complaints.collect(), partitions })
    }
}

#[cfg(test)]
mod tests;
