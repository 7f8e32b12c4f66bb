//! Rehearses the deployment of a payload on a simulated VPS.

use std::fs;
use std::io;
use std::path::PathBuf;

use crate::chain::{Aim, End, Timed};
use crate::classify::Class;
use crate::drive::direct::{self, Direct};
use crate::drive::error::DirectError;
use crate::drive::outside::{self, Outside};
use crate::evidence::Evidence;
use crate::file::FileError;
use crate::host::Host;
use crate::image;
use crate::machine::setup::{Sector, Way};
use crate::residue;
use crate::verdict::{Ending, Verdict};

mod aftermath;
mod fresh;
mod hardware;
pub mod judge;
mod jump;
mod kept;
mod left;
mod old_system;
mod power;
mod questions;
mod rebuilt;
mod rehearsed;
mod run;
mod saved;

use fresh::{NEW_SYSTEM, NEW_SYSTEM_AGAIN};
use jump::Jump;
use left::Left;
pub use questions::{Ask, FACTS_FILE};
pub use run::{Control, Disks, Rehearsal};
use run::{Notes, Others, Run};

/// Where the facts of the old system are kept, in the folder of the evidence.
pub const FACTS: &str = "old-system/facts.json";

/// Rehearses; what the guests leave is in the evidence folder, but not verdict and times.
pub async fn rehearse(
    host: &Host,
    rehearsal: &Rehearsal,
    evidence: &Evidence,
) -> Result<(Verdict, Vec<Timed>), DirectError> {
    let mut run = Run::new(host, rehearsal)?;
    let mut notes = Notes::default();
    let mut verdict = match run.start_router(evidence).await? {
        Some(verdict) => verdict,
        None => whole(&run, &mut notes, rehearsal.setup.entry, evidence).await?,
    };
    if wants_control(&run, &verdict) {
        blame(&mut run, &notes, &mut verdict, evidence).await?;
    }
    let deployed = verdict.verdict == Ending::Passed && !rehearsal.setup.rehearse;
    if deployed {
        verdict.warnings.extend(residue(&run).await);
    }
    // Before power cuts are tried on them.
    kept::keep(&run, evidence)?;
    if deployed && rehearsal.power_cuts > 0 {
        let left = Left { run: &run, disk: &run.disk(), evidence };
        power::cuts(&left, notes.log_at_jump, &mut verdict).await?;
    }
    run.outside.end(&mut verdict).await;
    verdict.added = run.hardware.added();
    verdict.struck.clone_from(&notes.struck);
    host.progress.finish();
    Ok((verdict, notes.times))
}

/// Deploys one way and judges the outcome; the witness has the last word.
async fn whole(
    run: &Run<'_>,
    notes: &mut Notes,
    way: Way,
    evidence: &Evidence,
) -> Result<Verdict, DirectError> {
    notes.others = Others::NotCompared;
    let written = run.hardware.write_others(&system_of_others(run)?).await;
    written.map_err(FileError::new("writing the other disks"))?;
    let left = Left { run, disk: &run.disk_of(way), evidence };
    let verdict = match way {
        Way::Direct => quick(&left, notes).await?,
        Way::Jump | Way::Kexec | Way::Bootloader => jump(&left, notes).await?,
    };
    if notes.others == Others::Compared {
        return Ok(verdict);
    }
    Ok(match others_written(run).await? {
        None => verdict,
        Some(mut written) => {
            written.evidence.push(format!("otherwise: {}", verdict.reason));
            written
        }
    })
}

/// Returns the verdict on a deployment that wrote to another disk, if it did.
async fn others_written(run: &Run<'_>) -> Result<Option<Verdict>, DirectError> {
    let written = run.hardware.written(&system_of_others(run)?).await;
    let written = written.map_err(FileError::new("reading the other disks"))?;
    Ok(written.map(|reason| Verdict::failed(Class::OtherDiskWritten, reason, Vec::new())))
}

/// Returns the image that a clone is one of.
fn system_of_others(run: &Run<'_>) -> Result<PathBuf, DirectError> {
    let fixture = std::path::absolute(run.rehearsal.fixture.disk());
    Ok(fixture.map_err(FileError::new("finding the fixture"))?)
}

async fn jump(left: &Left<'_>, notes: &mut Notes) -> Result<Verdict, DirectError> {
    let Left { run, disk, evidence } = *left;
    let Rehearsal { fixture, setup, .. } = run.rehearsal;
    let jump = Jump {
        fixture,
        payload: &run.rehearsal.payload,
        config: run.rehearsal.config.as_deref(),
        board: run.hardware.deploy_board(),
        memory_mib: run.memory_mib(),
        faults: &setup.faults,
        outside: &run.outside,
        keep_facts: run.rehearsal.keep_facts,
        slots: outside::slots_at_first(setup.card_order),
        way: setup.entry,
        aim: if setup.rehearse { Aim::Rehearsal } else { Aim::Deployment },
        prepare: setup.prepare.as_deref(),
        rescue: setup.rescue.as_deref(),
        disks: run.hardware.disks(disk),
        disk,
        disk_size: run.disk_size(),
        known_hosts: &run.known_hosts(),
    };
    let part = evidence.part("old-system")?;
    let jumped = jump::deploy(run.host, &jump, part.folder()).await?;
    notes.times.extend(jumped.times);
    notes.log_at_jump = jumped.log_at_jump;
    notes.struck = jumped.struck;
    after(left, notes, jumped.end, jumped.old_root).await
}

async fn quick(left: &Left<'_>, notes: &mut Notes) -> Result<Verdict, DirectError> {
    let Left { run, disk, evidence } = *left;
    // A control run may follow a rehearsal in the same folder.
    drop(fs::remove_file(disk));
    if let Err(error) = image::create(disk, run.disk_size()).await {
        return Ok(Verdict::broken(Class::FixtureFailed, error.to_string(), Vec::new()));
    }
    let fixture = &run.rehearsal.fixture;
    let Some(modules) = fixture.modules() else {
        let reason = "the fixture has no modules";
        return Ok(Verdict::broken(Class::FixtureFailed, reason, Vec::new()));
    };
    let (kernel, keys) = (fixture.kernel(), fixture.folder.join("key.pub"));
    let direct = Direct {
        payload: &run.rehearsal.payload,
        config: run.rehearsal.config.as_deref(),
        kernel: &kernel,
        modules: &modules,
        authorized_keys: Some(&keys),
        serial: hardware::SERIAL,
        board: run.hardware.deploy_board(),
        memory_mib: run.memory_mib(),
        outside: &run.outside,
        faults: &run.rehearsal.setup.faults,
        disks: run.hardware.disks(disk),
        work: run.workspace.folder().to_owned(),
    };
    let part = evidence.part("deploy")?;
    let done = direct::deploy(run.host, &direct, part.folder()).await?;
    notes.times.extend(done.times);
    notes.struck = done.struck;
    after(left, notes, done.end, None).await
}

/// Continues after the deploy environment: a fresh guest with only the disks.
async fn after(
    left: &Left<'_>,
    notes: &mut Notes,
    end: End,
    old_root: Option<String>,
) -> Result<Verdict, DirectError> {
    let Run { host, rehearsal, .. } = left.run;
    match end {
        End::Failed(verdict) => Ok(verdict),
        End::Deployed => {
            // What the new system does with other disks is not the deployment's fault.
            notes.others = Others::Compared;
            if let Some(written) = others_written(left.run).await? {
                return Ok(written);
            }
            let start = host.at();
            let wanted = left.wanted(old_root);
            let mut verdict = left.boot(NEW_SYSTEM, wanted.clone()).await?;
            if rehearsal.again && verdict.verdict == Ending::Passed {
                verdict = left.boot(NEW_SYSTEM_AGAIN, wanted).await?;
            }
            verdict.outcome = Some("deployed".to_owned());
            if let Some(written) = others_written(left.run).await? {
                verdict.warnings.push(format!("the new system did more: {}", written.reason));
            }
            notes.timed(host, "judge new system", start);
            Ok(verdict)
        }
        End::Returned(verdict) if rehearsal.setup.entry == Way::Direct => Ok(verdict),
        End::Returned(verdict) if verdict.class == Some(Class::Cut) && rehearsal.cuts_power() => {
            let cut = power::cut(left.run, notes.log_at_jump, left.disk).await;
            let mut verdict = verdict;
            verdict.evidence.extend(cut.map_err(FileError::new("rebuilding the disk"))?);
            aftermath::returned(left, notes, verdict).await
        }
        End::Returned(verdict) if rehearsal.setup.rehearse => {
            rehearsed::rehearsed(left, notes, verdict).await
        }
        End::Returned(verdict) => aftermath::returned(left, notes, verdict).await,
    }
}

/// Checks what is left on the disk that should not be; if that is impossible, one warning says so.
async fn residue(run: &Run<'_>) -> Vec<String> {
    let setup = &run.rehearsal.setup;
    if setup.system_disk().sector != Sector::Bytes512 {
        return Vec::new();
    }
    let work = run.workspace.folder();
    let looked = async {
        let after = residue::Disk::read(&run.disk(), work).await?;
        let before = match setup.entry {
            Way::Direct => residue::Disk::default(),
            _ => residue::Disk::read(&run.rehearsal.fixture.disk(), work).await?,
        };
        Ok::<_, io::Error>(residue::warnings(&before, &after))
    };
    looked.await.unwrap_or_else(|error| vec![format!("the disk was not looked at: {error}")])
}

fn wants_control(run: &Run<'_>, verdict: &Verdict) -> bool {
    let may_be = verdict.class.is_some_and(Class::may_be_the_payload);
    let setup = &run.rehearsal.setup;
    let alone = setup.entry == Way::Direct || setup.rehearse;
    let asked = run.rehearsal.control == Control::Run && !alone;
    may_be && asked && !run.host.is_over()
}

/// Runs the payload alone; the notes of that do not belong to the rehearsal's notes.
async fn blame(
    run: &mut Run<'_>,
    notes: &Notes,
    verdict: &mut Verdict,
    evidence: &Evidence,
) -> Result<(), DirectError> {
    run.host.progress.note("it failed; a control run tells whose fault it is");
    let part = evidence.part("control")?;
    // There is no old system to learn a network from that is not QEMU's own.
    let outside = std::mem::replace(&mut run.outside, Outside::Host);
    let control = whole(run, &mut notes.clone(), Way::Direct, &part).await;
    run.outside = outside;
    let control = control?;
    if run.host.is_over() {
        verdict.evidence.push("control run: there was no time left for it".to_owned());
        return Ok(());
    }
    verdict.blame = control.blame_by_control();
    verdict.evidence.push(format!("control run: {}: {}", control.verdict, control.reason));
    Ok(())
}
