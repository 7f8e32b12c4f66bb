//! Runs a campaign of faults, and shows the state of each machine afterwards.

use anyhow::Context as _;
use futures::StreamExt as _;
use harness::fault::Fault;
use harness::scenario::campaign::{self, Found, Run};
use harness::scenario::run::{Outcome, Runner};
use harness::verdict::Ending;

use crate::report;

/// Runs faults drawn from a seed, `jobs` at a time; the table is the result.
pub(super) async fn run(
    number: usize,
    seed: u64,
    jobs: usize,
    runner: &Runner,
) -> anyhow::Result<(Vec<Run>, Vec<Outcome>)> {
    let payload = runner.payload.clone().context("finding --payload")?;
    let faults = campaign::draw(seed, number);
    let one = |(place, fault): (usize, Fault)| {
        let name = format!("campaign/{seed}-{place}");
        let scenario = campaign::scenario(&name, &payload, &runner.root, &fault);
        async move {
            let began = std::time::Instant::now();
            let run = runner.strike(&scenario, &fault).await.context("running a rehearsal")?;
            let outcome = Outcome {
                verdict: ending(run.found),
                differences: vec![format!("{}: {}", run.found.name(), run.reason)],
                seconds: began.elapsed().as_secs_f64(),
                name: format!("{name} {fault}"),
                ..runner.skip(&scenario, "")
            };
            report::step(&harness::report::render(&outcome));
            anyhow::Ok((run, outcome))
        }
    };
    let done = futures::stream::iter((1..).zip(faults).map(one)).buffer_unordered(jobs);
    let done: Vec<_> = done.collect().await;
    let done = done.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    Ok(done.into_iter().unzip())
}

/// Returns the ending of a run; a lost machine is not a flaw, because the table counts them.
fn ending(found: Found) -> Ending {
    match found {
        Found::OldSystem | Found::Rescue | Found::Complete | Found::Lost => Ending::Passed,
        Found::Stranded => Ending::Failed,
        Found::Broken => Ending::Broken,
    }
}
