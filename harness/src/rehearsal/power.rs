//! Finds out what boots from a disk after a power cut.

use std::io;
use std::path::Path;

use super::fresh::NEW_SYSTEM;
use super::left::Left;
use super::rebuilt::Rebuilt;
use super::run::Run;
use crate::classify::Class;
use crate::drive::error::DirectError;
use crate::file::FileError;
use crate::machine::setup::Way;
use crate::size::Size;
use crate::verdict::{Boots, Ending, PowerCut, Verdict};
use crate::write_log::{Flush, WriteLog};

/// Removes from the disk what had not been flushed when the power failed; describes that.
pub(super) async fn cut(
    run: &Run<'_>,
    log_at_jump: u64,
    disk: &Path,
) -> io::Result<Option<String>> {
    let Some((mut rebuilt, flushes)) = rebuilt(run, log_at_jump, disk).await? else {
        return Ok(None);
    };
    let Some(last) = flushes.last() else { return Ok(None) };
    rebuilt.put(last.at, disk).await?;
    let (number, written) = (flushes.len() - 1, Size::of_bytes(last.written));
    Ok(Some(format!("the disk is as of its flush {number} since the jump, {written} written")))
}

async fn rebuilt(
    run: &Run<'_>,
    log_at_jump: u64,
    disk: &Path,
) -> io::Result<Option<(Rebuilt, Vec<Flush>)>> {
    let Some(log) = run.hardware.log() else { return Ok(None) };
    let flushes = WriteLog::open(log)?.flushes(log_at_jump)?;
    let rebuilt = Rebuilt::new(disk, log, run.workspace.join("rebuilt.raw")).await?;
    Ok(Some((rebuilt, flushes)))
}

/// Checks what boots after power cuts in the run that has just passed.
pub(super) async fn cuts(
    left: &Left<'_>,
    log_at_jump: u64,
    verdict: &mut Verdict,
) -> Result<(), DirectError> {
    let Left { run, disk, evidence } = *left;
    let rebuilding = || FileError::new("rebuilding the disk");
    let found = rebuilt(run, log_at_jump, disk).await.map_err(rebuilding())?;
    let Some((mut rebuilt, flushes)) = found else { return Ok(()) };
    for (number, flush) in choose(&flushes, run.rehearsal.power_cuts) {
        rebuilt.put(flush.at, disk).await.map_err(rebuilding())?;
        let part = evidence.part(&format!("power-cut-{number}"))?;
        let left = Left { evidence: &part, ..*left };
        // Not by its root: only its own words show that the old system boots.
        let judged = left.boot(NEW_SYSTEM, left.wanted(None)).await?;
        let cut = PowerCut::new(number, flush.written, &judged);
        let (written, boots) = (Size::of_bytes(cut.written), cut.boots.name());
        let note = format!("power cut at flush {number} ({written} written): boots {boots}");
        run.host.progress.note(&note);
        verdict.power_cuts.push(cut);
    }
    let direct = run.rehearsal.setup.entry == Way::Direct;
    let before = if direct { Boots::Nothing } else { Boots::OldSystem };
    if let Some(complaint) = complaint(&verdict.power_cuts, before) {
        (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::Cut));
        verdict.reason = complaint;
    }
    Ok(())
}

/// Returns what is wrong with what boots after power cuts in a row, from jump to last flush.
///
/// Before the first write the old system must boot, and after the last one the new system; what is
/// between is up to the payload.
fn complaint(cuts: &[PowerCut], expected: Boots) -> Option<String> {
    let wrong = |cut: &&PowerCut| cut.written == 0 && cut.boots != expected;
    let early = cuts.iter().find(wrong).map(|cut| (cut, expected));
    let late = cuts.last().filter(|cut| cut.boots != Boots::NewSystem);
    let (cut, want) = early.or(late.map(|cut| (cut, Boots::NewSystem)))?;
    let PowerCut { flush, written, boots, reason } = cut;
    Some(format!(
        "after a power cut at flush {flush}, with {written} bytes written, the machine boots {}, \
         not the {}: {reason}",
        boots.name(),
        want.name(),
    ))
}

/// Selects `number` of the flushes: the first, the last, and others evenly between them.
fn choose(flushes: &[Flush], number: usize) -> Vec<(usize, Flush)> {
    let last = flushes.len().saturating_sub(1);
    let steps = number.saturating_sub(1).max(1);
    let mut places: Vec<usize> = (0..=steps).map(|step| step * last / steps).collect();
    places.dedup();
    places.into_iter().filter_map(|place| Some((place, *flushes.get(place)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(written: u64, boots: Boots) -> PowerCut {
        PowerCut { flush: 1, written, boots, reason: "so".to_owned() }
    }

    #[test]
    fn the_old_system_must_boot_before_and_the_new_one_after() {
        use Boots::{NewSystem, Nothing, OldSystem};
        for (boots, want) in [
            (&[(0, OldSystem), (9, Nothing), (20, NewSystem)][..], None),
            (&[(0, OldSystem), (9, OldSystem), (20, NewSystem)], None),
            (
                &[(0, Nothing), (20, NewSystem)],
                Some("with 0 bytes written, the machine boots nothing, not the old system"),
            ),
            (
                &[(0, OldSystem), (20, Nothing)],
                Some("with 20 bytes written, the machine boots nothing, not the new system"),
            ),
        ] {
            let cuts: Vec<_> = boots.iter().map(|&(written, boots)| cut(written, boots)).collect();
            let said = complaint(&cuts, OldSystem);
            assert_eq!(said.is_some(), want.is_some(), "{boots:?}: {said:?}");
            assert!(said.unwrap_or_default().contains(want.unwrap_or_default()), "{boots:?}");
        }
    }

    #[test]
    fn the_first_and_the_last_flush_are_always_chosen() {
        let flushes: Vec<_> = (0..9).map(|at| Flush { at, written: at }).collect();
        for (number, want) in [
            (2, &[0, 8][..]),
            (3, &[0, 4, 8]),
            (5, &[0, 2, 4, 6, 8]),
            (90, &[0, 1, 2, 3, 4, 5, 6, 7, 8]),
        ] {
            let chosen: Vec<_> = choose(&flushes, number).iter().map(|(place, _)| *place).collect();
            assert_eq!(chosen, want, "{number}");
        }
    }
}
