//! PID 1 of the deploy environment: the stages in their order, then the end.
//!
//! Before the first sector of the selected disk is written, every failure leads back to the old
//! system; after that, nothing is rebooted, and a shell waits on the console.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod boot_entry;
mod child;
mod disks;
mod ending;
mod environment;
mod holders;
mod identity;
mod known;
mod last_attempt;
mod left_overs;
mod limits;
mod memory;
mod modules;
mod mounts;
mod network;
mod others;
mod payload;
mod places;
mod processes;
mod read_only;
mod rehearsal;
mod report;
mod rescue;
mod signature;
mod sinks;
mod ssh;
mod timer;
mod tools;
mod uevents;
mod written;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::reboot::{RebootMode, set_cad_enabled};

use crate::manifest::Manifest;
use contract::attempt::Mode;
use contract::deploy::{AfterCommit, Deploy};
use contract::network::files;
use contract::paths;
use contract::stages::{Outcome, Stage};
use known::Known;
use report::Report;

/// Runs the deployment; returns only if the machine could not be rebooted.
pub fn run() -> ExitCode {
    let mut report = Report::start();
    report.timer.start();
    // Otherwise three keys on a console restart the machine, whatever it is doing (`reboot(2)`).
    let _on_another_system = set_cad_enabled(false);
    let mut known = Known::default();
    // A panic of PID 1 would become a kernel panic, which reboots whatever is on the disk.
    let result = catch_unwind(AssertUnwindSafe(|| deploy(&mut report, &mut known)))
        .unwrap_or_else(|_message_is_on_the_console| bail!("PID 1 panicked"));
    report.timer.pause();
    let outcome = match &result {
        Ok(()) if known.is_rehearsal() => Outcome::Returned,
        Ok(()) => Outcome::Deployed,
        Err(error) => {
            report.error(error);
            known.error = Some(report::one_line(error));
            // No disk can be written in a rehearsal, and nobody waits for its rescue.
            let rehearsal = known.is_rehearsal().then_some(Outcome::Returned);
            rehearsal.unwrap_or_else(|| {
                ending::outcome_of_failure(known.disk.as_ref(), known.has_begun())
            })
        }
    };
    let after_commit = known.deploy.as_ref().map(|deploy| deploy.after_commit).unwrap_or_default();
    match (outcome, after_commit) {
        (Outcome::Rescue, AfterCommit::Rescue) => {
            let wait = |report: &mut Report| rescue::wait(report, &known);
            while catch_unwind(AssertUnwindSafe(|| wait(&mut report))).is_err() {
                report.timer.pause();
                report.line("error: PID 1 panicked; the rescue begins anew");
            }
            ending::leave(&mut report, Outcome::Deployed, RebootMode::RB_AUTOBOOT);
        }
        (Outcome::Rescue, AfterCommit::PowerOff) => {
            ending::leave(&mut report, outcome, RebootMode::RB_POWER_OFF);
        }
        (Outcome::Rescue, AfterCommit::Reboot) | (Outcome::Deployed, _) => {
            ending::leave(&mut report, outcome, RebootMode::RB_AUTOBOOT);
        }
        (Outcome::Returned, _) => {
            report.timer.go_back();
            if known.is_rehearsal() {
                rehearsal::tell(&mut report, &known);
            }
            last_attempt::keep(&mut report, &known);
            ending::leave(&mut report, outcome, RebootMode::RB_AUTOBOOT);
        }
    }
    ExitCode::FAILURE
}

/// Runs every stage up to the reboot, filling in `known` on the way.
fn deploy(report: &mut Report, known: &mut Known) -> anyhow::Result<()> {
    let deploy = report.stage(Stage::VerifyInitramfs, |_| read_description())?;
    let deploy = known.deploy.insert(deploy).clone();
    report.timer.allow(Duration::from_secs(deploy.deploy_limit_secs));
    report.stage(Stage::Mount, |report| {
        mounts::mount_all()?;
        report.open_consoles();
        prepare_folders()?;
        places::make(report);
        limits::set(report);
        identity::take(report, &deploy);
        Ok(())
    })?;
    report.stage(Stage::Modules, |report| {
        modules::load(report, &deploy)?;
        boot_entry::remove(report);
        set_clock_floor(report, deploy.written_at)
    })?;
    known.prove("modules", &rehearsal::modules(&deploy));
    let disk = report.stage(Stage::Disks, |report| {
        let disk = disks::wait(report, &deploy.disk, &deploy.also_write)?;
        if deploy.mode == Mode::Rehearsal {
            disks::protect_all(report, &disk)?;
        }
        Ok(disk)
    })?;
    known.prove("disk", &format!("{} by {}", disk.device, disk.known_by));
    report.timer.know(known.disk.insert(disk));
    last_attempt::note(report, known, Stage::Network);
    let restored = report.stage(Stage::Network, |report| network::restore(report, &deploy))?;
    known.prove("network", &restored.proved);
    let mut network = deploy.network.clone().or(restored.network.clone()).unwrap_or_default();
    restored.reject_servers(&mut network);
    last_attempt::note(report, known, Stage::VerifyPayload);
    report.stage(Stage::VerifyPayload, |_| payload::verify(&deploy.payload))?;
    known.prove("payload", &format!("{} sha256:{}", deploy.payload.name, deploy.payload.sha256));
    last_attempt::note(report, known, Stage::Unpack);
    report.stage(Stage::Unpack, |report| payload::unpack(report, &deploy, known))?;
    let notes = files::write(&network, Path::new(paths::NETWORK))
        .with_context(|| format!("writing {}", paths::NETWORK))?;
    for note in notes {
        report.line(&format!("network files for {note}"));
    }
    if deploy.mode == Mode::Rehearsal {
        return Ok(());
    }
    last_attempt::note(report, known, Stage::Deploy);
    payload::run(report, known)
}

fn read_description() -> anyhow::Result<Deploy> {
    Manifest::check(Path::new("/"))?;
    let bytes = fs::read(Path::new("/").join(paths::DEPLOY)).context("reading the description")?;
    serde_json::from_slice(&bytes).context("parsing the deploy description")
}

fn prepare_folders() -> anyhow::Result<()> {
    for folder in [paths::WORK, paths::NEW_ROOT, paths::NETWORK, "/root", "/etc"] {
        fs::create_dir_all(folder).with_context(|| format!("making {folder}"))?;
    }
    Ok(())
}

/// Advances a clock that is behind the moment of assembling, because it is surely wrong.
///
/// Otherwise certificates and files would suffer.
fn set_clock_floor(report: &mut Report, floor: u64) -> anyhow::Result<()> {
    use nix::sys::time::TimeSpec;
    use nix::time::{ClockId, clock_gettime, clock_settime};
    let floor = i64::try_from(floor).context("reading the time of assembling")?;
    if clock_gettime(ClockId::CLOCK_REALTIME)?.tv_sec() < floor {
        report.line("the clock was earlier than the deployment; it is set to that moment");
        clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(floor, 0))?;
    }
    Ok(())
}
