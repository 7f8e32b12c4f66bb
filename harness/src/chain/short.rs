//! The ends of a chain that is cut short: nothing happens any more, or the machine is reset.

use super::{Chain, End, Link};
use crate::classify::Class;
use crate::verdict::Verdict;

impl Chain {
    /// Returns the end if nothing happened for longer than anything may take.
    pub fn gave_up(&self, waited: &str) -> End {
        if let Some(words) = &self.panic {
            return End::Failed(self.panicked(words));
        }
        let (class, reason) = match self.link {
            Link::PowerOn => (Class::FixtureFailed, "the old system did not reach its prompt"),
            Link::OldSystem => (Class::FixtureFailed, "the old system could not be reached"),
            Link::Pushed => (Class::FixtureFailed, "the command could not be started"),
            Link::Started if self.jump_announced => {
                (Class::JumpSilent, "the jump was announced, and no kernel was heard of after it")
            }
            Link::Started => {
                (Class::NotExecuted, "anemos deploy was started, and no jump followed")
            }
            Link::Verdict => (Class::Stalled, "the machine was not reset after the verdict"),
            Link::Jumped | Link::Reset => return self.stalled(waited),
        };
        let reason = format!("{reason} ({waited})");
        let make = if class == Class::FixtureFailed { Verdict::broken } else { Verdict::failed };
        End::Failed(self.finish(make(class, reason, self.context())))
    }

    fn stalled(&self, waited: &str) -> End {
        let place = self.stage().map_or_else(
            || "the deploy environment stalled between its stages".to_owned(),
            |stage| format!("stage {stage} stalled"),
        );
        let verdict =
            Verdict::failed(Class::Stalled, format!("{place} ({waited})"), self.context());
        End::Failed(self.finish(verdict.in_stage(self.stage())))
    }

    /// Returns the end of a machine that was reset in between; the disk determines what it boots.
    pub(super) fn cut(&self, lost_power: bool, by: &str) -> End {
        let place = self.stage().map_or_else(String::new, |stage| format!(" in stage {stage}"));
        let what = if lost_power { "lost its power" } else { "was reset" };
        let reason = format!("the machine {what}{place} ({by})");
        End::Returned(self.finish(Verdict::failed(Class::Cut, reason, self.context())))
    }
}
