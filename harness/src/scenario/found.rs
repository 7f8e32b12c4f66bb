//! Reads what a run has left behind: verdict, stage times, transcripts, the disk itself.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::expect::{Came, Expect, Table};
use crate::classify::{is_kernel_banner, without_clock};
use crate::command::Command;
use crate::debugfs::{debug, partitions};
use crate::evidence::SAID;
use crate::rehearsal::FACTS_FILE;

/// The disk with the system, which `--keep` leaves with the evidence; by jump or directly.
const DISKS: &[&str] = &["disk.qcow2", "quick.qcow2"];

/// Guests as their consoles are called.
const OLD_SYSTEM: &str = "old-system";
const DEPLOY: &str = "deploy";

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
    if !expect.facts.is_empty() {
        let text = fs::read_to_string(evidence.join("new-system").join(FACTS_FILE));
        came.facts = text.unwrap_or_default().lines().map(str::to_owned).collect();
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

/// Collects the lines of each `NAME.console.log` in the folders of the guests.
///
/// A control run has a folder of its own, and its guests do not count.
fn consoles(folder: &Path, into: &mut BTreeMap<String, Vec<String>>) -> io::Result<()> {
    for part in fs::read_dir(folder)? {
        let part = part?.path();
        for entry in part.is_dir().then(|| fs::read_dir(&part)).transpose()?.into_iter().flatten() {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some(guest) = name.strip_suffix(".console.log") else { continue };
            let text = fs::read(&path)?;
            let lines = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
            into.insert(guest.to_owned(), lines);
        }
    }
    if let Some(old_system) = into.get_mut(OLD_SYSTEM) {
        let deploy = old_system.split_off(jump(old_system));
        into.entry(DEPLOY.to_owned()).or_insert(deploy);
    }
    Ok(())
}

/// Returns which line of the old system's console is the first one of the deploy environment.
///
/// It is the first one of the last kernel that boots before `anemos` says anything.
fn jump(lines: &[String]) -> usize {
    let text = |line: &String| line.trim_start().split_once(' ').unwrap_or_default().1.to_owned();
    let ours = |line: &String| without_clock(&text(line)).starts_with("anemos: ");
    let is_prompt = |line: &String| line.trim_end().ends_with(" login:");
    let first = lines.iter().position(ours).unwrap_or(lines.len());
    let kernel = lines[..first].iter().rposition(|line| is_kernel_banner(&text(line)));
    // The last kernel that was heard may be the old system's own.
    kernel.filter(|at| !lines[*at..first].iter().any(is_prompt)).unwrap_or(first)
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
        for (guest, lines) in [
            ("deploy", "  1.0 hello\n"),
            ("control/deploy", "  1.0 bye\n"),
            ("new-system", "  1.0 bye\n"),
        ] {
            let part = folder.path().join(guest);
            fs::create_dir_all(&part).unwrap();
            let name = guest.rsplit('/').next().unwrap();
            fs::write(part.join(format!("{name}.console.log")), lines).unwrap();
        }
        let times = r#"[{"name": "mount", "start": 1.0, "seconds": 0.1}, {"name": "deploy"}]"#;
        fs::write(folder.path().join("stages.json"), times).unwrap();
        let expect = |text: &str| toml::from_str::<Expect>(text).unwrap();
        for (text, want) in [
            ("exit = 0\nconsole.deploy = ['hel+o']\nstages = ['mount', 'deploy']", &[][..]),
            (
                "exit = 0\nconsole.deploy = ['bye']",
                &["no line of the console of deploy says /bye/"],
            ),
            (
                "exit = 0\nconsole.router = ['bye']",
                &["no line of the console of router says /bye/"],
            ),
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

    #[test]
    fn the_console_of_the_old_system_ends_at_the_jump() {
        let banner = "   9.0 [    0.000000] Linux version 6.1.0 (x)";
        let ours = "   9.9 [    1.2] anemos: stage mount began";
        for (lines, want) in [
            (&["  1.0 Linux version 6.1", "  2.0 vps login:", banner, ours][..], 2),
            (&["  2.0 vps login:", banner, "  9.2 quiet", ours, "  10.0 Linux version 6"], 1),
            (&["  2.0 vps login:", ours], 1),
            (&["  1.0 Linux version 6.1", "  2.0 vps login:"], 2),
            (&["  1.0 Linux version 6.1", "  2.0 vps login:", ours], 2),
            (&["  2.0 vps login:", banner, "  9.2 Kernel panic"], 1),
            (&[], 0),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
            assert_eq!(jump(&lines), want, "{lines:?}");
        }
    }
}
