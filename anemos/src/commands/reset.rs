//! Command `anemos reset`: undoes all that deploy staged before the jump.

use std::process::ExitCode;

use crate::report::Refusal;

/// The command line of `anemos reset`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "the command is not built in yet")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Err(Refusal::not_built_in("anemos reset", "use a later version").into())
    }
}
