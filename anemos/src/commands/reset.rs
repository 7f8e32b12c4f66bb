//! Command `anemos reset`: undoes everything that deploy staged before the jump.

use std::process::ExitCode;

use crate::entry::kexec;
use crate::{facts, last_attempt, report, staging};

/// The command line of `anemos reset`.
const EXAMPLES: &str = "\
Examples:
  anemos deploy --stage-only payload.tar.zst   prepare a deployment for the next reboot
  anemos reset                                 undo that";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command is run with its arguments")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let _lock = staging::Lock::take()?;
        let mut undone = Vec::new();
        if facts::is_kernel_loaded() {
            kexec::unload()?;
            undone.push("unloaded the kernel that was to be executed".to_owned());
        }
        undone.extend(staging::clear()?);
        undone.extend(last_attempt::take_back()?);
        if undone.is_empty() {
            undone.push("nothing was staged".to_owned());
        }
        for line in &undone {
            report::step(line);
        }
        Ok(ExitCode::SUCCESS)
    }
}
