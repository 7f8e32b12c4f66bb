//! Command `anemos pack`: makes a payload from a folder.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use contract::payload::{self, Compression};

use crate::report::{self, Refused};
use crate::source;

/// The command line of `anemos pack`.
const EXAMPLES: &str = "\
Examples:
  anemos pack payloads/minimal -o minimal.tar.zst   the same folder always gives the same bytes";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The folder to pack
    folder: PathBuf,
    /// The file to write: .tar.gz, .tgz or .tar.zst
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Set file times later than this back to it, in seconds since 1970
    #[arg(long, env = "SOURCE_DATE_EPOCH", value_name = "SECONDS")]
    latest: Option<u64>,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(compression) = Compression::from_name(&self.output) else {
            let reason = format!("{} does not say how to compress", self.output.display());
            return Err(Refused::new(reason, "end its name in .tar.gz, .tgz or .tar.zst").into());
        };
        let done = payload::pack_file(&self.folder, &self.output, compression, self.latest)
            .map_err(source::refuse)
            .with_context(|| format!("packing {}", self.folder.display()))?;
        report::step(&format!(
            "{}: {} members in {} bytes, sha256:{}",
            self.output.display(),
            done.members,
            done.size,
            done.sha256
        ));
        Ok(ExitCode::SUCCESS)
    }
}
