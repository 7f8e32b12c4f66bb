//! The state of a deployment, as far as it is known at any moment.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::signature::Found;
use super::written::Selected;
use contract::attempt::Mode;
use contract::deploy::Deploy;
use contract::payload::Kind;
use contract::stages::Stage;

/// Everything that is known about a deployment if it ends early.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The deploy description.
    pub(super) deploy: Option<Deploy>,
    /// The selected disk.
    pub(super) disk: Option<Selected>,
    /// The stage that comes next, as the report for the old system says.
    pub(super) next: Option<Stage>,
    /// What the payload turned out to be.
    pub(super) kind: Option<Kind>,
    /// The environment of `deploy`.
    pub(super) environment: BTreeMap<String, String>,
    /// What a rehearsal has proved.
    pub(super) proved: Vec<String>,
    /// The reason why it ended early.
    pub(super) error: Option<String>,
    /// The old system's signatures on the disk; in a rescue there may be others by now.
    pub(super) signatures: OnceCell<Vec<Found>>,
}

impl Known {
    /// Returns whether it is known that no disk is to be written.
    pub(super) fn is_rehearsal(&self) -> bool {
        self.deploy.as_ref().is_some_and(|deploy| deploy.mode == Mode::Rehearsal)
    }

    /// Returns whether `deploy` has been run, or is about to be.
    pub(super) fn has_begun(&self) -> bool {
        self.signatures.get().is_some()
    }

    /// Notes what was proved.
    pub(super) fn prove(&mut self, what: &str, how: &str) {
        self.proved.push(format!("{what}: {how}"));
    }
}
