//! Reads what a run has left behind: verdict, stage times, transcripts, the disk itself.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::expect::{Came, Expect, Table};
use crate::command::Command;
use crate::debugfs::{debug, partitions};
use crate::evidence::SAID;

/// The disk with the system, which `--keep` leaves with the evidence; by jump or directly.
const DISKS: &[&str] = &["disk.qcow2", "quick.qcow2"];

/// How a twin resembles its original, in the folder of the evidence.
pub const TWIN: &str = "twin.txt";

/// Reads as much of the evidence folder as the expectation needs.
///
/// A disk that was kept only to be examined is removed.
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

/// Reads a JSON file; a run that was refused before any guest has left no verdict and no times.
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

/// Collects the lines of all `NAME.console.log` below a folder, without their times.
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

async fn look(raw: &Path, expect: &Expect, came: &mut Came) -> io::Result<()> {
    // A disk without a table is also an answer.
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::debugfs::tests::make_disk;

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
