//! Command `anemos plan`: prints what deploy would do, changes nothing.

use std::process::ExitCode;

use anyhow::Context;

use crate::config::{ConfigArgs, Location};
use crate::plan::Purpose;
use crate::preflight::Refusal;
use crate::prepare::{Prepared, refuse};
use crate::report;

/// The command line of `anemos plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The payload: a tarball, by path or URL
    payload: Option<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let fetched = tempfile::tempdir().context("making a temporary folder")?;
        let payload = self.payload.map(Location::from);
        let config = self.config.load()?;
        let prepared = Prepared::new(config, payload, Purpose::Deploy, fetched.path())?;
        let Prepared { plan, mut refusals, .. } = prepared;
        report::result(&if self.json {
            serde_json::to_string_pretty(&plan).context("writing JSON")?
        } else {
            plan.render()
        });
        // A plan is wanted without root, and before there is a payload.
        refusals.retain(|refusal| !matches!(refusal, Refusal::NotRoot | Refusal::NoPayload));
        refuse(&refusals)?;
        Ok(ExitCode::SUCCESS)
    }
}
