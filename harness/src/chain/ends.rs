//! The verdicts with which a chain ends.

use super::failure::Failure;
use super::{Aim, Chain, End, Link, Power};
use crate::classify::Class;
use crate::contract::STAGES;
use crate::verdict::Verdict;

impl Chain {
    /// Returns the verdict if the deploy environment leads back.
    ///
    /// All is well if it was a rehearsal of every stage before `deploy`.
    pub(super) fn returned(&self) -> Verdict {
        if self.route.aim == Aim::Deployment || self.failure.is_some() {
            return self.bad_outcome(Class::Returned);
        }
        let ended = |stage: &str| self.times.iter().any(|timed| timed.name == stage);
        let rehearsed = STAGES.iter().take_while(|stage| **stage != "deploy");
        let missing = rehearsed.copied().find(|stage| !ended(stage));
        if let Some(stage) = missing {
            let reason = format!("the rehearsal came to its end, and stage {stage} never did");
            return self.finish(Verdict::failed(Class::StageOrder, reason, self.context()));
        }
        let reason = "the rehearsal comes to stage deploy, and ends before it";
        self.finish(Verdict::passed(reason, Vec::new()))
    }

    pub(super) fn bad_outcome(&self, class: Class) -> Verdict {
        let failure = self.failure.as_ref();
        let reason = failure.map_or_else(|| "for no reason given".to_owned(), Failure::to_string);
        let reason = format!("{}: {reason}", class.words());
        let verdict = Verdict::failed(class, reason, self.context());
        self.finish(verdict.in_stage(failure.and_then(Failure::stage)))
    }

    pub(super) fn panicked(&self, words: &str) -> Verdict {
        let reason = format!("the deploy environment panicked: {words}");
        self.finish(Verdict::failed(Class::KernelPanic, reason, self.context()))
    }

    pub(super) fn powered_off(&mut self) -> End {
        self.power = Power::Off;
        let reason = "the machine was switched off where it should have been reset";
        if self.link < Link::Started {
            return End::Failed(Verdict::broken(Class::FixtureFailed, reason, self.context()));
        }
        self.failed(Class::NotExecuted, reason)
    }

    pub(super) fn out_of_order(&self, problem: &str) -> End {
        self.failed(Class::StageOrder, problem)
    }

    pub(super) fn failed(&self, class: Class, reason: impl Into<String>) -> End {
        End::Failed(self.finish(Verdict::failed(class, reason, self.context())))
    }

    pub(super) fn finish(&self, mut verdict: Verdict) -> Verdict {
        verdict.outcome.clone_from(&self.outcome);
        verdict
    }
}
