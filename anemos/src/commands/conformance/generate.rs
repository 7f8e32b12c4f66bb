//! Runs machines drawn from a seed, and writes the smallest one that fails as a scenario.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use harness::scenario::generated::{self, Drawn};
use harness::scenario::run::{Outcome, Runner};
use harness::verdict::Ending;

use crate::commands::fixture::Fixtures;
use crate::report;

/// How many smaller machines are tried if one fails; each costs as much as the first.
const MOST_TRIED: u32 = 12;

/// The part of the command line about drawn machines.
#[derive(Debug, clap::Args)]
pub(super) struct GenerateArgs {
    /// Instead of scenarios, run this many machines drawn from a seed
    #[arg(long, value_name = "N", requires = "payload", help_heading = "Drawn from a seed")]
    pub(super) generate: Option<u32>,
    /// Instead of scenarios, run one deployment with this many faults drawn from a seed, one at a
    /// time, and show who answers afterwards
    #[arg(
        long,
        value_name = "N",
        requires = "payload",
        conflicts_with = "generate",
        help_heading = "Drawn from a seed"
    )]
    pub(super) campaign: Option<usize>,
    /// The seed: the same seed draws the same machines
    #[arg(long, value_name = "NUMBER", default_value_t = 1, help_heading = "Drawn from a seed")]
    pub(super) seed: u64,
    /// The payload for drawn machines and for scenarios that name none: a tarball or a folder
    #[arg(long, value_name = "PATH", help_heading = "Drawn from a seed")]
    pub(super) payload: Option<PathBuf>,
}

impl GenerateArgs {
    /// Runs `number` machines one after the other.
    pub(super) async fn run(
        &self,
        number: u32,
        runner: &Runner,
        fixtures: &Fixtures,
    ) -> anyhow::Result<Vec<Outcome>> {
        let payload = runner.payload.clone().context("finding --payload")?;
        let name = "debian-12";
        let (fixture, _data) = fixtures.open(name)?;
        let mut drawn = Drawn::new(self.seed, name, &fixture.description);
        let mut outcomes = Vec::new();
        for place in 1..=number {
            let name = format!("{}-{place}", self.seed);
            let outcome = self.one(&mut drawn, &name, runner, &payload).await?;
            report::result(&harness::report::render(&outcome));
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn one(
        &self,
        drawn: &mut Drawn,
        name: &str,
        runner: &Runner,
        payload: &Path,
    ) -> anyhow::Result<Outcome> {
        let began = Instant::now();
        let choices = drawn.draw();
        let scenario = |part: &str, machine| {
            generated::scenario(&format!("generated/{name}{part}"), payload, machine)
        };
        let first = scenario("", choices.machine());
        let mut outcome = runner.skip(&first, "");
        outcome.differences.clear();
        outcome.verdict = Ending::Passed;
        if let Some(reason) = runner.contradicts(&first).await? {
            let mut tried = 0;
            let smallest = generated::shrink(choices, reason, MOST_TRIED, async |machine| {
                tried += 1;
                runner.contradicts(&scenario(&format!("-smaller-{tried}"), machine)).await
            });
            let smallest = smallest.await?;
            let text = scenario("", smallest.machine);
            let text = generated::render(&text, &smallest.reason, self.seed);
            let file = outcome.evidence.join("scenario.toml");
            std::fs::write(&file, text.context("writing the scenario")?)
                .with_context(|| format!("writing {}", file.display()))?;
            outcome.verdict = Ending::Failed;
            outcome.differences = vec![
                smallest.reason,
                format!("the smallest machine that fails is in {}", file.display()),
            ];
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        Ok(outcome)
    }
}
