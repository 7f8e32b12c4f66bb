//! Command `anemos build`: writes the final initramfs only.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{ConfigArgs, Location};
use crate::plan::Purpose;
use crate::prepare::Prepared;
use crate::{assemble, report};

/// The command line of `anemos build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The payload: a tarball, by path or URL
    payload: Option<String>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let fetched = tempfile::tempdir().context("making a temporary folder")?;
        let payload = self.payload.map(Location::from);
        let config = self.config.load()?;
        let prepared = Prepared::new(config, payload, Purpose::Build, fetched.path())?;
        let (contents, deploy) = prepared.accept()?;
        let size = assemble::write(contents, deploy, &self.output)?;
        report::step(&format!("{} has {size} bytes", self.output.display()));
        Ok(ExitCode::SUCCESS)
    }
}
