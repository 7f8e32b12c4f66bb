//! The payload in the deploy environment: its digest, its files, its run.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::child::{self, Job};
use super::known::Known;
use super::others::Others;
use super::report::Report;
use super::written::sectors_written;
use super::{ending, environment, holders, left_overs, memory, tools};
use contract::deploy::{Deploy, PayloadMember};
use contract::paths;
use contract::payload::{self, Description, Limits};
use contract::stages::Stage;

/// Time that makeimg has for its check, less than the stage may take.
///
/// In it, makeimg reads an image description, asks the mirrors, and fetches what memory has room
/// for.
const CHECK_LIMIT: Duration = Duration::from_mins(25);

fn open() -> anyhow::Result<File> {
    File::open(Path::new("/").join(paths::PAYLOAD)).context("opening the payload")
}

/// Compares the digest of the payload with the one of the deploy description.
pub(super) fn verify(member: &PayloadMember) -> anyhow::Result<()> {
    let mut digest = Sha256::new();
    io::copy(&mut BufReader::with_capacity(1 << 20, open()?), &mut digest)
        .context("reading the payload")?;
    let seen = format!("{:x}", digest.finalize());
    if seen == member.sha256 {
        return Ok(());
    }
    bail!("the payload {} has the digest {seen} instead of {}", member.name, member.sha256)
}

/// Unpacks the payload, frees its memory, and returns its description.
fn extract(member: &PayloadMember) -> anyhow::Result<Description> {
    let limits = Limits { unpacked: member.unpacked_limit, ..Limits::default() };
    let reader = BufReader::with_capacity(1 << 20, open()?);
    let description = payload::unpack(reader, Path::new(paths::WORK), limits)
        .with_context(|| format!("unpacking {}", member.name))?;
    fs::remove_file(Path::new("/").join(paths::PAYLOAD)).context("removing the packed payload")?;
    Ok(description)
}

/// Unpacks the payload, then checks that everything it needs to run is there.
pub(super) fn unpack(
    report: &mut Report,
    deploy: &Deploy,
    known: &mut Known,
) -> anyhow::Result<()> {
    let unpacked = extract(&deploy.payload)?;
    let (members, bytes) = (unpacked.members, unpacked.unpacked);
    known.prove("unpacking", &format!("{members} members, {} in memory", memory::mib(bytes)));
    let disk = known.disk.as_ref().context("finding the disk again")?;
    known.environment = environment::of(deploy, disk, &unpacked.environment);
    known.kind = Some(unpacked.kind.clone());
    let path = known.environment.get("PATH").map(String::as_str).unwrap_or_default();
    let found = tools::check(&unpacked, path, Path::new(paths::WORK))?;
    let check = Job::check_of(&unpacked.kind, &disk.device);
    known.prove("tools", &found);
    if let Some(job) = check {
        child::run(report, &job, &known.environment, CHECK_LIMIT, &mut |_| {})?;
        known.prove("makeimg", "refuses nothing of the image description");
    }
    Ok(())
}

/// Runs `deploy`, then ensures that what it wrote is on the disk; a rescue may do so again.
pub(super) fn run(report: &mut Report, known: &Known) -> anyhow::Result<()> {
    let (Some(deploy), Some(disk), Some(kind)) = (&known.deploy, &known.disk, &known.kind) else {
        bail!("the deployment had not come far enough for that");
    };
    let job = Job::of(kind, &disk.device);
    let mut others = Others::of(disk);
    report.stage(Stage::Deploy, |report| {
        others.look(report);
        ending::unmount_all(report);
        if known.has_begun() {
            holders::release(report);
        }
        holders::hide_others(disk)?;
        known.signatures.get_or_init(|| left_overs::note(report, disk));
        let limit = Duration::from_secs(deploy.deploy_limit_secs);
        let look = &mut |report: &mut Report| others.look(report);
        child::run(report, &job, &known.environment, limit, look)
    })?;
    report.stage(Stage::Settle, |report| {
        ending::settle(report)?;
        others.compare(report);
        if !sectors_written(disk)? {
            bail!("`{}` ended with status 0, but nothing was written to {}", job.name, disk.device);
        }
        left_overs::erase(report, disk, known.signatures.get().map_or(&[], Vec::as_slice));
        Ok(())
    })
}
