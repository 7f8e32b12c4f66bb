//! Command `anemos conformance`: runs the conformance suite.

use std::process::ExitCode;

use crate::report::Refusal;

/// The command line of `anemos conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run only scenarios whose name contains one of these
    filters: Vec<String>,
}

impl Args {
    #[expect(clippy::unused_self, reason = "the command is not built in yet")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        Err(Refusal::not_built_in("anemos conformance", "use a later version").into())
    }
}
