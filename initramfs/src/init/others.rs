//! The disks that nobody may write to, for as long as `deploy` runs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::disks;
use super::report::Report;
use super::written::{self, Selected};

/// Those disks, with the sectors that had been written to each when it was protected.
#[derive(Debug)]
pub(super) struct Others<'d> {
    selected: &'d Selected,
    known: BTreeMap<String, u64>,
}

impl<'d> Others<'d> {
    /// All but the selected one and those that may be written too; none is protected yet.
    pub(super) fn of(selected: &'d Selected) -> Self {
        Self { selected, known: BTreeMap::new() }
    }

    /// Protects those that have appeared since the last look: a disk may come long after the
    /// selected one.
    pub(super) fn look(&mut self, report: &mut Report) {
        for name in disks::others(self.selected) {
            if let Entry::Vacant(new) = self.known.entry(name) {
                disks::protect(report, new.key());
                let written = written::sectors(new.key()).unwrap_or(0);
                new.insert(written);
            }
        }
    }

    /// Says which were written all the same: the kernel does not ask for the flag what is mapped
    /// onto a disk (Linux 6.1, `block/blk-core.c`, `bio_check_ro`).
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
