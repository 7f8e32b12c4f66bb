//! Command `anemos inspect`: checks and describes a payload.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use contract::payload::{self, Description, Kind, Limits};

use crate::amount::exact;
use crate::report;
use crate::source;

/// The command line of `anemos inspect`.
const EXAMPLES: &str = "\
Examples:
  anemos inspect payload.tar.zst          check a payload, print what it is and what it asks for
  anemos inspect --json payload.tar.zst   the same for a program";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The payload: a tarball
    payload: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let name = self.payload.display();
        let file = File::open(&self.payload).with_context(|| format!("reading {name}"))?;
        let found = payload::inspect(file, Limits::default())
            .map_err(source::refuse)
            .with_context(|| format!("inspecting {name}"))?;
        report::result(&if self.json {
            serde_json::to_string_pretty(&found).context("writing JSON")?
        } else {
            render(&found)
        });
        Ok(ExitCode::SUCCESS)
    }
}

/// Renders a description for people: one fact per line, and only facts that there are.
fn render(found: &Description) -> String {
    let settings = &found.settings;
    let variables: Vec<_> = found.environment.keys().map(String::as_str).collect();
    let lines = [
        ("name", settings.name.clone()),
        ("kind", Some(kind(&found.kind))),
        ("packed", Some(format!("{}, {}", found.compression.name(), exact(found.size)))),
        ("digest", Some(format!("sha256:{}", found.sha256))),
        ("members", Some(found.members.to_string())),
        ("unpacked", Some(exact(found.unpacked))),
        ("folder", found.top.as_ref().map(|top| format!("{top} (stripped when unpacked)"))),
        ("memory", settings.memory.map(|memory| format!("at least {}", exact(memory)))),
        ("disk", settings.disk_size.map(|needs| format!("at least {}", exact(needs)))),
        ("tools", some(settings.tools.join(", "))),
        ("variables", some(variables.join(", "))),
        ("expects", settings.expect.clone()),
        ("fixture", settings.fixture.clone()),
        ("firmware", some(settings.firmware.join(", "))),
        ("disks", some(settings.disks.join(", "))),
        ("sectors", some(join(&settings.sectors))),
    ];
    lines.into_iter().fold(String::new(), |text, (key, value)| match value {
        Some(value) => format!("{text}{:<11}{value}\n", format!("{key}:")),
        None => text,
    })
}

fn kind(kind: &Kind) -> String {
    match kind {
        Kind::Deploy { interpreter: Some(interpreter), program: None } => {
            format!("deploy, run by {interpreter}")
        }
        Kind::Deploy { interpreter: Some(interpreter), program: Some(program) } => {
            format!("deploy, run by {interpreter} {program}")
        }
        Kind::Deploy { interpreter: None, .. } => "deploy, a static executable".to_owned(),
        Kind::Imgbuild => "IMGBUILD, an image description".to_owned(),
        Kind::Image => "image.toml, a disk image".to_owned(),
    }
}

fn join(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use contract::payload::{Compression, Description, Kind, Settings};

    use super::render;

    #[test]
    fn a_payload_is_described_in_plain_words() {
        let found = Description {
            compression: Compression::Zstd,
            kind: Kind::Deploy { interpreter: Some("/bin/sh".to_owned()), program: None },
            top: Some("debian".to_owned()),
            members: 4,
            unpacked: 173_015_040,
            settings: Settings {
                network: None,
                name: Some("Debian 12".to_owned()),
                memory: Some(512 << 20),
                tools: vec!["sfdisk".to_owned(), "mkfs.ext4".to_owned()],
                expect: Some("login:".to_owned()),
                fixture: None,
                firmware: vec!["bios".to_owned(), "uefi".to_owned()],
                disks: Vec::new(),
                disk_size: Some(2 << 30),
                sectors: vec![512, 4096],
            },
            environment: [("SIZE".to_owned(), "2G".to_owned())].into(),
            sha256: "ab".repeat(32),
            size: 172_000_000,
        };
        insta::assert_snapshot!(render(&found), @"
        name:      Debian 12
        kind:      deploy, run by /bin/sh
        packed:    zstd, 164.0 MiB (172000000 bytes)
        digest:    sha256:abababababababababababababababababababababababababababababababab
        members:   4
        unpacked:  165 MiB
        folder:    debian (stripped when unpacked)
        memory:    at least 512 MiB
        disk:      at least 2048 MiB
        tools:     sfdisk, mkfs.ext4
        variables: SIZE
        expects:   login:
        firmware:  bios, uefi
        sectors:   512, 4096
        ");
        let bare = Description {
            kind: Kind::Imgbuild,
            top: None,
            settings: Settings::default(),
            environment: [].into(),
            size: 900,
            ..found
        };
        insta::assert_snapshot!(render(&bare), @r"
            kind:      IMGBUILD, an image description
            packed:    zstd, 900 bytes
            digest:    sha256:abababababababababababababababababababababababababababababababab
            members:   4
            unpacked:  165 MiB
        ");
    }
}
