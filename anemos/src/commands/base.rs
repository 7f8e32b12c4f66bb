//! Command `anemos base`: builds the base initramfs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::report::Refusal;

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
    },
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Action::Build { output } = self.action;
        let what = format!("building {}", output.display());
        Err(Refusal::not_built_in(&what, "use the built-in base").into())
    }
}
