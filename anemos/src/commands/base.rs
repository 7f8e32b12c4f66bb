//! Command `anemos base`: builds the base initramfs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::debian::{self, Packages};
use crate::{report, source};

/// The command line of `anemos base`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Build the full base initramfs from Debian packages
    Build {
        /// The file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        packages: Packages,
    },
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Action::Build { output, packages } = self.action;
        report::step(&format!("building {} from Debian packages", output.display()));
        let size = debian::build(&packages, &output)?;
        let digest = source::digest(&output)?;
        report::step(&format!("built {} ({size} bytes, sha256:{digest})", output.display()));
        Ok(ExitCode::SUCCESS)
    }
}
