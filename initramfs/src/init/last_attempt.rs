//! Leaves a report for the old system, in bytes that it has reserved on its disk.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use anyhow::{Context, bail};
use nix::fcntl::OFlag;

use super::known::Known;
use super::read_only;
use super::report::Report;
use contract::attempt::{self, Attempt, Place, SIZE};
use contract::paths;
use contract::stages::{Outcome, Stage};

/// Maximum number of log lines in a report.
const LINES: usize = 100;

/// Describes this attempt so far; without an outcome, the stage is the one that it is in.
pub(super) fn describe(report: &Report, known: &Known, outcome: Option<Outcome>) -> Attempt {
    let deploy = known.deploy.as_ref();
    let (stage, error) = match (outcome, &report.failed) {
        (Some(_), Some((stage, error))) => (Some(*stage), Some(error.clone())),
        (Some(_), None) => (None, known.error.clone()),
        (None, _) => (known.next, None),
    };
    Attempt {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode: deploy.map(|deploy| deploy.mode).unwrap_or_default(),
        payload: deploy.map(|deploy| deploy.payload.name.clone()).unwrap_or_default(),
        began: deploy.and_then(|deploy| deploy.began).unwrap_or_default(),
        disk: known.disk.as_ref().map(|disk| disk.device.clone()),
        outcome,
        stage,
        error,
        proved: if known.is_rehearsal() { known.proved.clone() } else { Vec::new() },
        log: Vec::new(),
    }
}

/// Writes the report, if there is a place for it; says so if that fails.
///
/// Only those bytes are overwritten that the old system has put there for it.
pub(super) fn keep(report: &mut Report, known: &Known) {
    if let Err(error) = write(report, known, Some(Outcome::Returned)) {
        report.line(&format!("the old system will not know of this: {error:#}"));
    }
}

/// Notes which stage comes next, in case the machine is reset during it.
///
/// What is written for that does not count as the commit point. If there is no place for it, the
/// end of the attempt says so.
pub(super) fn note(report: &mut Report, known: &mut Known, next: Stage) {
    known.next = Some(next);
    let written = write(report, known, None);
    if let Some(place) = known.deploy.as_mut().and_then(|deploy| deploy.report.as_mut())
        && let Ok(sha256) = written
    {
        place.sha256 = sha256;
    }
    // After a write that failed, too, because its sectors may have been counted all the same.
    let Some(disk) = &mut known.disk else { return };
    match disk.begin_anew() {
        Ok(()) => report.timer.know(disk),
        Err(error) => report.line(&format!("error: counting what is written: {error:#}")),
    }
}

/// Writes what is known, and returns the digest of that.
fn write(report: &Report, known: &Known, outcome: Option<Outcome>) -> anyhow::Result<String> {
    let place = known.deploy.as_ref().and_then(|deploy| deploy.report.as_ref());
    let place = place.context("it has set no place aside for a report")?;
    let disk = known.disk.as_ref().context("its disk was not found")?;
    let mut attempt = describe(report, known, outcome);
    let log = fs::read(paths::LOG).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().map(str::to_owned).collect();
    attempt.log = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default().to_vec();
    let bytes = attempt.to_bytes().context("rendering the report")?;
    // In a rehearsal every disk is read-only; these bytes are the only exception.
    if known.is_rehearsal() {
        read_only::lift(&disk.device).with_context(|| format!("opening {}", disk.device))?;
    }
    let written = put(&bytes, place, &disk.device);
    if known.is_rehearsal() {
        read_only::set(&disk.device).with_context(|| format!("protecting {}", disk.device))?;
    }
    written.map(|()| attempt::digest(&bytes))
}

/// Overwrites the place, whose present content must be what is expected there.
fn put(bytes: &[u8], place: &Place, device: &str) -> anyhow::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_SYNC.bits())
        .open(device)
        .with_context(|| format!("opening {device}"))?;
    let mut before = vec![0; SIZE];
    file.read_exact_at(&mut before, place.offset).context("reading the place of the report")?;
    if attempt::digest(&before) != place.sha256 {
        bail!("something else is in the place of the report");
    }
    file.write_all_at(bytes, place.offset).context("writing the report")?;
    file.sync_all().context("writing the report")
}
