//! Command `anemos test`: rehearses a deployment in QEMU.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use contract::payload::{self, Compression, Description, Kind, Limits};
use harness::chain::Timed;
use harness::evidence::{self, Evidence};
use harness::fixture::{Fixture, build, cache};
use harness::host::interrupt::{self, Interrupted};
use harness::host::{Host, Start};
use harness::machine::setup::Setup;
use harness::progress::Progress;
use harness::rehearsal::{self, Control, Disks, Rehearsal};
use harness::report::html::{self, Entry};
use harness::report::junit;
use harness::scenario::run::Outcome;
use harness::size::Size;
use harness::verdict::{Ending, PowerCut, Verdict};
use regex::Regex;
use tempfile::TempDir;

use self::machine::MachineArgs;
use self::matrix::Cell;
use self::receipt::{Draft, Inputs};
use super::fixture::Fixtures;
use crate::config::{ConfigArgs, Location, WHAT};
use crate::json::{Json, STDOUT};
use crate::report::{self, Broken, Refused};
use crate::source;
use crate::twin::{self, Likeness, Twin};

mod floor;
mod machine;
mod matrix;
mod receipt;
mod words;

/// The port that is tested.
const SSH: u16 = 22;

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
struct ExpectArgs {
    /// Print this on its console [default: what payload.toml expects]
    #[arg(long, value_name = "REGEX", help_heading = MUST)]
    expect: Option<Regex>,
    /// Answer on this TCP port
    #[arg(long, value_name = "PORT", help_heading = MUST)]
    tcp: Option<u16>,
    /// Let its user in by SSH with the key of the old system, and run this command
    #[arg(long, value_name = "COMMAND", conflicts_with = "tcp", help_heading = MUST)]
    ask: Option<String>,
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
#[derive(Debug, clap::Args)]
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
        let _packed = self.pack()?;
        let payload = check(&self.payload, self.config.as_deref())?;
        let twin = self.machine.twin()?;
        let setup = self.machine.setup(twin.as_ref())?;
        let name = setup.fixture.as_deref().or(payload.settings.fixture.as_deref());
        let (fixture, _data) = self.fixtures.open(name.unwrap_or("debian-12"))?;
        if self.machine.memory_floor {
            return self.floor(&payload, &setup, &fixture);
        }
        let cells = if self.machine.matrix {
            matrix::cells(&setup, &payload.settings, &fixture.description.buses)
        } else {
            vec![Cell { name: String::new(), setup }]
        };
        cells.iter().try_for_each(|cell| machine::check(&cell.setup, &fixture))?;
        let about = payload.settings.name.clone().unwrap_or_else(|| stem(&self.payload));
        let folder = self.keep.evidence.clone();
        let folder = folder.unwrap_or_else(|| evidence::default_folder(&about, SystemTime::now()));
        let mut verdicts = Vec::new();
        for Cell { name, setup } in cells {
            let folder = folder.join(&name);
            let draft = self.keep.receipt.clone().map(|path| {
                let inputs = Inputs { payload: self.payload.clone(), config: self.config.clone() };
                Draft::new(path, &payload, inputs, (&setup, twin.as_ref(), &fixture))
            });
            let draft = draft.transpose()?;
            let evidence = Evidence::create(&folder)
                .with_context(|| format!("making {}", folder.display()))?;
            let made = Made { setup, twin: twin.as_ref() };
            let began = Instant::now();
            let done = interrupt::run(self.rehearse(&payload, made, &fixture, &evidence));
            let (verdict, times) = match done.context("starting")? {
                Ok(done) => done?,
                Err(interrupted) => {
                    return self.interrupted(interrupted, &about, began.elapsed(), &evidence);
                }
            };
            report::result(&render(&verdict, &times, evidence.folder()));
            let twin_differs = tell_of_twin(twin.as_ref(), evidence.folder())?;
            self.report(&about, &verdict, &times, evidence.folder())?;
            self.write_json(&verdict, &times, &evidence)?;
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
    ) -> anyhow::Result<ExitCode> {
        machine::check(setup, fixture)?;
        let mut most = setup.clone();
        machine::complete(&mut most, payload, fixture);
        let most = most.memory.unwrap_or(fixture.description.memory).bytes() >> 20;
        let about = stem(&self.payload);
        let folder = self.keep.evidence.clone();
        let folder = folder.unwrap_or_else(|| evidence::default_folder(&about, SystemTime::now()));
        let mut search = floor::Search::new(most);
        while let Some(memory) = search.next() {
            let folder = folder.join(format!("{memory}-mib"));
            let evidence = Evidence::create(&folder)
                .with_context(|| format!("making {}", folder.display()))?;
            let setup = Setup { memory: Some(Size::of_bytes(memory << 20)), ..setup.clone() };
            let made = Made { setup, twin: None };
            let began = Instant::now();
            let done = interrupt::run(self.rehearse(payload, made, fixture, &evidence));
            let (verdict, _times) = match done.context("starting")? {
                Ok(done) => done?,
                Err(interrupted) => {
                    return self.interrupted(interrupted, &about, began.elapsed(), &evidence);
                }
            };
            report::step(&format!("{memory} MiB: {}: {}", verdict.verdict, verdict.reason));
            search.note(memory, verdict);
        }
        let (text, code) = search.result();
        report::result(&text);
        Ok(code)
    }

    async fn rehearse(
        &self,
        payload: &Description,
        made: Made<'_>,
        fixture: &Fixture,
        evidence: &Evidence,
    ) -> anyhow::Result<(Verdict, Vec<Timed>)> {
        let Made { mut setup, twin } = made;
        let anemos = std::env::current_exe().context("finding this program")?;
        let mut host = Host::prove(&anemos, &cache::folder(), Progress::new()).await;
        let ready = build::ensure(&host, fixture, &evidence.folder().join("fixture")).await;
        let ready = ready.map_err(|error| Broken(format!("building the fixture: {error:#}")))?;
        host.measure(&ready.kernel()).await;
        // A VPS that is kept at its prompt has the usual cards.
        let cold = self.expect.cold || twin.is_some();
        host.start = if cold { Start::Cold } else { Start::Warm };
        host.cpus = setup.cpus.unwrap_or(2);
        machine::complete(&mut setup, payload, fixture);
        host.deadline = self.expect.timeout.map(|secs| Instant::now() + Duration::from_secs(secs));
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
            tcp: self.expect.tcp.or(self.expect.ask.is_some().then_some(SSH)),
            ask: self.expect.ask.clone(),
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

    /// Writes the page for people into the evidence, and files for CI systems if they are wanted.
    fn report(
        &self,
        about: &str,
        verdict: &Verdict,
        times: &[Timed],
        folder: &Path,
    ) -> anyhow::Result<()> {
        let outcome = Outcome {
            name: about.to_owned(),
            claim: verdict.reason.clone(),
            verdict: verdict.verdict,
            differences: verdict.evidence.clone(),
            seconds: times.iter().map(|timed| timed.start + timed.seconds).fold(0.0, f64::max),
            evidence: folder.to_owned(),
        };
        let entry = Entry { claim: None, differences: Vec::new(), ..Entry::from(&outcome) };
        let title = format!("anemos test {about}");
        html::write(folder, &title, &[entry]).context("writing the page")?;
        let Some(path) = &self.keep.junit else { return Ok(()) };
        let text = junit::render("anemos test", &[outcome]);
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    fn write_json(
        &self,
        verdict: &Verdict,
        times: &[Timed],
        evidence: &Evidence,
    ) -> anyhow::Result<()> {
        let Some(json) = &self.keep.json else { return Ok(()) };
        let mut value = serde_json::to_value(verdict).context("writing JSON")?;
        value["stages"] = serde_json::to_value(times).context("writing JSON")?;
        value["folder"] = evidence.folder().display().to_string().into();
        json.put(&value)
    }

    /// Reports that the run was interrupted.
    ///
    /// Whatever was going on has ended with the run; the evidence so far is kept.
    fn interrupted(
        &self,
        interrupted: Interrupted,
        about: &str,
        took: Duration,
        evidence: &Evidence,
    ) -> anyhow::Result<ExitCode> {
        let class = harness::classify::Class::Interrupted;
        let verdict = Verdict::broken(class, interrupted.to_string(), Vec::new());
        let whole =
            Timed { name: "interrupted".to_owned(), start: 0.0, seconds: took.as_secs_f64() };
        evidence.verdict(&verdict).context("writing verdict.json")?;
        self.report(about, &verdict, std::slice::from_ref(&whole), evidence.folder())?;
        self.write_json(&verdict, &[whole], evidence)?;
        let code = Interrupted::EXIT_CODE;
        report::step(&format!("{interrupted}: guests are ended, exit code {code}"));
        Ok(ExitCode::from(code))
    }
}

/// The machine of a rehearsal.
struct Made<'m> {
    setup: Setup,
    /// The machine that it imitates, if any.
    twin: Option<&'m Twin>,
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

/// Renders the verdict for people.
pub(crate) fn render(verdict: &Verdict, times: &[Timed], folder: &Path) -> String {
    let mut lines = vec![format!("verdict: {}", verdict.verdict)];
    lines.push(format!("reason: {}", verdict.reason));
    lines.extend(verdict.hint.iter().map(|hint| format!("hint: {hint}")));
    lines.extend(verdict.blame.map(|blame| format!("fault of: {}", blame.name())));
    if verdict.verdict != Ending::Passed {
        lines.extend(verdict.evidence.iter().map(|line| format!("  | {line}")));
    }
    lines.extend(verdict.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(power_cuts(verdict));
    lines.push(format!("evidence: {}", folder.display()));
    if !times.is_empty() {
        lines.push("stages (start, name, time):".to_owned());
        lines.push(evidence::render_times(times).trim_end().to_owned());
    }
    lines.join("\n")
}

/// Renders a line for each power cut.
fn power_cuts(verdict: &Verdict) -> Vec<String> {
    let line = |cut: &PowerCut| {
        let (written, boots) = (Size::of_bytes(cut.written), cut.boots.name());
        format!("  {:>5}  {:>10}  {boots}", cut.flush, written.to_string())
    };
    let head =
        (!verdict.power_cuts.is_empty()).then(|| "power cuts (flush, written, boots):".to_owned());
    head.into_iter().chain(verdict.power_cuts.iter().map(line)).collect()
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
    fn a_payload_lends_its_name_without_its_endings() {
        for (path, want) in [("a/debian.tar.gz", "debian"), ("p.tar.zst", "p"), ("x", "x")] {
            assert_eq!(stem(Path::new(path)), want, "{path}");
        }
    }
}
