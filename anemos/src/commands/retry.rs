//! Command `anemos retry`: makes PID 1 of a rescue run the payload again.

use std::fs::{self, File};
use std::process::ExitCode;

use anyhow::Context;
use contract::paths;

use crate::report::{self, Refused};

/// The command line of `anemos retry`.
const EXAMPLES: &str = "\
Examples (in a rescue, over SSH):
  anemos status   show what failed
  anemos retry    run the payload again";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command is run with its arguments")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if !fs::exists(paths::STATE).context("looking for a rescue")? {
            let reason = "this is not a rescue, so there is nothing to run again";
            return Err(Refused::new(reason, "`anemos deploy` begins a deployment").into());
        }
        File::create(paths::RETRY).with_context(|| format!("making {}", paths::RETRY))?;
        report::step("the payload runs again; its words are on the console");
        report::step("this connection ends with it: log in again if the machine does not reboot");
        Ok(ExitCode::SUCCESS)
    }
}
