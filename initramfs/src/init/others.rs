//! The disks that nobody may write to while `deploy` runs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::disks;
use super::report::Report;
use super::written::{self, Selected};

/// Those disks, with the number of sectors that were written to each when it was protected.
#[derive(Debug)]
pub(super) struct Others<'d> {
    selected: &'d Selected,
    known: BTreeMap<String, u64>,
}

impl<'d> Others<'d> {
    /// Returns all disks but the writable ones; none of them is protected yet.
    pub(super) fn of(selected: &'d Selected) -> Self {
        Self { selected, known: BTreeMap::new() }
    }

    /// Protects those that have appeared since the last look, maybe long after the selected one.
    pub(super) fn look(&mut self, report: &mut Report) {
        for name in disks::others(self.selected) {
            if let Entry::Vacant(new) = self.known.entry(name) {
                disks::protect(report, new.key());
                let written = written::sectors(new.key()).unwrap_or(0);
                new.insert(written);
            }
        }
    }

    /// Reports which were written all the same.
    ///
    /// The kernel does not check the flag for what is mapped onto a disk (Linux 6.1,
    /// `block/blk-core.c`, `bio_check_ro`).
    pub(super) fn compare(&self, report: &mut Report) {
        for (name, before) in &self.known {
            let now = written::sectors(name).unwrap_or(*before);
            if now > *before {
                let sectors = now - before;
                let node = disks::node(name);
                report.line(&format!(
                    "error: {sectors} sectors were written to {node}, which is read-only"
                ));
            }
        }
    }
}
