//! Finds the selected disk again and knows whether it was written.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::report::Report;
use super::uevents::Uevents;
use crate::disk::{DiskIdentity, sysfs};

/// How long a disk may take to appear: controllers of real servers need half a minute.
const LIMIT: Duration = Duration::from_secs(90);

/// The selected disk, as this kernel knows it.
#[derive(Debug)]
pub(super) struct Selected {
    /// Its name below `/sys/block`.
    name: String,
    /// Its device node.
    pub(super) device: String,
    /// Sectors written or discarded before `deploy` began.
    baseline: u64,
}

/// Waits until exactly one disk fits the identity.
pub(super) fn wait(report: &mut Report, wanted: &DiskIdentity) -> anyhow::Result<Selected> {
    let uevents = Uevents::subscribe().context("subscribing to device events")?;
    let deadline = Instant::now() + LIMIT;
    loop {
        let candidates = sysfs::read_all(Path::new("/sys"), Path::new("/dev"))?;
        let problem = match sysfs::choose(wanted, &candidates) {
            Ok(found) => {
                let selected = select(&found.name)?;
                report.line(&format!("disk {} is the selected one", selected.device));
                return Ok(selected);
            }
            Err(problem) => problem,
        };
        if !uevents.wait(deadline)? {
            bail!("{problem} (waited {} s for it)", LIMIT.as_secs());
        }
    }
}

fn select(name: &str) -> anyhow::Result<Selected> {
    let device = format!("/dev/{}", name.replace('!', "/"));
    Ok(Selected { device, baseline: sectors(name)?, name: name.to_owned() })
}

/// Whether anybody wrote to the disk or discarded sectors of it: the commit point.
/// What is still in the page cache counts once it was synced.
pub(super) fn sectors_written(disk: &Selected) -> anyhow::Result<bool> {
    Ok(sectors(&disk.name)? != disk.baseline)
}

fn sectors(name: &str) -> anyhow::Result<u64> {
    let path = format!("/sys/block/{name}/stat");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    parse_stat(&text).with_context(|| format!("parsing {path}"))
}

/// Adds up sectors written (field 7) and discarded (field 14, from Linux 4.18), as
/// `Documentation/block/stat.rst` numbers them from 1.
fn parse_stat(text: &str) -> anyhow::Result<u64> {
    let fields: Vec<_> = text.split_whitespace().collect();
    let number = |index: usize| -> anyhow::Result<u64> {
        fields.get(index).context("a field is missing")?.parse().context("a field is no number")
    };
    let discarded = if fields.len() > 13 { number(13)? } else { 0 };
    Ok(number(6)? + discarded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_discarded_sectors_are_added_up() {
        // From a guest with Linux 6.1; the second line as Linux 4.17 would print it.
        for (text, want) in [
            ("  446 3 21370 190 34 7 328 32 0 180 240 5 0 4096 9 12 8\n", Some(328 + 4096)),
            ("  446 3 21370 190 34 7 328 32 0 180 240\n", Some(328)),
            ("446 3\n", None),
        ] {
            assert_eq!(parse_stat(text).ok(), want, "{text}");
        }
    }
}
