//! Command `anemos deploy`: takes this machine over.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;

use crate::config::{ConfigArgs, Location};
use crate::entry::kexec;
use crate::prepare::{Prepared, prepare};
use crate::report::Refusal;
use crate::{assemble, description, report, staging};

/// The command line of `anemos deploy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// The payload: a tarball, by path or URL
    payload: Option<String>,
    /// Do not ask for the host name
    #[arg(long)]
    yes: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if !self.yes && !io::stdin().is_terminal() {
            let reason = "there is no terminal to ask for the host name on";
            return Err(Refusal::new(reason, "say --yes to go on without being asked").into());
        }
        let config = self.config.load()?;
        report::step("looking at the machine and the payload");
        let fetched = tempfile::tempdir().context("making a temporary folder")?;
        let prepared = prepare(config, self.payload.map(Location::from), fetched.path())?;
        if !self.yes {
            confirm(&prepared)?;
        }
        stage_and_load(&prepared)?;
        report::step("jumping: this connection ends, the deployment goes on");
        kexec::execute()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks for the host name, which people know by heart only for the right machine.
fn confirm(prepared: &Prepared) -> anyhow::Result<()> {
    let hostname = &prepared.facts.hostname;
    let disk = description::selected(&prepared.facts, &prepared.config)?;
    let disk = disk.map_or("the disk", |disk| disk.candidate.name.as_str());
    report::prompt(&format!("Type the host name {hostname} to overwrite {}: ", disk))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading the host name")?;
    if line.trim() == hostname {
        return Ok(());
    }
    let reason = format!("{:?} is not the host name {hostname}; nothing was changed", line.trim());
    Err(Refusal::new(reason, "run the command again on the machine that you mean").into())
}

/// Writes the final initramfs to the staging folder and loads it; a failure takes both back.
fn stage_and_load(prepared: &Prepared) -> anyhow::Result<()> {
    let result = try_stage_and_load(prepared);
    if result.is_err() {
        // The first error is the one that matters.
        let _leftovers = staging::clear();
    }
    result
}

fn try_stage_and_load(prepared: &Prepared) -> anyhow::Result<()> {
    let file = staging::prepare()?;
    report::step("assembling the final initramfs");
    let Prepared { facts, config, kernel, payload, contents } = prepared;
    let deploy = description::describe(facts, config, payload, &contents.load)?;
    let size = assemble::write(contents, &deploy, &file)?;
    report::step(&format!("loading kernel and final initramfs of {size} bytes"));
    let command_line =
        description::command_line(&facts.kernel.command_line, &config.kernel.command_line);
    kexec::load(&kernel.path, &file, &command_line)
}
