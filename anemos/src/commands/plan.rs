//! Command `anemos plan`: prints what deploy would do, and changes nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde::Serialize;

use crate::config::{ConfigArgs, Location, WHAT};
use crate::plan::{Plan, Purpose};
use crate::prepare::{Prepared, refuse};
use crate::receipt::ReceiptArgs;
use crate::refusal::Refusal;
use crate::refusal::check::Check;
use crate::report;

/// The command line of `anemos plan`.
const EXAMPLES: &str = "\
Examples:
  anemos plan                            show what anemos finds out about this machine
  anemos plan payload.tar.zst            show what deploy would do
  anemos plan --json payload.tar.zst     the same for a program";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The payload: a tarball, by path or URL
    #[arg(help_heading = WHAT)]
    payload: Option<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    receipt: ReceiptArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let fetched = tempfile::tempdir().context("making a temporary folder")?;
        let payload = self.payload.map(Location::from);
        let config = self.config.load()?;
        let mut prepared = Prepared::new(config, payload, Purpose::Deploy, fetched.path())?;
        prepared.require(&self.receipt)?;
        let Prepared { plan, refusals, overridden, .. } = &prepared;
        // A plan is also useful without root, and before there is a payload.
        let mut refusals = refusals.clone();
        refusals.retain(|refusal| !matches!(refusal, Refusal::NotRoot | Refusal::NoPayload));
        report::result(&if self.json {
            let configuration = self.config.file();
            let said = Said {
                plan,
                configuration,
                refusals: list(&refusals),
                overridden: list(overridden),
            };
            serde_json::to_string_pretty(&said).context("writing JSON")?
        } else {
            let read = format!("{:<11}{}", "config", self.config.describe_file());
            format!("{read}\n{}", plan.render())
        });
        refuse(&refusals)?;
        prepared.check_room()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The plan for programs.
#[derive(Serialize)]
struct Said<'s> {
    #[serde(flatten)]
    plan: &'s Plan,
    /// The configuration file that was read; none if there are only defaults and flags.
    configuration: Option<PathBuf>,
    /// Reasons not to continue.
    refusals: Vec<ToldRefusal>,
    /// Reasons that would be refusals if they were not overridden.
    overridden: Vec<ToldRefusal>,
}

/// A refusal for programs.
#[derive(Serialize)]
struct ToldRefusal {
    /// What `--override` takes; none if it cannot be overridden.
    check: Option<Check>,
    reason: String,
    hint: String,
}

fn list(refusals: &[Refusal]) -> Vec<ToldRefusal> {
    let reason = |refusal: &Refusal| ToldRefusal {
        check: refusal.check(),
        reason: refusal.to_string(),
        hint: refusal.hint(),
    };
    refusals.iter().map(reason).collect()
}
