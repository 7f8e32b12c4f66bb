//! Command `anemos pack`: makes a payload from a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::report::Refusal;

/// The command line of `anemos pack`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to pack
    folder: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Args {
    #[expect(clippy::unused_self, reason = "the command is not built in yet")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Err(Refusal::not_built_in("anemos pack", "use a later version").into())
    }
}
