//! The disk that a deployment has left behind, which fresh guests boot.

use std::path::Path;

use super::fresh::{self, Fresh, NEW_SYSTEM, Question, TurnOff};
use super::judge::Expectation;
use super::jump;
use super::run::Run;
use crate::drive::error::DirectError;
use crate::drive::outside;
use crate::evidence::{ANSWER, Evidence, STATUS};
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
        let question = self.question(name);
        let first_of_two = rehearsal.again && name == NEW_SYSTEM;
        let end = if first_of_two { TurnOff::ByButton } else { TurnOff::AtOnce };
        // A new system cannot reach anything else.
        let is_served = !host.served.is_empty();
        let server = is_served.then(|| host.server(&rehearsal.payload, &[]));
        let fresh = Fresh { board, outside, slots, memory_mib, disks, name, question, server, end };
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
            speaks: false,
            hold: self.run.host.factor.get().clamp(10.0, LONGEST_HOLD),
        }
    }

    /// Returns what to ask after a boot, if anything.
    ///
    /// The old system must report the result of a rehearsal; the new one must answer what the
    /// rehearsal asks.
    fn question(&self, name: &str) -> Option<Question> {
        let rehearsal = self.run.rehearsal;
        let fixture = &rehearsal.fixture;
        let user = fixture.description.user.clone();
        let (command, mark) = match &rehearsal.ask {
            _ if rehearsal.setup.rehearse && name == OLD_SYSTEM => {
                (jump::ask_for_status(&user), STATUS)
            }
            Some(command) if name != OLD_SYSTEM => (command.clone(), ANSWER),
            _ => return None,
        };
        // Its port is only known once there is a guest.
        let known_hosts = self.run.known_hosts();
        let ssh = Ssh { port: 0, user, key: fixture.key(), known_hosts };
        Some(Question { ssh, command, mark })
    }
}
