//! Checks what must be true after a rehearsal on the machine: an unchanged disk, a report.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::aftermath;
use super::left::Left;
use super::rebuilt::Rebuilt;
use super::run::{Notes, Run};
use crate::classify::Class;
use crate::debugfs;
use crate::drive::error::DirectError;
use crate::evidence::STATUS;
use crate::file::FileError;
use crate::image;
use crate::verdict::{Ending, Verdict};

/// The file that contains the report; the old system has written it before the jump.
const REPORT: &str = "/var/lib/anemos/last-attempt";
/// Its size in bytes.
const REPORT_SIZE: u64 = 16 << 10;
/// Bytes that are compared at a time; a multiple of every block size.
const PIECE: usize = 1 << 20;

/// Judges what is left: the disk, then the old system, then what it says about the result.
pub(super) async fn rehearsed(
    left: &Left<'_>,
    notes: &mut Notes,
    verdict: Verdict,
) -> Result<Verdict, DirectError> {
    let host = left.run.host;
    host.progress.step("comparing the disk with what it was at the jump");
    let start = host.at();
    let compared =
        compare(left, notes.log_at_jump).await.map_err(FileError::new("comparing the disk"))?;
    notes.timed(host, "compare the disk", start);
    let mut verdict = aftermath::returned(left, notes, verdict).await?;
    let passed = verdict.verdict == Ending::Passed;
    if passed && verdict.old_system_back != Some(true) {
        (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::OldSystem));
    }
    let told = |line: &String| line.starts_with(STATUS) && line.contains("rehearsal passed: ");
    if passed && !verdict.evidence.iter().any(told) {
        (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::Expectation));
        verdict.reason += "; `anemos status` does not say that the rehearsal passed";
    }
    match compared {
        // Otherwise it proves nothing: what it was compared with may be just as late.
        Ok(Same { reported: 0, .. }) if passed => {
            (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::Expectation));
            verdict.reason += "; the report on the disk is as it was at the jump";
        }
        Ok(same) => verdict.evidence.push(format!(
            "disk: {} bytes are as they were at the jump; left out of them is {REPORT}, where {} \
             differ",
            same.bytes, same.reported
        )),
        Err(difference) => {
            (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::DiskWritten));
            verdict.evidence.push(format!("otherwise: {}", verdict.reason));
            verdict.reason = format!("the rehearsal wrote to the disk: {difference}");
        }
    }
    Ok(verdict)
}

/// Compares the disk, byte by byte, with the disk at the jump.
///
/// The jump is when the kernel of the deploy environment was heard. Only the blocks of the report
/// may differ, which are looked up in the file system here: what `anemos` says about them does not
/// count.
async fn compare(left: &Left<'_>, log_at_jump: u64) -> io::Result<Result<Same, String>> {
    let Run { hardware, workspace, .. } = left.run;
    let Some(log) = hardware.log() else { return Ok(Err("nobody looked".to_owned())) };
    let (before, after) = (workspace.join("before.raw"), workspace.join("after.raw"));
    let mut rebuilt = Rebuilt::new(left.disk, log, before.clone()).await?;
    rebuilt.go_to(log_at_jump)?;
    image::to_raw(left.disk, &after).await.map_err(io::Error::other)?;
    let report = debugfs::blocks(&after, REPORT).await?;
    let size: u64 = report.iter().map(|(start, end)| end - start).sum();
    if size > REPORT_SIZE {
        return Ok(Err(format!("{REPORT} has {size} bytes, more than a report")));
    }
    let compared = compare_files(&before, &after, &report)?;
    for path in [before, after] {
        std::fs::remove_file(path)?;
    }
    Ok(compared)
}

/// How much of two disks is the same.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Same {
    /// Bytes that must not differ, and do not.
    bytes: u64,
    /// Bytes that differ where they may.
    reported: u64,
}

/// Compares two files, which may differ only in the ranges `but`; otherwise returns how they do.
fn compare_files(
    before: &Path,
    after: &Path,
    but: &[(u64, u64)],
) -> io::Result<Result<Same, String>> {
    let (mut before, mut after) = (File::open(before)?, File::open(after)?);
    let (size, size_after) = (before.metadata()?.len(), after.metadata()?.len());
    if size != size_after {
        return Ok(Err(format!("it has {size_after} bytes instead of {size}")));
    }
    let (mut one, mut other) = (vec![0; PIECE], vec![0; PIECE]);
    let (mut at, mut same) = (0, Same::default());
    while at < size {
        let length = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
        let (one, other) = (&mut one[..length], &mut other[..length]);
        before.read_exact(one)?;
        after.read_exact(other)?;
        let exempt = |byte: u64| but.iter().any(|(start, end)| (*start..*end).contains(&byte));
        let touched = but.iter().any(|(start, end)| *start < at + length as u64 && at < *end);
        if !touched && one == other {
            same.bytes += length as u64;
        } else {
            for ((one, other), byte) in one.iter().zip(other.iter()).zip(at..) {
                match (exempt(byte), one == other) {
                    (false, false) => {
                        return Ok(Err(format!("byte {byte} is {other} instead of {one}")));
                    }
                    (false, true) => same.bytes += 1,
                    (true, equal) => same.reported += u64::from(!equal),
                }
            }
        }
        at += length as u64;
    }
    Ok(Ok(same))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts_but_those_that_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        let bytes = vec![7_u8; PIECE + 100];
        std::fs::write(&before, &bytes).unwrap();
        for (changed, but, want) in [
            (None, &[][..], Ok((1_048_676, 0))),
            (None, &[(0, 10)], Ok((1_048_666, 0))),
            (Some(0), &[], Err("byte 0 is 8 instead of 7")),
            (Some(1_048_675), &[], Err("byte 1048675 is 8 instead of 7")),
            (Some(1_048_580), &[(1_048_570, 1_048_581)], Ok((1_048_665, 1))),
            (Some(1_048_581), &[(1_048_570, 1_048_581)], Err("byte 1048581 is 8 instead of 7")),
        ] {
            let mut bytes = bytes.clone();
            if let Some(at) = changed {
                bytes[at] = 8;
            }
            std::fs::write(&after, &bytes).unwrap();
            let compared = compare_files(&before, &after, but).unwrap();
            let compared = compared.map(|same| (same.bytes, same.reported));
            assert_eq!(compared, want.map_err(str::to_owned), "{changed:?} {but:?}");
        }
        std::fs::write(&after, &bytes[1..]).unwrap();
        let shorter = compare_files(&before, &after, &[]).unwrap();
        assert_eq!(shorter, Err("it has 1048675 bytes instead of 1048676".to_owned()));
    }
}
