//! Command `anemos plan`: prints what deploy would do.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigArgs;
use crate::report::Refusal;

/// The command line of `anemos plan`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The payload: a tarball
    payload: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    #[expect(clippy::unused_self, reason = "the command is not built in yet")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Err(Refusal::not_built_in("anemos plan", "use a later version").into())
    }
}
