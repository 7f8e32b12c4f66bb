//! Command `anemos build`: writes the final initramfs only.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{ConfigArgs, Location, WHAT};
use crate::plan::Purpose;
use crate::prepare::Prepared;
use crate::{assemble, report};

/// The command line of `anemos build`.
const EXAMPLES: &str = "\
Examples:
  anemos build payload.tar.zst -o final.img   write the initramfs that deploy would jump into";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The payload: a tarball, by path or URL
    #[arg(help_heading = WHAT)]
    payload: Option<String>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    config: ConfigArgs,
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
