//! Looks into the file systems of an unmounted disk, by sfdisk(8) and debugfs(8).

use std::io;
use std::path::Path;

use serde::Deserialize;

use crate::command::{Command, CommandError};

/// The output of sfdisk(8) for a disk.
#[derive(Debug, Deserialize)]
struct Listing {
    partitiontable: Partitions,
}

/// The partition table of a disk.
#[derive(Debug, Deserialize)]
pub(crate) struct Partitions {
    /// `gpt` or `dos`.
    pub(crate) label: String,
    /// The partitions that it lists.
    #[serde(default)]
    pub(crate) partitions: Vec<Partition>,
}

/// A partition, as far as we need it.
#[derive(Debug, Deserialize)]
pub(crate) struct Partition {
    start: u64,
}

/// Sectors of 512 bytes before the first volume in a partition of LVM.
///
/// That is the default of pvcreate(8), `--dataalignment`.
const BEFORE_VOLUME: u64 = 2048;

impl Partitions {
    /// Returns where a file system may begin: in a partition, or in the first volume in it.
    pub(crate) fn places(&self) -> impl Iterator<Item = u64> {
        self.partitions.iter().flat_map(|it| [it.start, it.start + BEFORE_VOLUME])
    }
}

/// Lists the partitions of a disk; `None` if it has no table, which sfdisk calls an error.
pub(crate) async fn partitions(raw: &Path) -> io::Result<Option<Partitions>> {
    let listed = Command::new("sfdisk").arg("--json").arg(raw).run().await;
    let Ok(listed) = listed else { return Ok(None) };
    let listing: Listing = serde_json::from_slice(&listed.stdout)?;
    Ok(Some(listing.partitiontable))
}

/// Returns where a file lies on a disk, as ranges of bytes; none if there is no such file.
pub(crate) async fn blocks(raw: &Path, path: &str) -> io::Result<Vec<(u64, u64)>> {
    let Some(table) = partitions(raw).await? else { return Ok(Vec::new()) };
    for start in table.places() {
        let numbers = debug(raw, start, &format!("blocks \"{path}\"")).await?;
        let head = debug(raw, start, "show_super_stats -h").await?.unwrap_or_default();
        let size = head.lines().find_map(|line| line.strip_prefix("Block size:"));
        let size = size.and_then(|size| size.trim().parse::<u64>().ok());
        if let (Some(numbers), Some(size)) = (numbers, size) {
            let numbers =
                numbers.split_whitespace().filter_map(|number| number.parse::<u64>().ok());
            let begin = |number: u64| start * 512 + number * size;
            return Ok(numbers.map(|number| (begin(number), begin(number + 1))).collect());
        }
    }
    Ok(Vec::new())
}

/// Returns debugfs(8)'s answer to a request about a partition with ext2 to ext4.
///
/// debugfs succeeds even if there is no such file; only its output shows that.
pub(crate) async fn debug(raw: &Path, start: u64, request: &str) -> io::Result<Option<String>> {
    let image = format!("{}?offset={}", raw.display(), start * 512);
    // Without its bitmaps (`-c`): a system that was switched off has some of them in its journal.
    let command = Command::new("debugfs").args(["-c", "-R", request]);
    let output = match command.arg(image).run().await {
        // Another file system, or none.
        Err(CommandError::Status { .. }) => return Ok(None),
        done => done.map_err(io::Error::other)?,
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = ["File not found", "Filesystem not open"].iter().any(|it| said.contains(it));
    Ok((!missing).then(|| output.text()))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;

    use super::*;

    /// Makes a disk with one ext4 partition that contains one file; needs no root.
    pub(crate) async fn make_disk(folder: &Path) {
        let (root, partition) = (folder.join("root"), folder.join("partition"));
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/hostname"), "vps\n").unwrap();
        let run = async |command: Command| command.run().await.unwrap();
        run(Command::new("truncate").args(["-s", "4M"]).arg(&partition)).await;
        let mkfs = Command::new("mkfs.ext4").args(["-q", "-F", "-d"]);
        run(mkfs.arg(&root).arg(&partition)).await;
        let raw = folder.join("raw");
        run(Command::new("truncate").args(["-s", "8M"]).arg(&raw)).await;
        let script = "printf 'label: gpt\\nstart=2048, size=8192\\n' | sfdisk -q \"$0\"";
        run(Command::new("sh").args(["-c", script]).arg(&raw)).await;
        let dd = Command::new("dd").arg(format!("if={}", partition.display()));
        let dd = dd.arg(format!("of={}", raw.display()));
        run(dd.args(["bs=512", "seek=2048", "conv=notrunc", "status=none"])).await;
        let disk = folder.join("disk.qcow2");
        run(Command::new("qemu-img").args(["convert", "-O", "qcow2"]).arg(&raw).arg(disk)).await;
        fs::write(folder.join("witness.raw"), "").unwrap();
    }

    #[tokio::test]
    async fn a_file_is_found_where_its_bytes_are() {
        let folder = tempfile::tempdir().unwrap();
        make_disk(folder.path()).await;
        let raw = folder.path().join("raw");
        let disk = fs::read(&raw).unwrap();
        let blocks = blocks(&raw, "/etc/hostname").await.unwrap();
        let [(start, end)] = blocks[..] else { panic!("{blocks:?}") };
        let bytes = &disk[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()];
        assert!(bytes.starts_with(b"vps\n\0"), "not at {start}");
        assert_eq!(super::blocks(&raw, "/etc/passwd").await.unwrap(), []);
    }
}
