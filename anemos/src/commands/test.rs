//! Command `anemos test`: rehearses a deployment in QEMU.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use contract::payload::{self, Compression, Description, Kind, Limits};
use harness::chain::Timed;
use harness::classify::Class;
use harness::evidence::{self, Evidence};
use harness::fixture::{Fixture, build, cache};
use harness::host::interrupt;
use harness::host::{Host, Start};
use harness::machine::setup::Setup;
use harness::progress::Progress;
use harness::rehearsal::{self, Ask, Control, Disks, Rehearsal};
use harness::size::Size;
use harness::verdict::Verdict;
use regex::Regex;
use tempfile::TempDir;

use self::machine::MachineArgs;
use self::matrix::Cell;
use self::receipt::{Draft, Inputs};
use self::result::Results;
use super::fixture::Fixtures;
use crate::config::{ConfigArgs, Keys, Location, WHAT};
use crate::json::{Json, STDOUT};
use crate::report::{self, Broken, Refused};
use crate::source;
use crate::twin::{self, Likeness, Twin};

mod floor;
mod machine;
mod matrix;
mod receipt;
mod result;
mod tools;
mod words;

/// The port that is tested.
const SSH: u16 = 22;
/// How long a guest may take to end, and its verdict to be reached, once the time is over.
const TO_JUDGE: Duration = Duration::from_secs(20);

/// The command line of `anemos test`.
const EXAMPLES: &str = "\
Examples:
  anemos test payload.tar.zst                        deploy onto a simulated Debian VPS
  anemos test payload.tar.zst --bus nvme --quick     without the VPS and the jump, on an NVMe disk
  anemos test payload.tar.zst --twin facts.json      on a machine like the one of these facts
  anemos test payload.tar.zst --expect 'nginx ready' with more to wait for than a login prompt";

/// Headings of the help.
const MACHINE: &str = "The machine";
const MUST: &str = "What the new system must do";
const FAR: &str = "How far to go";
const EVIDENCE: &str = "The evidence";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The payload: a tarball, or a folder to pack
    #[arg(help_heading = WHAT)]
    payload: PathBuf,
    /// Configuration for `anemos deploy` on the simulated VPS
    #[arg(short, long, value_name = "FILE", help_heading = WHAT)]
    config: Option<PathBuf>,
    #[command(flatten)]
    expect: ExpectArgs,
    #[command(flatten)]
    machine: MachineArgs,
    #[command(flatten)]
    fixtures: Fixtures,
    #[command(flatten)]
    keep: KeepArgs,
}

/// What makes the rehearsal pass.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches of a command line")]
struct ExpectArgs {
    /// Print this on its console [default: what payload.toml expects]
    #[arg(long, value_name = "REGEX", help_heading = MUST)]
    expect: Option<Regex>,
    /// Answer on this TCP port
    #[arg(long, value_name = "PORT", help_heading = MUST)]
    tcp: Option<u16>,
    /// Let its user in by SSH with the key of the old system, and run this command, or with @FILE
    /// this script (repeatable)
    #[arg(long, value_name = "COMMAND", help_heading = MUST)]
    ask: Vec<String>,
    /// Do not warn if it no longer answers by SSH as the old system did
    #[arg(long, help_heading = MUST)]
    no_ssh_check: bool,
    /// Turn off when its power button is pressed, and do all that once more after the next boot
    #[arg(long, help_heading = MUST)]
    again: bool,
    /// Boot the VPS from its disk, even if one is kept at its prompt
    #[arg(long, help_heading = FAR)]
    cold: bool,
    /// Give the whole rehearsal up after this time
    #[arg(long, value_name = "SECONDS", help_heading = FAR)]
    timeout: Option<u64>,
    /// Cut the power at N moments between the jump and the last write, and see what boots
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = FAR)]
    power_cuts: usize,
    /// Do not run a failed payload alone to find out whose fault it is
    #[arg(long, help_heading = FAR)]
    no_control: bool,
}

/// What is left behind.
#[derive(Clone, Debug, clap::Args)]
struct KeepArgs {
    /// Folder for the evidence [default: one below anemos-evidence]
    #[arg(long, value_name = "DIR", help_heading = EVIDENCE)]
    evidence: Option<PathBuf>,
    /// Print the verdict and the times of the stages as JSON, or write them to this file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT, help_heading = EVIDENCE)]
    json: Option<Json>,
    /// Write the verdict to this file as `JUnit` XML
    #[arg(long, value_name = "FILE", help_heading = EVIDENCE)]
    junit: Option<PathBuf>,
    /// Write a receipt (what was rehearsed, by digests, and the verdict) to this file, for
    /// --require-receipt of deploy and plan
    #[arg(long, value_name = "FILE", conflicts_with_all = ["matrix", "memory_floor", "quick"], help_heading = EVIDENCE)]
    receipt: Option<PathBuf>,
    /// Keep the disks, and the facts of the old system, with the evidence
    #[arg(long, help_heading = EVIDENCE)]
    keep: bool,
}

impl Args {
    pub(crate) fn run(mut self) -> anyhow::Result<ExitCode> {
        Json::begin(self.keep.json.as_ref(), self.keep.junit.as_deref())?;
        let several = self.machine.matrix || self.machine.memory_floor;
        let mut results = Results::new(self.keep.clone(), several, stem(&self.payload));
        // An exit code of 1 would say that the payload failed.
        let ended = self.try_all(&mut results).map_err(report::not_tried);
        let Err(error) = ended else {
            results.write(self.keep.evidence.as_deref())?;
            return ended;
        };
        let left = results.not_tried(&error);
        let written = left.and_then(|()| results.write(self.keep.evidence.as_deref()));
        // What ended the run is the error; what could not be written of it is said besides.
        if let Err(more) = written {
            report::step(&format!("error: {}", report::reason(&more)));
        }
        Err(error)
    }

    /// Rehearses on every machine that is wanted; an error is a rehearsal that was not tried.
    fn try_all(&mut self, results: &mut Results) -> anyhow::Result<ExitCode> {
        let _packed = self.pack()?;
        let payload = check(&self.payload, self.config.as_deref())?;
        let about = payload.settings.name.clone().unwrap_or_else(|| stem(&self.payload));
        results.about(&about, &payload);
        let twin = self.machine.twin()?;
        let setup = self.machine.setup(twin.as_ref())?;
        let name = setup.fixture.as_deref().or(payload.settings.fixture.as_deref());
        let (fixture, _data) = self.fixtures.open(name.unwrap_or("debian-12"))?;
        let folder = self.keep.evidence.clone();
        let folder = folder.unwrap_or_else(|| evidence::default_folder(&about, SystemTime::now()));
        let cells = if self.machine.matrix {
            matrix::cells(&setup, &payload.settings, &fixture.description.buses)
        } else {
            vec![Cell { name: String::new(), setup }]
        };
        cells.iter().try_for_each(|cell| machine::check(&cell.setup, &payload, &fixture))?;
        tools::check()?;
        self.keep.evidence = Some(folder.clone());
        if self.machine.memory_floor {
            return self.floor(&payload, &cells[0].setup, &fixture, results);
        }
        let mut verdicts = Vec::new();
        for Cell { name, setup } in cells {
            let folder = folder.join(&name);
            let draft = self.keep.receipt.clone().map(|path| {
                let inputs = Inputs { payload: self.payload.clone(), config: self.config.clone() };
                Draft::new(path, &payload, inputs, (&setup, twin.as_ref(), &fixture))
            });
            let draft = draft.transpose()?;
            let evidence = results.begin(machine::describe(&setup, &fixture), &folder)?;
            let made = Made { setup, twin: twin.as_ref(), deadline: None };
            let done = interrupt::run(self.rehearse(&payload, made, &fixture, &evidence));
            let (verdict, times) = match done.context("starting")? {
                Ok(done) => done?,
                Err(interrupted) => return Ok(results.interrupted(interrupted)?.into()),
            };
            report::result(&result::render(&verdict, &times, evidence.folder()));
            let twin_differs = tell_of_twin(twin.as_ref(), evidence.folder())?;
            results.end(&verdict, &times)?;
            draft.map_or(Ok(()), |draft| draft.write(&verdict, twin_differs))?;
            verdicts.push((name, verdict));
        }
        if self.machine.matrix {
            report::result(&format!("\n{}", matrix::render(&verdicts)));
        }
        Ok(ExitCode::from(matrix::exit_code(&verdicts)))
    }

    /// Packs the payload if it is a folder; the returned guard keeps the tarball.
    fn pack(&mut self) -> anyhow::Result<Option<TempDir>> {
        if !self.payload.is_dir() {
            return Ok(None);
        }
        let folder = self.payload.canonicalize();
        let folder = folder.with_context(|| format!("reading {}", self.payload.display()))?;
        let kept = tempfile::tempdir().context("making a temporary folder")?;
        let mut name = folder.file_name().unwrap_or_default().to_owned();
        name.push(".tar.gz");
        self.payload = kept.path().join(name);
        payload::pack_file(&folder, &self.payload, Compression::Gzip, None)
            .map_err(source::refuse)
            .with_context(|| format!("packing {}", folder.display()))?;
        Ok(Some(kept))
    }

    /// Rehearses with less and less memory, and shows how much is enough.
    fn floor(
        &self,
        payload: &Description,
        setup: &Setup,
        fixture: &Fixture,
        results: &mut Results,
    ) -> anyhow::Result<ExitCode> {
        let mut most = setup.clone();
        machine::complete(&mut most, payload, fixture);
        let most = most.memory.unwrap_or(fixture.description.memory).bytes() >> 20;
        let folder = self.keep.evidence.clone().unwrap_or_default();
        let mut search = floor::Search::new(most);
        while let Some(memory) = search.next() {
            let name = format!("{memory}-mib");
            let evidence = results.begin(name.clone(), &folder.join(&name))?;
            let setup = Setup { memory: Some(Size::of_bytes(memory << 20)), ..setup.clone() };
            let made = Made { setup, twin: None, deadline: None };
            let done = interrupt::run(self.rehearse(payload, made, fixture, &evidence));
            let (verdict, times) = match done.context("starting")? {
                Ok(done) => done?,
                Err(interrupted) => return Ok(results.interrupted(interrupted)?.into()),
            };
            report::step(&format!("{memory} MiB: {}: {}", verdict.verdict, verdict.reason));
            results.end(&verdict, &times)?;
            search.note(memory, verdict);
        }
        let (text, code) = search.result();
        report::result(&text);
        Ok(code)
    }

    /// Rehearses within the time that is given for it; what belongs to it ends with it.
    async fn rehearse(
        &self,
        payload: &Description,
        made: Made<'_>,
        fixture: &Fixture,
        evidence: &Evidence,
    ) -> anyhow::Result<(Verdict, Vec<Timed>)> {
        let Some(secs) = self.expect.timeout else {
            return self.rehearse_until(payload, made, fixture, evidence).await;
        };
        let deadline = Instant::now() + Duration::from_secs(secs);
        let made = Made { deadline: Some(deadline), ..made };
        let work = self.rehearse_until(payload, made, fixture, evidence);
        match tokio::time::timeout_at((deadline + TO_JUDGE).into(), work).await {
            Ok(done) => done,
            Err(_elapsed) => {
                let reason = format!("the time given for the whole run, {secs} s, is over");
                Ok((Verdict::broken(Class::NotTried, reason, Vec::new()), Vec::new()))
            }
        }
    }

    async fn rehearse_until(
        &self,
        payload: &Description,
        made: Made<'_>,
        fixture: &Fixture,
        evidence: &Evidence,
    ) -> anyhow::Result<(Verdict, Vec<Timed>)> {
        let Made { mut setup, twin, deadline } = made;
        let anemos = std::env::current_exe().context("finding this program")?;
        let mut host = Host::prove(&anemos, &cache::folder(), Progress::new()).await;
        host.deadline = deadline;
        let ready = build::ensure(&host, fixture, &evidence.folder().join("fixture")).await;
        let ready = ready.map_err(|error| Broken(format!("building the fixture: {error:#}")))?;
        host.measure(&ready.kernel()).await;
        // A VPS that is kept at its prompt has the usual cards.
        let cold = self.expect.cold || twin.is_some();
        host.start = if cold { Start::Cold } else { Start::Warm };
        host.cpus = setup.cpus.unwrap_or(2);
        machine::complete(&mut setup, payload, fixture);
        host.began = Instant::now();
        match machine::served(&host, &setup, fixture, evidence.folder()).await? {
            Ok(served) => host.served = served,
            Err(verdict) => return Ok((verdict, Vec::new())),
        }
        let provider = machine::provider(&host, (&setup, twin), fixture, evidence.folder()).await?;
        let keep_facts = twin.is_some() || self.keep.keep;
        let rehearsal =
            Rehearsal { provider, keep_facts, ..self.rehearsal(payload, setup, ready)? };
        let done = rehearsal::rehearse(&host, &rehearsal, evidence).await;
        done.map_err(|error| Broken(format!("{:#}", anyhow::Error::new(error))).into())
    }

    /// Returns whether the new system gets the keys of the old one.
    fn keys_are_inherited(&self) -> anyhow::Result<bool> {
        let Some(config) = &self.config else { return Ok(true) };
        Ok(ConfigArgs::of(config).load()?.access.authorized_keys != Keys::None)
    }

    fn rehearsal(
        &self,
        payload: &Description,
        setup: Setup,
        ready: cache::Ready,
    ) -> anyhow::Result<Rehearsal> {
        let expect = payload.settings.expect.as_deref().map(Regex::new).transpose();
        let expect = expect.context("reading what the payload expects")?;
        Ok(Rehearsal {
            payload: self.payload.clone(),
            config: self.config.clone(),
            setup,
            expect: self.expect.expect.clone().or(expect),
            tcp: self.expect.tcp.or((!self.expect.ask.is_empty()).then_some(SSH)),
            asks: self.expect.ask.iter().map(|ask| Ask::parse(ask)).collect(),
            ssh_check: !self.expect.no_ssh_check && self.keys_are_inherited()?,
            again: self.expect.again,
            control: if self.expect.no_control || self.machine.memory_floor {
                Control::Spare
            } else {
                Control::Run
            },
            disks: if self.keep.keep { Disks::Keep } else { Disks::Remove },
            power_cuts: self.expect.power_cuts,
            fixture: ready,
            provider: None,
            keep_facts: false,
        })
    }
}

/// The machine of a rehearsal.
struct Made<'m> {
    setup: Setup,
    /// The machine that it imitates, if any.
    twin: Option<&'m Twin>,
    /// When its rehearsal must be over.
    deadline: Option<Instant>,
}

/// Shows how the simulated machine resembled its original, and keeps that with the evidence.
///
/// Returns how it differed.
fn tell_of_twin(twin: Option<&Twin>, folder: &Path) -> anyhow::Result<Vec<String>> {
    let Some(twin) = twin else { return Ok(Vec::new()) };
    let path = folder.join(rehearsal::FACTS);
    if !path.exists() {
        let unknown = "there was no old system whose facts could be compared";
        report::result(&format!("twin: {unknown}"));
        return Ok(vec![unknown.to_owned()]);
    }
    let facts = twin::read_facts(&path)?;
    let comparison = twin.original.compare(&Likeness::of(&facts));
    let text = comparison.render();
    report::result(&text);
    let path = folder.join(harness::scenario::found::TWIN);
    std::fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
    Ok(comparison.differences)
}

/// Refuses what payload and configuration already rule out, before any guest is started.
pub(crate) fn check(path: &Path, config: Option<&Path>) -> anyhow::Result<Description> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("reading {name}"))?;
    let found = payload::inspect(file, Limits::default())
        .map_err(source::refuse)
        .with_context(|| format!("inspecting {name}"))?;
    if found.kind == Kind::Image {
        let what = format!("a payload with {}", found.kind.marker());
        return Err(Refused::not_built_in(&what, "pack a folder with deploy or IMGBUILD").into());
    }
    if let Some(config) = config {
        let wanted = ConfigArgs::of(config).load()?.payload;
        if let Some(digest) = wanted.digest {
            source::compare(&name.to_string(), &found.sha256, &digest)?;
        }
        if let Some(key) = wanted.public_key {
            let fetched = tempfile::tempdir().context("making a temporary folder")?;
            let location = Location::Path(path.to_owned());
            source::signature::check(&location, path, &key, fetched.path())?;
        }
    }
    Ok(found)
}

fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.split(".tar").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_lends_its_name_without_its_endings() {
        for (path, want) in [("a/debian.tar.gz", "debian"), ("p.tar.zst", "p"), ("x", "x")] {
            assert_eq!(stem(Path::new(path)), want, "{path}");
        }
    }
}
