//! Reads what a run has left behind: verdict, stage times, transcripts, the disk itself.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::expect::{Came, Expect, Table};
use crate::command::{Command, CommandError};

/// The disk with the system, which `--keep` leaves with the evidence; by jump or directly.
const DISKS: &[&str] = &["disk.qcow2", "quick.qcow2"];

/// What `anemos deploy` said, in the folder of the old system.
pub(crate) const SAID: &str = "anemos-deploy.log";

/// In what a twin is like its original, in the folder of the evidence.
pub const TWIN: &str = "twin.txt";

/// Reads what the evidence folder holds of what is expected.
///
/// A disk that was kept to be looked at is removed.
pub(super) async fn read(evidence: &Path, expect: &Expect) -> io::Result<Came> {
    let mut came = Came {
        verdict: json(&evidence.join("verdict.json"))?,
        stages: stages(evidence)?,
        ..Came::default()
    };
    if !expect.console.is_empty() {
        consoles(evidence, &mut came.console)?;
    }
    if !expect.said.is_empty() {
        let text = fs::read(evidence.join("old-system").join(SAID))?;
        came.said = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
    }
    if !expect.twin.is_empty() {
        let text = fs::read_to_string(evidence.join(TWIN))?;
        came.twin = text.lines().map(str::to_owned).collect();
    }
    if expect.wants_disk() {
        disk(evidence, expect, &mut came).await?;
    }
    Ok(came)
}

/// A run that was refused before any guest has left no verdict and no times.
fn json<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    serde_json::from_str(&fs::read_to_string(path)?).map(Some).map_err(io::Error::from)
}

fn stages(evidence: &Path) -> io::Result<Vec<String>> {
    let times: Vec<Value> = json(&evidence.join("stages.json"))?.unwrap_or_default();
    let name = |timed: &Value| timed.get("name")?.as_str().map(str::to_owned);
    Ok(times.iter().filter_map(name).collect())
}

/// The lines of all `NAME.console.log` below a folder, without their times.
fn consoles(folder: &Path, into: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            consoles(&path, into)?;
        } else if path.to_string_lossy().ends_with(".console.log") {
            let text = fs::read(&path)?;
            into.extend(String::from_utf8_lossy(&text).lines().map(str::to_owned));
        }
    }
    Ok(())
}

async fn disk(evidence: &Path, expect: &Expect, came: &mut Came) -> io::Result<()> {
    let kept = DISKS.iter().map(|name| evidence.join(name)).find(|disk| disk.exists());
    let Some(kept) = kept else { return Ok(()) };
    let raw = evidence.join("disk.raw");
    let convert = Command::new("qemu-img").args(["convert", "-O", "raw"]);
    convert.arg(&kept).arg(&raw).run().await.map_err(io::Error::other)?;
    let looked = look(&raw, expect, came).await;
    for path in [&kept, &raw, &evidence.join("witness.raw")] {
        fs::remove_file(path)?;
    }
    looked
}

/// What sfdisk(8) says of a disk.
#[derive(Debug, Deserialize)]
struct Listing {
    partitiontable: Partitions,
}

#[derive(Debug, Deserialize)]
struct Partitions {
    label: String,
    #[serde(default)]
    partitions: Vec<Partition>,
}

#[derive(Debug, Deserialize)]
struct Partition {
    start: u64,
}

/// Sectors of 512 bytes before the first volume in a partition of LVM, unless it is told otherwise
/// (pvcreate(8), `--dataalignment`).
const BEFORE_VOLUME: u64 = 2048;

impl Partitions {
    /// The sectors that a file system may begin with: that of a partition, or of the first volume in it.
    fn places(&self) -> impl Iterator<Item = u64> {
        self.partitions.iter().flat_map(|it| [it.start, it.start + BEFORE_VOLUME])
    }
}

/// Lists the partitions of a disk; none where it has no table, which sfdisk calls an error.
async fn partitions(raw: &Path) -> io::Result<Option<Partitions>> {
    let listed = Command::new("sfdisk").arg("--json").arg(raw).run().await;
    let Ok(listed) = listed else { return Ok(None) };
    let listing: Listing = serde_json::from_slice(&listed.stdout)?;
    Ok(Some(listing.partitiontable))
}

async fn look(raw: &Path, expect: &Expect, came: &mut Came) -> io::Result<()> {
    // A disk without a table is an answer too.
    let Some(table) = partitions(raw).await? else { return Ok(()) };
    for path in expect.files.keys() {
        for start in table.places() {
            if let Some(text) = debug(raw, start, &format!("cat \"{path}\"")).await? {
                came.files.insert(path.clone(), text);
                break;
            }
        }
    }
    came.table = Some(Table { label: table.label, partitions: table.partitions.len() });
    Ok(())
}

/// Returns where a file lies on a disk, as ranges of bytes; none where there is no such file.
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

/// Returns what debugfs(8) says to a request about a partition with ext2 to ext4.
///
/// debugfs ends well where there is no such file; only what it says tells that.
async fn debug(raw: &Path, start: u64, request: &str) -> io::Result<Option<String>> {
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Makes a disk with one ext4 partition that holds one file; needs no root.
    async fn make_disk(folder: &Path) {
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
    async fn files_and_table_are_read_from_the_kept_disk_which_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        make_disk(folder.path()).await;
        let expect = "exit = 0\ntable = { label = 'gpt', partitions = 1 }\n\
                      [files]\n'/etc/hostname' = '^vps$'\n'/etc/passwd' = 'root'\n";
        let expect: Expect = toml::from_str(expect).unwrap();
        let mut came = read(folder.path(), &expect).await.unwrap();
        came.exit = Some(0);
        assert_eq!(expect.differences(&came), ["the new system has no file /etc/passwd"]);
        assert_eq!(came.files, BTreeMap::from([("/etc/hostname".into(), "vps\n".into())]));
        assert!(!folder.path().join("disk.qcow2").exists(), "the disk is still there");
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

    #[tokio::test]
    async fn consoles_and_stages_are_read_from_every_guest() {
        let folder = tempfile::tempdir().unwrap();
        let guest = folder.path().join("control/deploy");
        fs::create_dir_all(&guest).unwrap();
        fs::write(guest.join("deploy.console.log"), "  1.0 hello\n").unwrap();
        let times = r#"[{"name": "mount", "start": 1.0, "seconds": 0.1}, {"name": "deploy"}]"#;
        fs::write(folder.path().join("stages.json"), times).unwrap();
        let expect = |text: &str| toml::from_str::<Expect>(text).unwrap();
        for (text, want) in [
            ("exit = 0\nconsole = ['hel+o']\nstages = ['mount', 'deploy']", &[][..]),
            ("exit = 0\nconsole = ['bye']", &["no console says /bye/"]),
            (
                "exit = 0\nstages = ['deploy', 'mount']",
                &["stage mount did not end in its place; those that did: mount, deploy"],
            ),
        ] {
            let mut came = read(folder.path(), &expect(text)).await.unwrap();
            came.exit = Some(0);
            assert_eq!(expect(text).differences(&came), want, "{text}");
        }
    }
}
