//! Command `anemos build`: writes the final initramfs only.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigArgs;
use crate::report::Refusal;

/// The command line of `anemos build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The payload: a tarball
    payload: Option<PathBuf>,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

impl Args {
    #[expect(clippy::unused_self, reason = "the command is not built in yet")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Err(Refusal::not_built_in("anemos build", "use a later version").into())
    }
}
