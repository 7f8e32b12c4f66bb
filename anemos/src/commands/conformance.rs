//! Command `anemos conformance`: runs the conformance suite.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use futures::StreamExt as _;
use harness::evidence;
use harness::fixture::cache;
use harness::rehearsal::interrupt::{self, Interrupted};
use harness::report as suite;
use harness::report::html::{self, Entry};
use harness::scenario::payloads::Payloads;
use harness::scenario::run::{Outcome, Runner};
use harness::scenario::select::{Selection, Shard};
use harness::scenario::{self, Scenario, ScenarioError};
use harness::verdict::Ending;

use self::generate::GenerateArgs;
use super::fixture::Fixtures;
use crate::report::{self, Refusal};

mod generate;

/// The command line of `anemos conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only scenarios whose name contains one of these
    filters: Vec<String>,
    /// Run only scenarios with one of these tags
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Run only this part of them, so that N machines share the suite
    #[arg(long, value_name = "I/N", value_parser = Shard::parse)]
    shard: Option<Shard>,
    /// Skip the rest after the first that is not as it must be
    #[arg(long)]
    fail_fast: bool,
    #[command(flatten)]
    generate: GenerateArgs,
    /// Folder of the scenarios
    #[arg(long, value_name = "DIR", default_value = "scenarios")]
    scenarios: PathBuf,
    #[command(flatten)]
    fixtures: Fixtures,
    /// List the scenarios with their claims
    #[arg(long)]
    list: bool,
    /// Boot every VPS from its disk, even where one is kept at its prompt
    #[arg(long)]
    cold: bool,
    /// Guests that run at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Write what came of it as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write what came of it as `JUnit` XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Folder for the evidence [default: one below anemos-evidence]
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let all = scenario::read_all(&self.scenarios)?;
        let (filters, tags) = (self.filters.clone(), self.tags.clone());
        let selection = Selection { filters, tags, shard: self.shard };
        let chosen = selection.of(all).map_err(refuse)?;
        if self.list {
            let lines: Vec<_> = chosen.iter().map(listed).collect();
            report::result(&lines.join("\n"));
            return Ok(ExitCode::SUCCESS);
        }
        let began = Instant::now();
        let outcomes = match interrupt::run(self.run_all(&chosen)).context("starting")? {
            Ok(outcomes) => outcomes?,
            Err(interrupted) => {
                let code = Interrupted::EXIT_CODE;
                report::step(&format!("{interrupted}: guests are ended, exit code {code}"));
                return Ok(ExitCode::from(code));
            }
        };
        self.write(&outcomes)?;
        report::result(&suite::summary(&outcomes, began.elapsed().as_secs_f64()));
        Ok(if suite::is_good(&outcomes) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn run_all(&self, chosen: &[Scenario]) -> anyhow::Result<Vec<Outcome>> {
        let anemos = std::env::current_exe().context("finding this program")?;
        let work = tempfile::tempdir().context("making a folder for payloads")?;
        let evidence = self.evidence.clone();
        let evidence =
            evidence.unwrap_or_else(|| evidence::default_folder("conformance", SystemTime::now()));
        let evidence = std::path::absolute(evidence).context("finding the current folder")?;
        let payloads = Payloads::new(&anemos, &cache::folder(), work.path());
        let arguments = self.arguments();
        let runner = Runner { anemos, arguments, payloads, evidence };
        if let Some(number) = self.generate.generate {
            return self.generate.run(number, &runner, &self.fixtures).await;
        }
        let jobs = self.jobs.max(1);
        let failed = Cell::new(false);
        let running = chosen.iter().map(async |scenario| {
            if self.fail_fast && failed.get() {
                return runner.skip(scenario, "an earlier one was not as it must be (--fail-fast)");
            }
            let outcome = runner.run(scenario).await;
            failed.set(failed.get() || outcome.verdict != Ending::Passed);
            outcome
        });
        let mut running = futures::stream::iter(running).buffer_unordered(jobs);
        let mut outcomes = Vec::new();
        while let Some(outcome) = running.next().await {
            report::result(&suite::render(&outcome));
            outcomes.push(outcome);
        }
        outcomes.sort_by(|one, other| one.name.cmp(&other.name));
        let entries: Vec<_> = outcomes.iter().map(Entry::from).collect();
        let page = html::write(&runner.evidence, "anemos conformance", &entries);
        let page = page.context("writing the page")?;
        report::step(&format!("report: {}", page.display()));
        Ok(outcomes)
    }

    /// Guests that share the host get one processor each; a single one may use two.
    fn arguments(&self) -> Vec<String> {
        let cpus = if self.jobs > 1 { "1" } else { "2" };
        let mut arguments = vec!["--cpus".to_owned(), cpus.to_owned()];
        if self.cold {
            arguments.push("--cold".to_owned());
        }
        if let Some(fixtures) = self.fixtures.named() {
            arguments.extend(["--fixtures".to_owned(), fixtures.display().to_string()]);
        }
        arguments
    }

    fn write(&self, outcomes: &[Outcome]) -> anyhow::Result<()> {
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(outcomes).context("writing JSON")?;
            std::fs::write(path, text + "\n")
                .with_context(|| format!("writing {}", path.display()))?;
        }
        if let Some(path) = &self.junit {
            std::fs::write(path, suite::junit::render("anemos conformance", outcomes))
                .with_context(|| format!("writing {}", path.display()))?;
        }
        Ok(())
    }
}

/// A line of the list.
fn listed(scenario: &Scenario) -> String {
    let tags: Vec<_> = scenario.tags.iter().map(|tag| format!(" #{tag}")).collect();
    format!("{}{}  {}", scenario.name, tags.concat(), scenario.claim)
}

/// A filter that matches nothing is a mistake of the caller, and never a suite that passed.
fn refuse(error: ScenarioError) -> anyhow::Error {
    if matches!(error, ScenarioError::NoMatch { .. }) {
        return Refusal::new(error.to_string(), "see `anemos conformance --list`").into();
    }
    error.into()
}
