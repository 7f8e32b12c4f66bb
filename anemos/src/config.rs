//! The configuration `anemos.toml`: what a deployment is to be like.

use std::path::PathBuf;

/// The options by which a command gets its configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Read this configuration instead of ./anemos.toml or /etc/anemos.toml
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}
