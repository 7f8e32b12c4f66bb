//! Command `anemos fixture`: lists, builds and boots simulated VPS images.

use std::process::ExitCode;

use crate::report::Refusal;

/// The command line of `anemos fixture`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the fixtures
    List,
    /// Build fixtures that are not cached
    Build {
        /// Names of fixtures; all when none is given
        names: Vec<String>,
    },
    /// Boot a fixture and attach its console
    Boot {
        /// Name of the fixture
        name: String,
    },
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let what = format!("{:?}", self.action);
        Err(Refusal::not_built_in(&what, "use a later version").into())
    }
}
