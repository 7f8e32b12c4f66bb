//! Command `anemos conformance`: runs the conformance suite.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use futures::StreamExt as _;
use harness::evidence;
use harness::fixture::cache;
use harness::host::interrupt::{self, Interrupted};
use harness::report as suite;
use harness::report::html::{self, Entry};
use harness::scenario::admission::Admission;
use harness::scenario::history::History;
use harness::scenario::payloads::Payloads;
use harness::scenario::run::{Outcome, Runner};
use harness::scenario::select::{Selection, Shard};
use harness::scenario::{self, Scenario, ScenarioError};
use harness::verdict::Ending;

use self::generate::GenerateArgs;
use super::fixture::Fixtures;
use crate::json::{Json, STDOUT};
use crate::report::{self, Refused};

mod campaign;
mod generate;

const EXAMPLES: &str = "\
Examples:
  anemos conformance --list              show the scenarios and what each claims
  anemos conformance boot/ disk/nvme     run the scenarios whose names contain one of these
  anemos conformance --tag each          run one scenario of each kind, as `make test` does
  anemos conformance --generate 6 --seed 1 --payload payloads/minimal
                                         run the payload on machines drawn from a seed";

/// Headings of the help.
const WHICH: &str = "Which scenarios";
const RUN: &str = "How they run";
const EVIDENCE: &str = "The evidence";

/// The command line of `anemos conformance`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Run only scenarios whose names contain one of these
    #[arg(help_heading = WHICH)]
    filters: Vec<String>,
    /// Run only scenarios with one of these tags
    #[arg(long = "tag", value_name = "TAG", help_heading = WHICH)]
    tags: Vec<String>,
    /// Run only this part of them, so that N machines can share the suite
    #[arg(long, value_name = "I/N", value_parser = Shard::parse, help_heading = WHICH)]
    shard: Option<Shard>,
    /// Run each scenario N times: if verdicts differ, the suite has a flaw
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = RUN)]
    repeat: usize,
    /// Skip the rest after the first scenario that does not pass
    #[arg(long, help_heading = RUN)]
    fail_fast: bool,
    #[command(flatten)]
    generate: GenerateArgs,
    /// Folder of the scenarios
    #[arg(long, value_name = "DIR", default_value = "scenarios", help_heading = WHICH)]
    scenarios: PathBuf,
    #[command(flatten)]
    fixtures: Fixtures,
    /// List the scenarios with their claims
    #[arg(long, help_heading = WHICH)]
    list: bool,
    /// Boot every VPS from its disk, even if one is kept at its prompt
    #[arg(long, help_heading = RUN)]
    cold: bool,
    /// Keep this many cores busy with guests; those that only wait do not count
    #[arg(long, value_name = "N", default_value_t = 2, help_heading = RUN)]
    jobs: usize,
    /// Print the results as JSON, or write them to this file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = STDOUT, help_heading = EVIDENCE)]
    json: Option<Json>,
    /// Write the results to this file as `JUnit` XML
    #[arg(long, value_name = "FILE", help_heading = EVIDENCE)]
    junit: Option<PathBuf>,
    /// Folder for the evidence [default: one below anemos-evidence]
    #[arg(long, value_name = "DIR", help_heading = EVIDENCE)]
    evidence: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Json::begin(self.json.as_ref(), self.junit.as_deref())?;
        let all = scenario::read_all(&self.scenarios)?;
        let (filters, tags) = (self.filters.clone(), self.tags.clone());
        let selection = Selection { filters, tags, shard: self.shard };
        let chosen = selection.of(all).map_err(refuse)?;
        if self.list {
            return self.print_list(&chosen);
        }
        let needy = chosen.iter().find(|scenario| scenario.payload.is_none());
        if let (Some(needy), None) = (needy, &self.generate.payload) {
            let what = format!("the scenario {} names no payload", needy.name);
            return Err(Refused::new(what, "name one: --payload PATH").into());
        }
        let began = Instant::now();
        let work = tempfile::tempdir().context("making a folder for payloads")?;
        let runner = self.runner(work.path())?;
        let mut history = History::read(&cache::folder());
        let chosen = repeated(history.longest_first(chosen), self.repeat);
        let done = RefCell::new(Vec::new());
        let ended = interrupt::run(self.run_all(&chosen, &runner, &done)).context("starting")?;
        let mut outcomes = done.take();
        let interrupted = match ended {
            Ok(done) => done.map(|()| None)?,
            Err(interrupted) => Some(interrupted),
        };
        let reason = "the run was ended before it was done";
        let known: BTreeSet<_> = outcomes.iter().map(|outcome| outcome.name.clone()).collect();
        let left = chosen.iter().filter(|scenario| !known.contains(&scenario.name));
        // A drawn machine is not a scenario of the list.
        let drawn = self.generate.generate.is_some() || self.generate.campaign.is_some();
        let left = left.filter(|_| !drawn);
        outcomes.extend(left.map(|scenario| runner.skip(scenario, reason)));
        outcomes.sort_by(|one, other| one.name.cmp(&other.name));
        if self.repeat <= 1 {
            history.remember(&outcomes);
        }
        self.write(&runner, &outcomes)?;
        report::result(&suite::summary(&outcomes, began.elapsed().as_secs_f64()));
        if let Some(interrupted) = interrupted {
            let code = Interrupted::EXIT_CODE;
            report::step(&format!("{interrupted}: guests are ended, exit code {code}"));
            return Ok(ExitCode::from(code));
        }
        Ok(if suite::is_good(&outcomes) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// Shows the list, or writes it as JSON if that is wanted.
    fn print_list(&self, chosen: &[Scenario]) -> anyhow::Result<ExitCode> {
        if let Some(json) = &self.json {
            let entry = |scenario: &Scenario| {
                let Scenario { name, claim, tags, .. } = scenario;
                serde_json::json!({ "name": name, "claim": claim, "tags": tags })
            };
            json.put(&chosen.iter().map(entry).collect::<Vec<_>>())?;
            return Ok(ExitCode::SUCCESS);
        }
        let lines: Vec<_> = chosen.iter().map(listed).collect();
        report::result(&lines.join("\n"));
        Ok(ExitCode::SUCCESS)
    }

    fn runner(&self, work: &Path) -> anyhow::Result<Runner> {
        let anemos = std::env::current_exe().context("finding this program")?;
        let evidence = self.evidence.clone();
        let evidence =
            evidence.unwrap_or_else(|| evidence::default_folder("conformance", SystemTime::now()));
        let evidence = std::path::absolute(evidence).context("finding the current folder")?;
        let payload = self.generate.payload.as_ref().map(std::path::absolute).transpose();
        let payload = payload.context("finding --payload")?;
        let payloads = Payloads::new(&anemos, &cache::folder(), work);
        let root = std::path::absolute(&self.scenarios).context("finding the scenarios")?;
        let arguments = self.arguments();
        // Guests that share the host get one processor each; a single one may use two.
        let cpus = if self.jobs > 1 { 1 } else { 2 };
        let admission = Admission::new(self.jobs);
        Ok(Runner { anemos, root, arguments, cpus, payloads, payload, evidence, admission })
    }

    /// Runs the scenarios, and adds each result to `done` as soon as it is known.
    async fn run_all(
        &self,
        chosen: &[Scenario],
        runner: &Runner,
        done: &RefCell<Vec<Outcome>>,
    ) -> anyhow::Result<()> {
        if let Some(number) = self.generate.generate {
            done.replace(self.generate.run(number, runner, &self.fixtures).await?);
            return Ok(());
        }
        if let Some(number) = self.generate.campaign {
            let (runs, outcomes) =
                campaign::run(number, self.generate.seed, self.jobs.max(1), runner).await?;
            report::result(&scenario::campaign::render(&runs));
            let kept = runner.evidence.join("campaign.json");
            Json::Written(kept.clone()).put(&runs)?;
            report::step(&format!("table: {}", kept.display()));
            done.replace(outcomes);
            return Ok(());
        }
        let failed = Cell::new(false);
        let running = chosen.iter().map(async |scenario| {
            if self.fail_fast && failed.get() {
                return runner.skip(scenario, "an earlier scenario did not pass (--fail-fast)");
            }
            let outcome = runner.run(scenario).await;
            failed.set(failed.get() || outcome.verdict != Ending::Passed);
            outcome
        });
        let mut running = futures::stream::iter(running).buffer_unordered(runner.admission.most());
        while let Some(outcome) = running.next().await {
            report::result(&suite::render(&outcome));
            done.borrow_mut().push(outcome);
        }
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.cold {
            arguments.push("--cold".to_owned());
        }
        if let Some(fixtures) = self.fixtures.named() {
            arguments.extend(["--fixtures".to_owned(), fixtures.display().to_string()]);
        }
        arguments
    }

    fn write(&self, runner: &Runner, outcomes: &[Outcome]) -> anyhow::Result<()> {
        let entries: Vec<_> = outcomes.iter().map(Entry::from).collect();
        std::fs::create_dir_all(&runner.evidence).context("making the folder of the evidence")?;
        let page = html::write(&runner.evidence, "anemos conformance", &entries);
        report::step(&format!("report: {}", page.context("writing the page")?.display()));
        if let Some(json) = &self.json {
            json.put(outcomes)?;
        }
        if let Some(path) = &self.junit {
            std::fs::write(path, suite::junit::render("anemos conformance", outcomes))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// Repeats the scenarios; each repetition gets its own name and its own folder for evidence.
fn repeated(chosen: Vec<Scenario>, times: usize) -> Vec<Scenario> {
    if times <= 1 {
        return chosen;
    }
    let named = |time: usize| {
        move |it: &Scenario| Scenario { name: format!("{}/{time}", it.name), ..it.clone() }
    };
    (1..=times).flat_map(|time| chosen.iter().map(named(time)).collect::<Vec<_>>()).collect()
}

/// Renders a line of the list.
fn listed(scenario: &Scenario) -> String {
    let tags: Vec<_> = scenario.tags.iter().map(|tag| format!(" #{tag}")).collect();
    format!("{}{}  {}", scenario.name, tags.concat(), scenario.claim)
}

/// Refuses a filter that matches nothing: that is a mistake, and not a suite that passed.
fn refuse(error: ScenarioError) -> anyhow::Error {
    if matches!(error, ScenarioError::NoMatch { .. }) {
        return Refused::new(error.to_string(), "see `anemos conformance --list`").into();
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_repeated_has_a_name_of_its_own_each_time() {
        let text = "claim = 'It.'\npayload = 'p'\nexpect = { exit = 0 }\n";
        let scenario =
            |name: &str| Scenario { name: name.to_owned(), ..Scenario::parse(text).unwrap() };
        let all = vec![scenario("boot/a"), scenario("boot/b")];
        let names = |times| -> Vec<String> {
            repeated(all.clone(), times).into_iter().map(|scenario| scenario.name).collect()
        };
        assert_eq!(names(1), ["boot/a", "boot/b"]);
        assert_eq!(names(2), ["boot/a/1", "boot/b/1", "boot/a/2", "boot/b/2"]);
    }
}
