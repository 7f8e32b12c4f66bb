//! Command `anemos test`: rehearses a deployment in QEMU.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::report::Refusal;

/// The command line of `anemos test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The payload: a tarball
    payload: PathBuf,
}

impl Args {
    #[expect(clippy::unused_self, reason = "the command is not built in yet")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Err(Refusal::not_built_in("anemos test", "use a later version").into())
    }
}
