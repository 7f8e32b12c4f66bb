//! Command `anemos deploy`: takes this machine over.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigArgs;
use crate::report::Refusal;

/// The command line of `anemos deploy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The payload: a tarball
    payload: Option<PathBuf>,
    /// Do not ask for the host name
    #[arg(long)]
    yes: bool,
}

impl Args {
    #[expect(clippy::unused_self, reason = "the command is not built in yet")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Err(Refusal::not_built_in("anemos deploy", "use a later version").into())
    }
}
