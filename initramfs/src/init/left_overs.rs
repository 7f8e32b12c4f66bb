//! Erases signatures that the old system has left on the disk of the new one.
//!
//! Nothing of the old system is ever assembled: there is no udev that would do so, and the kernel
//! looks for arrays by itself only if it has no initramfs. So no layer inside another one is seen
//! here, and of two layers the inner one is erased first: partitions, then the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::disks;
use super::processes::{command, exists};
use super::report::Report;
use super::signature::{COLUMNS, Device, Found, Judgement, judge, parse};
use super::written::Selected;

/// Number of bytes around a magic that are compared.
const SECTOR: usize = 512;

/// Notes the signatures of the disk and its partitions before the payload runs.
///
/// It also reports which of them could be assembled but are not.
pub(super) fn note(report: &mut Report, disk: &Selected) -> Vec<Found> {
    if tool("wipefs").is_none() {
        report.line("no wipefs is here: what the old system leaves is not looked for");
        return Vec::new();
    }
    let mut noted = Vec::new();
    for place in places(disk) {
        match list(&place) {
            Ok(found) => {
                let holders: Vec<_> =
                    found.iter().filter(|found| found.signature.is_holder()).collect();
                if !holders.is_empty() {
                    let kinds = kinds(&holders);
                    report.line(&format!("{kinds} on {} is not assembled", place.device));
                }
                noted.extend(found);
            }
            Err(error) => say_unknown(report, &place, &error),
        }
    }
    noted
}

/// Erases old signatures that are left beside new ones; reports which, and which stay.
///
/// This is for the time after the commit point, when everything is unmounted. Only the magic bytes
/// are overwritten, where no new signature covers them. Whatever cannot be done is only reported,
/// because the new system is complete.
pub(super) fn erase(report: &mut Report, disk: &Selected, noted: &[Found]) {
    if noted.is_empty() {
        return;
    }
    // Only then are the partitions of a written image known. The kernel refuses if one is in use.
    if let Err(error) = run("blockdev", &["--rereadpt", &disk.device]) {
        report.line(&format!("the partition table is not read again: {error:#}"));
    }
    for place in places(disk) {
        match list(&place) {
            Ok(found) => settle(report, &place, judge(place.kind, &found, noted)),
            Err(error) => say_unknown(report, &place, &error),
        }
    }
}

fn settle(report: &mut Report, place: &Place, judgement: Judgement<'_>) {
    let device = &place.device;
    match judgement {
        Judgement::New => {}
        Judgement::Untouched(old) => {
            report.line(&format!("nothing new is on {device} beside the old {}", kinds(&old)));
        }
        Judgement::Doubtful(old) => report.line(&format!(
            "{} of the old system stays on {device}: it may belong to what is new there",
            kinds(&old)
        )),
        Judgement::LeftOver { old, beside } => {
            for found in old {
                let (kind, at) = (&found.signature.kind, format!("{:#x}", found.signature.offset));
                let beside = &beside.signature.kind;
                let which = format!("{kind} of the old system at {at} of {device}");
                // Without --force, wipefs refuses this on a device in use.
                report.line(&match run("wipefs", &["--quiet", "--offset", &at, device]) {
                    Ok(_nothing) => format!("erased {which}, beside the new {beside}"),
                    Err(error) => format!("{which} stays: {error:#}"),
                });
            }
        }
    }
}

/// A device that may have signatures.
#[derive(Debug)]
struct Place {
    device: String,
    /// Its first byte on the disk.
    start: u64,
    kind: Device,
}

/// Returns the devices of a disk, the inner ones first.
fn places(disk: &Selected) -> Vec<Place> {
    let partitions = disks::partitions(disk).into_iter();
    let mut places: Vec<_> = partitions
        .map(|(device, start)| Place { device, start, kind: Device::Partition })
        .collect();
    places.push(Place { device: disk.device.clone(), start: 0, kind: Device::Disk });
    places
}

fn list(place: &Place) -> anyhow::Result<Vec<Found>> {
    let listed = run("wipefs", &["--json", "--output", COLUMNS, &place.device])?;
    let device = File::open(&place.device).with_context(|| format!("opening {}", place.device))?;
    let found = parse(&listed)?.into_iter().map(|signature| {
        let mut sector = vec![0; SECTOR];
        let at = signature.offset - signature.offset % SECTOR as u64;
        device.read_exact_at(&mut sector, at).with_context(|| format!("reading at {at:#x}"))?;
        Ok(Found { signature, start: place.start, sector })
    });
    found.collect()
}

fn say_unknown(report: &mut Report, place: &Place, error: &anyhow::Error) {
    report.line(&format!("the signatures on {} are not known: {error:#}", place.device));
}

/// Names what was found, each kind once, because some have many signatures on one device.
fn kinds(found: &[&Found]) -> String {
    let mut kinds: Vec<_> = found.iter().map(|found| found.signature.kind.as_str()).collect();
    kinds.dedup();
    kinds.join(", ")
}

/// Runs a tool of the base, and returns what it printed.
fn run(name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let program = tool(name).with_context(|| format!("no {name} is here"))?;
    let line = || format!("{name} {}", arguments.join(" "));
    let ended = command(&program).args(arguments).output();
    let ended = ended.with_context(|| format!("running {}", line()))?;
    if ended.status.success() {
        return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&ended.stderr);
    let last = said.lines().next_back().unwrap_or_default();
    bail!("{} ended with {}: {last}", line(), ended.status)
}

fn tool(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    let mut paths = folders.iter().map(|folder| format!("{folder}/{name}"));
    paths.find(|path| exists(path)).map(|path| Path::new(&path).to_owned())
}
