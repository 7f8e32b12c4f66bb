//! Rebuilds the disk as a power cut leaves it, and tells what boots from it then.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::command::CommandError;
use crate::image;
use crate::verdict::{Boots, PowerCut};
use crate::write_log::{Flush, WriteLog};

/// Tells what is wrong with what boots after power cuts in a row, from the jump to the last flush.
///
/// Before the first write the old system must boot, and after the last one the new system; what
/// lies between is the payload's own affair.
pub(super) fn complaint(cuts: &[PowerCut], expected: Boots) -> Option<String> {
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

/// Chooses `number` of the flushes: the first, the last, and others evenly between them.
pub(super) fn choose(flushes: &[Flush], number: usize) -> Vec<(usize, Flush)> {
    let last = flushes.len().saturating_sub(1);
    let steps = number.saturating_sub(1).max(1);
    let mut places: Vec<usize> = (0..=steps).map(|step| step * last / steps).collect();
    places.dedup();
    places.into_iter().filter_map(|place| Some((place, *flushes.get(place)?))).collect()
}

/// The disk as it was when the machine was switched on, and what was written since.
#[derive(Debug)]
pub(super) struct Rebuilt {
    raw: PathBuf,
    log: WriteLog,
}

impl Rebuilt {
    /// Begins with what `disk`, a qcow2 image, was made on; `raw` is where it is rebuilt.
    pub(super) async fn new(disk: &Path, log: &Path, raw: PathBuf) -> io::Result<Self> {
        let failed = |error: CommandError| io::Error::other(error);
        image::backing_as_raw(disk, &raw).await.map_err(failed)?;
        Ok(Self { raw, log: WriteLog::open(log)? })
    }

    /// Makes the raw image what the disk is at the place `at` of the log.
    pub(super) fn go_to(&mut self, at: u64) -> io::Result<()> {
        let raw = File::options().write(true).open(&self.raw)?;
        self.log.replay(&raw, at)
    }

    /// Puts the disk as it is at the place `at` of the log in place of `disk`.
    pub(super) async fn put(&mut self, at: u64, disk: &Path) -> io::Result<()> {
        self.go_to(at)?;
        // Whole by itself: it may be kept, and the raw one goes on to the next place.
        image::from_raw(disk, &self.raw).await.map_err(io::Error::other)
    }
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
