//! The report of the last attempt: a file that the deploy environment overwrites in place.

mod place;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use contract::attempt::Mode;
use contract::attempt::{self, Attempt, Place};

use crate::files::{if_there, read_if_there};
use crate::places::{LAST_ATTEMPT as FILE, PREVIOUS_ATTEMPT as PREVIOUS};

/// Fills the file with what is known before the jump, and returns where it is on `disk`.
///
/// `disk` is a kernel name. After an error, the file describes an attempt without an end.
pub(crate) fn set_aside(payload: &str, mode: Mode, disk: &str) -> anyhow::Result<(u64, Place)> {
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let attempt = Attempt {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        mode,
        payload: payload.to_owned(),
        began,
        ..Attempt::default()
    };
    let bytes = attempt.to_bytes().context("rendering the report")?;
    let describe = || format!("writing {FILE}");
    // Undoing this attempt must bring back the report before it.
    if_there(fs::rename(FILE, PREVIOUS)).with_context(describe)?;
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(0o600).open(FILE).with_context(describe)?;
    file.write_all(&bytes).with_context(describe)?;
    file.sync_all().with_context(describe)?;
    let offset = place::of(&file, bytes.len() as u64, disk)
        .with_context(|| format!("finding the place of {FILE} on the disk"))?;
    Ok((began, Place { offset, sha256: attempt::digest(&bytes) }))
}

/// Undoes [`set_aside`] for an attempt that has not ended, and restores the previous report.
///
/// If the attempt has a report of its own, that stays. Returns what it did.
pub(crate) fn take_back() -> anyhow::Result<Option<String>> {
    let describe = || format!("taking {FILE} back");
    match read()? {
        None => Ok(None),
        Some(Attempt { outcome, stage, .. }) if outcome.is_some() || stage.is_some() => {
            if_there(fs::remove_file(PREVIOUS)).with_context(describe)?;
            Ok(None)
        }
        Some(_) => {
            fs::remove_file(FILE).with_context(describe)?;
            if_there(fs::rename(PREVIOUS, FILE)).with_context(describe)?;
            Ok(Some(format!("took {FILE} back")))
        }
    }
}

/// Reads the report of the last attempt, if there was one.
pub(crate) fn read() -> anyhow::Result<Option<Attempt>> {
    read_at(Path::new(FILE))
}

/// Reads the report in a file; none if the file does not exist.
///
/// If the power failed while the report was being written, it is empty.
pub(crate) fn read_at(path: &Path) -> anyhow::Result<Option<Attempt>> {
    let bytes = read_if_there(path)?;
    Ok(bytes.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_default()))
}
