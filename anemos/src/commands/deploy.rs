//! Command `anemos deploy`: takes this machine over.

use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use contract::attempt::Mode;
use contract::deploy::Deploy;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::config::{ConfigArgs, Location, WHAT};
use crate::entry::{self, Next, kexec};
use crate::plan::{Purpose, Rung};
use crate::prepare::Prepared;
use crate::receipt::ReceiptArgs;
use crate::report::Refused;
use crate::{assemble, facts, last_attempt, report, staging};

/// The command line of `anemos deploy`.
const EXAMPLES: &str = "\
Examples:
  anemos deploy --dry-run payload.tar.zst   check this machine, print the plan, change nothing
  anemos deploy --rehearse payload.tar.zst  jump, check everything there, and come back
  anemos deploy payload.tar.zst             ask for the host name, then deploy";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The payload: a tarball, by path or URL
    #[arg(help_heading = WHAT)]
    payload: Option<String>,
    #[command(flatten)]
    far: Far,
    /// Do not ask for the host name
    #[arg(long, help_heading = "How far to go")]
    yes: bool,
    #[command(flatten)]
    receipt: ReceiptArgs,
    #[command(flatten)]
    config: ConfigArgs,
}

/// How far it goes, when it does not deploy.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Far {
    /// Check everything and print the plan, but change nothing
    #[arg(long, help_heading = "How far to go")]
    dry_run: bool,
    /// Prepare everything, but do not jump: the next reboot (or `kexec -e`, if a kernel was loaded)
    /// enters the deploy environment; `anemos reset` undoes it
    #[arg(long, help_heading = "How far to go")]
    stage_only: bool,
    /// Enter the deploy environment, check everything that `deploy` needs, and come back: no disk
    /// is written, the machine reboots, and `anemos status` shows the result
    #[arg(long, help_heading = "How far to go")]
    rehearse: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if !self.yes && !self.far.dry_run && !io::stdin().is_terminal() {
            let reason = "there is no terminal to ask for the host name on";
            return Err(Refused::new(reason, "say --yes to go on without being asked").into());
        }
        let config = self.config.load()?;
        report::step("looking at the machine and the payload");
        let fetched = tempfile::tempdir().context("making a temporary folder")?;
        let payload = self.payload.map(Location::from);
        let mut prepared = Prepared::new(config, payload, Purpose::Deploy, fetched.path())?;
        prepared.require(&self.receipt)?;
        prepared.accept()?;
        prepared.check_room()?;
        report::step(&prepared.plan.render());
        if self.far.dry_run {
            report::step("dry run: nothing was changed, and nothing is in the way");
            return Ok(ExitCode::SUCCESS);
        }
        let mode = if self.far.rehearse { Mode::Rehearsal } else { Mode::Deployment };
        if mode == Mode::Rehearsal {
            report::step("rehearsal: nothing on any disk is lost, because `deploy` is not run");
        }
        if !self.yes {
            confirm(&prepared, mode)?;
        }
        let _lock = staging::Lock::take()?;
        if staging::is_anything_staged() {
            let reason = "another deployment was staged meanwhile";
            return Err(Refused::new(reason, "`anemos reset` takes it back").into());
        }
        let signals = Held::new()?;
        let rung = stage(&prepared, mode).inspect_err(|_| take_back())?;
        if signals.interrupted() {
            take_back();
            report::step("interrupted: what was staged is taken back");
            return Ok(ExitCode::from(report::INTERRUPTED));
        }
        // The initramfs now contains what was fetched, and nothing runs after a jump.
        drop(fetched);
        if self.far.stage_only {
            // If a kernel is loaded, a reboot executes it (systemctl(1)).
            let enters =
                if rung.boots() { "the next reboot" } else { "`kexec -e` or `systemctl reboot`" };
            report::step(&format!("staged: {enters} enters it, `anemos reset` takes it back"));
            return Ok(ExitCode::SUCCESS);
        }
        let way = if rung.boots() { "rebooting into the one-time boot entry" } else { "jumping" };
        report::step(&format!("{way}: this connection ends, {}", goes_on(mode)));
        entry::leave(rung, prepared.plan.watchdog.armed()).inspect_err(|_| take_back())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Signals that would end this in the middle.
///
/// Interruptions are checked for once everything is staged. The end of a connection is ignored,
/// because the host name was typed.
#[derive(Debug)]
struct Held(SignalFd);

impl Held {
    fn new() -> anyhow::Result<Self> {
        let ends = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        let held = ends.iter().chain([Signal::SIGHUP]).collect::<SigSet>();
        held.thread_block().context("holding signals")?;
        let pending = SignalFd::with_flags(&ends, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC);
        Ok(Self(pending.context("watching signals")?))
    }

    fn interrupted(&self) -> bool {
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

fn goes_on(mode: Mode) -> &'static str {
    match mode {
        Mode::Deployment => "the deployment goes on",
        Mode::Rehearsal => {
            "the rehearsal goes on and ends in this system; ask `anemos status` then"
        }
    }
}

/// Undoes what was staged and loaded.
///
/// The error that led here is the one to report. What cannot be undone is reported, too, because
/// the next boot may enter it.
fn take_back() {
    let unloaded = if facts::is_kernel_loaded() { kexec::unload() } else { Ok(()) };
    let undone = [unloaded, staging::clear().map(drop), last_attempt::take_back().map(drop)];
    for error in undone.into_iter().filter_map(Result::err) {
        report::step(&format!("not taken back: {error:#}; run `anemos reset` before any reboot"));
    }
}

/// Asks for the host name, which people only know by heart for the right machine.
fn confirm(prepared: &Prepared, mode: Mode) -> anyhow::Result<()> {
    let hostname = &prepared.facts.hostname;
    let disk = prepared.plan.disk.name();
    let to = match mode {
        Mode::Deployment => format!("overwrite {disk}"),
        Mode::Rehearsal => "leave this system, and boot it again after the rehearsal".to_owned(),
    };
    report::prompt(&format!("Type the host name {hostname} to {to}: "))?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).context("reading the host name")?;
    Ok(check_answer(line.trim(), hostname)?)
}

fn check_answer(answer: &str, hostname: &str) -> Result<(), Refused> {
    if answer == hostname {
        return Ok(());
    }
    let reason = format!("{answer:?} is not the host name {hostname}; nothing was changed");
    Err(Refused::new(reason, "run the command again on the machine that you mean"))
}

/// Writes the final initramfs to the staging folder and prepares the way into it.
fn stage(prepared: &Prepared, mode: Mode) -> anyhow::Result<Rung> {
    let (contents, deploy) = prepared.accept()?;
    let file = staging::prepare()?;
    let mut deploy = Deploy { mode, ..deploy.clone() };
    let disk = prepared.plan.disk.found.as_ref().map(|disk| disk.candidate.name.as_str());
    match last_attempt::set_aside(&deploy.payload.name, mode, disk.unwrap_or_default()) {
        Ok((began, place)) => (deploy.began, deploy.report) = (Some(began), Some(place)),
        Err(error) => {
            report::step(&format!("`anemos status` will not tell of a return: {error:#}"));
        }
    }
    report::step("assembling the final initramfs");
    let size = assemble::write(contents, &deploy, &file)?;
    // Its actual size may rule out some ways in.
    let plan = prepared.recheck(size)?;
    let kernel = plan.kernel.image.as_ref().context("finding the kernel")?;
    report::step(&format!("loading kernel and final initramfs of {size} bytes"));
    let next = Next { kernel: &kernel.path, initramfs: &file, command_line: &plan.command_line };
    entry::make_ready(&plan.entry.ladder, &prepared.facts, &next)
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::raise;

    use super::*;

    #[test]
    fn an_interruption_is_held_and_the_end_of_a_connection_is_none() {
        let held = Held::new().unwrap();
        raise(Signal::SIGHUP).unwrap();
        assert!(!held.interrupted());
        raise(Signal::SIGINT).unwrap();
        assert!(held.interrupted());
        assert!(!held.interrupted());
    }

    #[test]
    fn only_the_whole_host_name_lets_a_deployment_begin() {
        for (answer, accepted) in [
            ("vps", true),
            ("", false),
            ("y", false),
            ("yes", false),
            ("VPS", false),
            ("vps1", false),
        ] {
            assert_eq!(check_answer(answer, "vps").is_ok(), accepted, "{answer:?}");
        }
    }
}
