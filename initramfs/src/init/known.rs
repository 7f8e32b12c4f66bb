//! What is known of a deployment at any moment.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use super::signature::Found;
use super::written::Selected;
use contract::attempt::Mode;
use contract::deploy::Deploy;
use contract::payload::Kind;
use contract::stages::Stage;

/// What is known of a deployment when it ends early.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// What is to be done.
    pub(super) deploy: Option<Deploy>,
    /// The selected disk.
    pub(super) disk: Option<Selected>,
    /// The stage that comes next, as the old system was told.
    pub(super) next: Option<Stage>,
    /// What the payload turned out to be.
    pub(super) kind: Option<Kind>,
    /// The environment of `deploy`.
    pub(super) environment: BTreeMap<String, String>,
    /// What a rehearsal has proved.
    pub(super) proved: Vec<String>,
    /// Why it ended early.
    pub(super) error: Option<String>,
    /// What the old system had on the disk; in a rescue there is more than that.
    pub(super) signatures: OnceCell<Vec<Found>>,
}

impl Known {
    /// Whether it is known that no disk is to be written.
    pub(super) fn is_rehearsal(&self) -> bool {
        self.deploy.as_ref().is_some_and(|deploy| deploy.mode == Mode::Rehearsal)
    }

    /// Whether `deploy` has been run, or nearly so.
    pub(super) fn has_begun(&self) -> bool {
        self.signatures.get().is_some()
    }

    /// Notes what was proved.
    pub(super) fn prove(&mut self, what: &str, how: &str) {
        self.proved.push(format!("{what}: {how}"));
    }
}
