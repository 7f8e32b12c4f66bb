//! What a deployment has left on a disk that it should not have.
//!
//! sfdisk(8) looks at a sparse copy that has only both ends of the disk, where partition tables are.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;

use crate::command::{Command, CommandError};
use crate::image;

/// Bytes at each end of a disk that may belong to a partition table; a GPT needs 17 KiB.
const END: u64 = 1 << 20;

/// A partition table as it was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Table {
    /// Its identifier: that of a GPT, or the four bytes of an MBR.
    pub id: Option<String>,
    /// What sfdisk(8) says is wrong with it.
    pub complaints: Vec<String>,
}

/// Reads the partition table of an image with sectors of 512 bytes, which is what sfdisk(8) takes a
/// file for; `work` is a folder for the copy.
pub async fn table(image: &Path, work: &Path) -> io::Result<Table> {
    let copy = work.join("ends.raw");
    let size = image::virtual_size(image).await.map_err(io::Error::other)?;
    ends(image, size, &copy, work).await?;
    let listed = match Command::new("sfdisk").arg("--json").arg(&copy).run().await {
        // No table is an answer too, and sfdisk calls that an error.
        Err(CommandError::Status { .. }) => return Ok(Table::default()),
        listed => listed.map_err(io::Error::other)?,
    };
    let json: Value = serde_json::from_slice(&listed.stdout)?;
    let id = json.pointer("/partitiontable/id").and_then(Value::as_str).map(str::to_owned);
    let said = String::from_utf8_lossy(&listed.stderr).into_owned();
    let complaints = said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned);
    Ok(Table { id, complaints: complaints.collect() })
}

/// Tells what is left that should not be, of the table before and the one after.
pub fn warnings(before: &Table, after: &Table) -> Vec<String> {
    let kept = before.id.is_some() && before.id == after.id;
    let kept = kept.then(|| "the partition table is still the old system's".to_owned());
    let complaints = after.complaints.iter().map(|line| format!("partition table: {line}"));
    kept.into_iter().chain(complaints).collect()
}

/// Makes a sparse raw file of the size of an image, with both its ends.
async fn ends(image: &Path, size: u64, copy: &Path, work: &Path) -> io::Result<()> {
    let part = work.join("end.raw");
    let put = |at: u64| -> io::Result<()> {
        let mut from = File::open(&part)?;
        let mut to = File::options().write(true).create(true).truncate(at == 0).open(copy)?;
        to.seek(SeekFrom::Start(at))?;
        io::copy(&mut from, &mut to)?;
        to.set_len(size)
    };
    let blocks = size / END;
    for skip in [0, blocks.saturating_sub(1)] {
        let dd = Command::new("qemu-img").args(["dd", "-U", "-O", "raw", "bs=1M"]);
        // As for dd(1), `count` is counted from the beginning where qemu-img has `skip`.
        let dd = dd.arg(format!("skip={skip}")).arg(format!("count={}", skip + 2));
        let dd = dd.arg(format!("if={}", image.display())).arg(format!("of={}", part.display()));
        dd.run().await.map_err(io::Error::other)?;
        put(skip * END)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of 64 MiB with a GPT, and what is done to it.
    async fn found(spoil: &str) -> Table {
        let folder = tempfile::tempdir().unwrap();
        let raw = folder.path().join("raw");
        File::create(&raw).unwrap().set_len((64 << 20) + 512).unwrap();
        let id = "label-id: 11111111-2222-3333-4444-555555555555";
        let script =
            format!("printf 'label: gpt\\n{id}\\nstart=2048\\n' | sfdisk -q \"$0\"; {spoil}");
        Command::new("sh").args(["-c", &script]).arg(&raw).run().await.unwrap();
        let disk = folder.path().join("disk.qcow2");
        let convert = Command::new("qemu-img").args(["convert", "-O", "qcow2"]);
        convert.arg(&raw).arg(&disk).run().await.unwrap();
        table(&disk, folder.path()).await.unwrap()
    }

    #[tokio::test]
    async fn a_whole_table_has_an_identifier_and_nothing_wrong() {
        let whole = found("true").await;
        assert_eq!(whole.complaints, [""; 0]);
        assert_eq!(whole.id.as_deref(), Some("11111111-2222-3333-4444-555555555555"));
        assert_eq!(warnings(&whole, &whole), ["the partition table is still the old system's"]);
    }

    #[tokio::test]
    async fn a_second_header_that_is_gone_is_told() {
        let spoilt =
            found("dd if=/dev/zero of=\"$0\" bs=512 seek=131072 count=1 conv=notrunc").await;
        let warnings = warnings(&Table::default(), &spoilt);
        assert!(warnings[0].contains("backup GPT table is corrupt"), "{warnings:?}");
    }

    #[tokio::test]
    async fn no_table_is_an_answer() {
        assert_eq!(
            found("dd if=/dev/zero of=\"$0\" bs=1M count=64 conv=notrunc").await,
            Table::default()
        );
    }
}
