//! Command `anemos reset`: undoes all that deploy staged before the jump.

use std::process::ExitCode;

use crate::entry::kexec;
use crate::{report, staging};

/// The command line of `anemos reset`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

impl Args {
    #[expect(clippy::unused_self, reason = "every command is run with its arguments")]
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let mut undone = Vec::new();
        if kexec::is_loaded() {
            kexec::unload()?;
            undone.push("unloaded the kernel that was to be executed");
        }
        if staging::clear()? {
            undone.push("removed the staged initramfs");
        }
        if undone.is_empty() {
            undone.push("nothing was staged");
        }
        undone.into_iter().for_each(report::step);
        Ok(ExitCode::SUCCESS)
    }
}
