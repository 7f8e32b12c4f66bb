//! Command `anemos facts`: prints this machine as JSON.

use std::process::ExitCode;

use crate::facts::{Facts, Keyring};
use crate::report;

/// The command line of `anemos facts`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command is run with its arguments")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        report::result(&serde_json::to_string_pretty(&Facts::gather(&Keyring::here())?)?);
        Ok(ExitCode::SUCCESS)
    }
}
