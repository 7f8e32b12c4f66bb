//! Command `anemos test`: rehearses a deployment in QEMU.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use harness::chain::Timed;
use harness::evidence::{self, Evidence};
use harness::fixture::{Fixture, build, cache, parse_size};
use harness::machine::Bus;
use harness::progress::Progress;
use harness::rehearsal::host::Host;
use harness::rehearsal::interrupt::{self, Interrupted};
use harness::rehearsal::{self, Control, Disks, Rehearsal, Way};
use harness::verdict::{Ending, Verdict};
use initramfs::payload::{self, Description, Kind, Limits};
use regex::Regex;

use super::fixture::Fixtures;
use crate::config::ConfigArgs;
use crate::report::{self, Broken, Refusal};
use crate::source;

/// The command line of `anemos test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The payload: a tarball
    payload: PathBuf,
    /// Configuration for `anemos deploy` on the simulated VPS
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    fixtures: Fixtures,
    /// The simulated VPS [default: what the payload says, else debian-12]
    #[arg(long, value_name = "NAME")]
    fixture: Option<String>,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    expect: ExpectArgs,
    #[command(flatten)]
    keep: KeepArgs,
}

/// What the machine is like.
#[derive(Debug, clap::Args)]
struct MachineArgs {
    /// How its disks are attached
    #[arg(long, value_name = "BUS", default_value = "virtio-blk", value_parser = bus)]
    disk: Bus,
    /// Its memory [default: that of the fixture, or what the payload needs]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Size of its disk [default: that of the fixture]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk_size: Option<u64>,
    /// Its processors
    #[arg(long, value_name = "N", default_value_t = 2)]
    cpus: u32,
    /// Boot the deploy environment directly, without the VPS and the jump
    #[arg(long)]
    quick: bool,
}

/// What makes the rehearsal pass.
#[derive(Debug, clap::Args)]
struct ExpectArgs {
    /// The console of the new system must say this [default: what the payload says]
    #[arg(long, value_name = "REGEX")]
    expect: Option<Regex>,
    /// The new system must answer on this TCP port
    #[arg(long, value_name = "PORT")]
    tcp: Option<u16>,
    /// Give the whole rehearsal up after this time
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Do not run the payload alone to tell whose fault a failure is
    #[arg(long)]
    no_control: bool,
}

/// What is left behind.
#[derive(Debug, clap::Args)]
struct KeepArgs {
    /// Folder for the evidence [default: one below anemos-evidence]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
    /// Write verdict and stage times to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the disks with the evidence
    #[arg(long)]
    keep: bool,
}

/// Reads the name of a bus.
pub(crate) fn bus(text: &str) -> Result<Bus, String> {
    let value = toml::Value::from(text);
    value.try_into().map_err(|_unknown| "use virtio-blk, virtio-scsi, nvme or sata".to_owned())
}

/// Reads a size with its unit.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    parse_size(text).ok_or_else(|| "use a size such as 512M or 4G".to_owned())
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let payload = check(&self.payload, self.config.as_deref())?;
        let name = self.fixture.as_deref().or(payload.settings.fixture.as_deref());
        let (fixture, _data) = self.fixtures.open(name.unwrap_or("debian-12"))?;
        self.check_bus(&fixture.description.buses, &fixture.name)?;
        let about = payload.settings.name.clone().unwrap_or_else(|| stem(&self.payload));
        let folder = self.keep.evidence.clone();
        let folder = folder.unwrap_or_else(|| evidence::default_folder(&about, SystemTime::now()));
        let evidence =
            Evidence::create(&folder).with_context(|| format!("making {}", folder.display()))?;
        let done =
            interrupt::run(self.rehearse(&payload, &fixture, &evidence)).context("starting")?;
        let (verdict, times) = match done {
            Ok(done) => done?,
            Err(interrupted) => return self.interrupted(interrupted, &evidence),
        };
        report::result(&render(&verdict, &times, evidence.folder()));
        self.write_json(&verdict, &times, &evidence)?;
        Ok(ExitCode::from(verdict.exit_code()))
    }

    async fn rehearse(
        &self,
        payload: &Description,
        fixture: &Fixture,
        evidence: &Evidence,
    ) -> anyhow::Result<(Verdict, Vec<Timed>)> {
        let anemos = std::env::current_exe().context("finding this program")?;
        let mut host = Host::prove(&anemos, &cache::folder(), Progress::new()).await;
        let ready = build::ensure(&host, fixture, &evidence.folder().join("fixture")).await;
        let ready = ready.map_err(|error| Broken(format!("building the fixture: {error:#}")))?;
        host.measure(&ready.kernel()).await;
        host.cpus = self.machine.cpus;
        host.deadline = self.expect.timeout.map(|secs| Instant::now() + Duration::from_secs(secs));
        host.began = Instant::now();
        let rehearsal = self.rehearsal(payload, ready)?;
        let done = rehearsal::rehearse(&host, &rehearsal, evidence).await;
        done.map_err(|error| Broken(format!("{:#}", anyhow::Error::new(error))).into())
    }

    fn rehearsal(&self, payload: &Description, ready: cache::Ready) -> anyhow::Result<Rehearsal> {
        let machine = &self.machine;
        let described = |text: &str| parse_size(text).unwrap_or_default();
        let usual = described(&ready.description.memory).max(payload.settings.memory.unwrap_or(0));
        let memory = machine.memory.unwrap_or(usual);
        let disk_size = machine.disk_size.unwrap_or(described(&ready.description.disk_size));
        let expect = payload.settings.expect.as_deref().map(Regex::new).transpose();
        let expect = expect.context("reading what the payload expects")?;
        Ok(Rehearsal {
            payload: self.payload.clone(),
            config: self.config.clone(),
            bus: machine.disk,
            memory_mib: u32::try_from(memory >> 20).context("reading --memory")?,
            disk_size,
            expect: self.expect.expect.clone().or(expect),
            tcp: self.expect.tcp,
            way: if machine.quick { Way::Quick } else { Way::Jump },
            control: if self.expect.no_control { Control::Spare } else { Control::Run },
            disks: if self.keep.keep { Disks::Keep } else { Disks::Remove },
            fixture: ready,
        })
    }

    fn check_bus(&self, known: &[Bus], fixture: &str) -> anyhow::Result<()> {
        if known.contains(&self.machine.disk) {
            return Ok(());
        }
        let names: Vec<_> = known.iter().map(|bus| name(*bus)).collect();
        let reason = format!("fixture {fixture} finds no disk on {}", name(self.machine.disk));
        Err(Refusal::new(reason, format!("use --disk {}", names.join(" or "))).into())
    }

    fn write_json(
        &self,
        verdict: &Verdict,
        times: &[Timed],
        evidence: &Evidence,
    ) -> anyhow::Result<()> {
        let Some(path) = &self.keep.json else { return Ok(()) };
        let mut value = serde_json::to_value(verdict).context("writing JSON")?;
        value["stages"] = serde_json::to_value(times).context("writing JSON")?;
        value["folder"] = evidence.folder().display().to_string().into();
        let text = serde_json::to_string_pretty(&value).context("writing JSON")?;
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }

    /// What was going on has ended with the run; what was seen so far stays.
    fn interrupted(
        &self,
        interrupted: Interrupted,
        evidence: &Evidence,
    ) -> anyhow::Result<ExitCode> {
        let class = harness::classify::Class::Interrupted;
        let verdict = Verdict::broken(class, interrupted.to_string(), Vec::new());
        evidence.verdict(&verdict).context("writing verdict.json")?;
        self.write_json(&verdict, &[], evidence)?;
        let code = Interrupted::EXIT_CODE;
        report::step(&format!("{interrupted}: guests are ended, exit code {code}"));
        Ok(ExitCode::from(code))
    }
}

/// Refuses what payload and configuration alone justify, before any guest is started.
pub(crate) fn check(path: &Path, config: Option<&Path>) -> anyhow::Result<Description> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("reading {name}"))?;
    let found = payload::inspect(file, Limits::default())
        .map_err(source::refuse)
        .with_context(|| format!("inspecting {name}"))?;
    if !matches!(found.kind, Kind::Deploy { .. }) {
        let what = format!("a payload with {}", found.kind.marker());
        return Err(Refusal::not_built_in(&what, "pack a folder with deploy").into());
    }
    if config.is_some() {
        let mut args = ConfigArgs::default();
        args.config = config.map(Path::to_owned);
        if let Some(wanted) = args.load()?.payload.digest {
            source::compare(&name.to_string(), &found.sha256, &wanted)?;
        }
    }
    Ok(found)
}

/// The name of a bus as it is written on the command line.
fn name(bus: Bus) -> String {
    toml::Value::try_from(bus)
        .map_or_else(|_| String::new(), |name| name.as_str().unwrap_or_default().to_owned())
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split(".tar").next().unwrap_or_default().to_owned()
}

/// Renders the verdict for people.
pub(crate) fn render(verdict: &Verdict, times: &[Timed], folder: &Path) -> String {
    let mut lines = vec![format!("verdict: {}", verdict.verdict)];
    lines.push(format!("reason: {}", verdict.reason));
    lines.extend(verdict.hint.iter().map(|hint| format!("hint: {hint}")));
    lines.extend(verdict.blame.map(|blame| format!("fault of: {}", blame.name())));
    if verdict.verdict != Ending::Passed {
        lines.extend(verdict.evidence.iter().map(|line| format!("  | {line}")));
    }
    lines.push(format!("evidence: {}", folder.display()));
    if !times.is_empty() {
        lines.push("stages (start, name, time):".to_owned());
        lines.push(evidence::render_times(times).trim_end().to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use harness::classify::Class;
    use harness::verdict::Blame;

    use super::*;

    #[test]
    fn a_verdict_shows_reason_fault_and_the_lines_that_tell_it() {
        let lines = vec!["ALERT!  UUID=1 does not exist.".to_owned()];
        let mut verdict = Verdict::failed(Class::InitramfsShell, "no root was found", lines);
        verdict.blame = Some(Blame::Payload);
        let times = [Timed { name: "deploy".to_owned(), start: 30.0, seconds: 4.2 }];
        insta::assert_snapshot!(render(&verdict, &times, Path::new("e")), @r"
        verdict: failed
        reason: no root was found
        fault of: the payload
          | ALERT!  UUID=1 does not exist.
        evidence: e
        stages (start, name, time):
             30.0s  deploy      4.2s
        ");
    }

    #[test]
    fn names_of_buses_are_read_and_written_alike() {
        for text in ["virtio-blk", "virtio-scsi", "nvme", "sata"] {
            assert_eq!(bus(text).map(name).as_deref(), Ok(text));
        }
        assert!(bus("ide").is_err());
    }

    #[test]
    fn a_payload_lends_its_name_without_its_endings() {
        for (path, want) in [("a/debian.tar.gz", "debian"), ("p.tar.zst", "p"), ("x", "x")] {
            assert_eq!(stem(Path::new(path)), want, "{path}");
        }
    }
}
