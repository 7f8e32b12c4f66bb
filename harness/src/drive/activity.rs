//! Tells progress of a guest from what an idle one does now and then.

use std::collections::BTreeMap;

use crate::guest::{Traffic, What};

/// What has been counted as progress so far.
#[derive(Debug)]
pub(crate) struct Activity {
    /// Bytes that a disk moves before they count: an idle system writes its journal.
    at_least: u64,
    /// Bytes moved by each disk when they last counted.
    disks: BTreeMap<String, u64>,
}

impl Activity {
    /// Begins with a machine that was just switched on.
    pub(crate) fn new(at_least: u64) -> Self {
        Self { at_least, disks: BTreeMap::new() }
    }

    /// Returns whether what was seen is progress.
    pub(crate) fn shows(&mut self, what: &What) -> bool {
        let What::Disk(Traffic { disk, read, written }) = what else { return what.is_progress() };
        let (moved, counted) = (read + written, self.disks.entry(disk.clone()).or_default());
        // After a reset of the machine QEMU goes on counting.
        let enough = moved >= *counted + self.at_least;
        if enough {
            *counted = moved;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, read: u64, written: u64) -> What {
        What::Disk(Traffic { disk: name.to_owned(), read, written })
    }

    #[test]
    fn a_journal_is_not_progress_and_a_copy_is() {
        let mut activity = Activity::new(4 << 20);
        for (what, want) in [
            (disk("system", 5 << 20, 0), true),
            (disk("system", 5 << 20, 64 << 10), false),
            (disk("system", 5 << 20, 4 << 20), true),
            (disk("other", 1 << 20, 0), false),
            (disk("other", 4 << 20, 0), true),
            (disk("system", 9 << 20, 4 << 20), true),
            (disk("system", 9 << 20, 5 << 20), false),
            (What::Line("a word".to_owned()), true),
            (What::Packets(1 << 30), false),
        ] {
            assert_eq!(activity.shows(&what), want, "{what:?}");
        }
    }
}
