//! Command `anemos serve-guest`, which QEMU calls for the connections of a guest to its server.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use harness::server::{self, Manners, Offer, Served};

/// The command line of `anemos serve-guest`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to give as /payload
    payload: PathBuf,
    /// good, stops, resumes or lies
    #[arg(value_parser = Manners::parse)]
    manners: Manners,
    /// Folders whose files to give, with what their paths begin with
    #[arg(value_name = "NAME=FOLDER", value_parser = Served::parse)]
    folders: Vec<Served>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let offer = Offer { payload: &self.payload, folders: &self.folders };
        let done = server::serve(io::stdin(), io::stdout().lock(), offer, self.manners);
        done.context("serving a guest")?;
        Ok(ExitCode::SUCCESS)
    }
}
