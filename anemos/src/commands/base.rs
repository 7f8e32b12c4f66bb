//! Command `anemos base`: builds the base initramfs.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::full_base::{self, Recipe};
use crate::{report, source};

/// The command line of `anemos base`.
const EXAMPLES: &str = "\
Examples:
  anemos base build -o base.cpio.zst                    from Debian packages; needs mmdebstrap
  anemos base build -o base.cpio.zst --packages nano    with one package more
  anemos base build -o base.cpio.zst --add my-tools/    with the files of a folder";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Build the full base initramfs from Debian or Alpine packages
    Build {
        /// The file to write
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        recipe: Recipe,
    },
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Action::Build { output, recipe } = self.action;
        let distribution = recipe.distribution();
        report::step(&format!("building {} from {distribution} packages", output.display()));
        let size = full_base::build(&recipe, &output)?;
        let digest = source::digest(&output)?;
        report::step(&format!("built {} ({size} bytes, sha256:{digest})", output.display()));
        Ok(ExitCode::SUCCESS)
    }
}
