//! Tells what boots after a deployment, or after one that did not come to its end.

use std::path::Path;

use regex::Regex;

use super::fresh::{Fresh, NEW_SYSTEM, TurnOff};
use super::judge::Expectation;
use super::{LONGEST_HOLD, Run, fresh, jump};
use crate::drive::error::DirectError;
use crate::drive::outside;
use crate::evidence::STATUS;
use crate::ssh;
use crate::verdict::{Boots, Ending, Verdict};

/// What the old system is called when it boots again.
pub(super) const OLD_SYSTEM: &str = "old-system-again";

impl Run<'_> {
    /// Boots the disks in a fresh machine, and judges the system that comes up.
    pub(super) async fn fresh(
        &self,
        name: &'static str,
        wanted: Expectation,
        disk: &Path,
        folder: &Path,
    ) -> Result<Verdict, DirectError> {
        let memory_mib = self.memory_mib();
        let disks = self.hardware.disks_after_reset(disk);
        let (board, outside) = (self.hardware.new_board(), &self.outside);
        let slots = outside::slots_after_reset(self.rehearsal.setup.card_order);
        let question = self.question(name);
        let first_of_two = self.rehearsal.again && name == NEW_SYSTEM;
        let end = if first_of_two { TurnOff::ByButton } else { TurnOff::AtOnce };
        // Nothing else can be reached by a new system.
        let is_served = !self.host.served.is_empty();
        let server = is_served.then(|| self.host.server(&self.rehearsal.payload, &[]));
        let fresh = Fresh { board, outside, slots, memory_mib, disks, name, question, server, end };
        Ok(fresh::judge(self.host, fresh, wanted, &jump::part(folder, name)?).await?)
    }

    /// What the new system must be like.
    pub(super) fn wanted(&self, old_root: Option<String>) -> Expectation {
        let description = &self.rehearsal.fixture.description;
        Expectation {
            old_identity: description.identity.clone(),
            old_root,
            login: description.login.clone(),
            expect: self.rehearsal.expect.clone(),
            tcp: self.rehearsal.tcp,
            speaks: false,
            hold: self.host.factor.get().clamp(10.0, LONGEST_HOLD),
        }
    }

    /// Tells what boots: the old system, as the deploy environment says or as it must after a fault
    /// that came before anything was written; after one that came later, perhaps the new one.
    pub(super) async fn returned(
        &mut self,
        mut verdict: Verdict,
        disk: &Path,
        folder: &Path,
    ) -> Result<Verdict, DirectError> {
        let start = self.host.at();
        let written = self.struck.as_ref().is_some_and(|struck| struck.written > 0);
        let found = if written { self.whatever_boots(disk, folder).await? } else { None };
        let judged = match found {
            Some(found) => found,
            None => self.old_system_again(disk, folder).await?,
        };
        let (boots, judged) = match judged {
            (Boots::Nothing, judged) if judged.verdict == Ending::Broken && !written => {
                return Ok(judged);
            }
            judged => judged,
        };
        let back = boots == Boots::OldSystem;
        (verdict.boots, verdict.old_system_back) = (Some(boots), Some(back));
        if back {
            let told = judged.evidence.into_iter().filter(|line| line.starts_with(STATUS));
            verdict.evidence.extend(told);
            verdict.answers_after_secs = self.struck.as_ref().map(|it| self.host.at() - it.at);
            verdict.reason += "; the old system is back";
        } else {
            verdict.reason += "; the old system did not come back: ";
            verdict.reason += &judged.reason;
            verdict.evidence.extend(judged.evidence);
        }
        self.timed("boot old system again", start);
        Ok(verdict)
    }

    /// Looks for the new system; none where the old one is found instead.
    async fn whatever_boots(
        &self,
        disk: &Path,
        folder: &Path,
    ) -> Result<Option<(Boots, Verdict)>, DirectError> {
        let judged = self.fresh(NEW_SYSTEM, self.wanted(None), disk, folder).await?;
        let boots = Boots::of(&judged);
        Ok((boots != Boots::OldSystem).then_some((boots, judged)))
    }

    /// Looks whether the old system boots and answers.
    async fn old_system_again(
        &self,
        disk: &Path,
        folder: &Path,
    ) -> Result<(Boots, Verdict), DirectError> {
        let description = &self.rehearsal.fixture.description;
        let wanted = Expectation {
            old_identity: String::new(),
            old_root: None,
            login: description.login.clone(),
            expect: Regex::new(&regex::escape(&description.identity)).ok(),
            tcp: Some(ssh::PORT),
            speaks: true,
            hold: 0.0,
        };
        let judged = self.fresh(OLD_SYSTEM, wanted, disk, folder).await?;
        let back = judged.verdict == Ending::Passed;
        Ok((if back { Boots::OldSystem } else { Boots::Nothing }, judged))
    }
}
