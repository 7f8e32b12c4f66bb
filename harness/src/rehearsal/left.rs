//! The disk that a deployment has left behind, which fresh guests boot.

use std::path::{Path, PathBuf};

use super::fresh::{self, Fresh, NEW_SYSTEM, TurnOff};
use super::judge::Expectation;
use super::jump;
use super::questions::{Ask, Checkup, Question};
use super::run::Run;
use crate::drive::error::DirectError;
use crate::drive::outside;
use crate::evidence::{ANSWER, Evidence, STATUS};
use crate::machine::setup::Way;
use crate::ssh::Ssh;
use crate::verdict::Verdict;

/// The name of the old system when it boots again.
pub(super) const OLD_SYSTEM: &str = "old-system-again";

/// Longest time that the new system must hold, in seconds.
const LONGEST_HOLD: f64 = 20.0;

/// A disk, with the place for the evidence of the guests that boot it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left<'a> {
    pub(super) run: &'a Run<'a>,
    pub(super) disk: &'a Path,
    pub(super) evidence: &'a Evidence,
}

impl Left<'_> {
    /// Boots the disks in a fresh machine, and judges the system that comes up.
    pub(super) async fn boot(
        &self,
        name: &'static str,
        wanted: Expectation,
    ) -> Result<Verdict, DirectError> {
        let Run { host, rehearsal, hardware, outside, .. } = self.run;
        let memory_mib = self.run.memory_mib();
        let disks = hardware.disks_after_reset(self.disk);
        let board = hardware.new_board();
        let slots = outside::slots_after_reset(rehearsal.setup.card_order);
        let questions = self.questions(name);
        let checkup = self.checkup().filter(|_| name != OLD_SYSTEM);
        let first_of_two = rehearsal.again && name == NEW_SYSTEM;
        let end = if first_of_two { TurnOff::ByButton } else { TurnOff::AtOnce };
        // A new system cannot reach anything else.
        let is_served = !host.served.is_empty();
        let server = is_served.then(|| host.server(&rehearsal.payload, &[]));
        let fresh = Fresh {
            board,
            outside,
            slots,
            memory_mib,
            disks,
            name,
            questions,
            checkup,
            server,
            end,
        };
        let part = self.evidence.part(name)?;
        Ok(fresh::judge(host, fresh, wanted, part.folder()).await?)
    }

    /// Returns what the new system must be like.
    pub(super) fn wanted(&self, old_root: Option<String>) -> Expectation {
        let rehearsal = self.run.rehearsal;
        let description = &rehearsal.fixture.description;
        Expectation {
            old_identity: description.identity.clone(),
            old_root,
            login: description.login.clone(),
            expect: rehearsal.expect.clone(),
            tcp: rehearsal.tcp,
            ssh: self.checks_ssh(),
            speaks: false,
            hold: self.run.host.factor.get().clamp(10.0, LONGEST_HOLD),
        }
    }

    /// Returns what to ask after a boot.
    ///
    /// The old system must report the result of a rehearsal; the new one must answer what the
    /// rehearsal asks.
    fn questions(&self, name: &str) -> Vec<Question> {
        let rehearsal = self.run.rehearsal;
        let ssh = || self.ssh(self.run.known_hosts());
        if rehearsal.setup.rehearse && name == OLD_SYSTEM {
            let ask = Ask::Command(jump::ask_for_status(&rehearsal.fixture.description.user));
            return vec![Question { ssh: ssh(), ask, mark: STATUS }];
        }
        if name == OLD_SYSTEM {
            return Vec::new();
        }
        let question = |ask: &Ask| Question { ssh: ssh(), ask: ask.clone(), mark: ANSWER };
        rehearsal.asks.iter().map(question).collect()
    }

    /// Returns how to see how the new system is, if it can be expected to let somebody in.
    fn checkup(&self) -> Option<Checkup> {
        let ssh = self.ssh(self.run.workspace.join("known_hosts.new"));
        let old_keys = self.run.known_hosts();
        (self.checks_ssh() || !self.run.rehearsal.asks.is_empty())
            .then_some(Checkup { ssh, old_keys })
    }

    /// Returns whether the new system should answer by SSH as the old one did.
    fn checks_ssh(&self) -> bool {
        let rehearsal = self.run.rehearsal;
        rehearsal.ssh_check && rehearsal.setup.entry != Way::Direct
    }

    /// Returns how to log in; the port is only known once there is a guest.
    fn ssh(&self, known_hosts: PathBuf) -> Ssh {
        let fixture = &self.run.rehearsal.fixture;
        let user = fixture.description.user.clone();
        Ssh { port: 0, user, key: fixture.key(), known_hosts }
    }
}
