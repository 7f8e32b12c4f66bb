//! Command `anemos write-network`, which shows what `deploy` finds in `$ANEMOS_NETWORK`.
//!
//! Scenarios pass the files to the programs that they are for.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use contract::network::{Network, files};

use crate::report;

/// The command line of `anemos write-network`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// network.json, or the network of `anemos facts`
    network: PathBuf,
    /// Folder to make
    folder: PathBuf,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = self.network.display();
        let text = fs::read_to_string(&self.network).with_context(|| format!("reading {path}"))?;
        let network: Network =
            serde_json::from_str(&text).with_context(|| format!("parsing {path}"))?;
        let folder = self.folder.display();
        fs::create_dir_all(&self.folder).with_context(|| format!("making {folder}"))?;
        let notes =
            files::write(&network, &self.folder).with_context(|| format!("writing to {folder}"))?;
        for note in notes {
            report::step(&note);
        }
        Ok(ExitCode::SUCCESS)
    }
}
