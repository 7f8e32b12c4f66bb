//! The result of a rehearsal, for people, for programs, and as an exit code.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::classify::Class;
use crate::fault::Struck;

/// One of four endings; broken never counts as failed or as passed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// The payload yields a system that boots.
    Passed,
    /// It does not, or the way there is wrong.
    Failed,
    /// It was not tried, for a reason.
    Skipped,
    /// It could not even be tried.
    Broken,
}

impl fmt::Display for Ending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Broken => "broken",
        })
    }
}

/// Whose fault a failure is, according to a control run.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Blame {
    /// It fails in the deploy environment alone, too.
    Payload,
    /// Alone it succeeds, so it is the way there, or the machine's particulars.
    Anemos,
    /// What simulates the machine: QEMU, the fixture, a fault that could not strike.
    Harness,
}

impl Blame {
    /// Returns the words for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payload => "the payload",
            Self::Anemos => "anemos, or the machine's particulars",
            Self::Harness => "the harness, or the machine it simulates",
        }
    }
}

/// What a machine finds after its power failed at some moment.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PowerCut {
    /// Number of the flush after which the power failed; 0 is the jump.
    pub flush: usize,
    /// Bytes that the deploy environment had written until then.
    pub written: u64,
    /// What boots.
    pub boots: Boots,
    /// What showed it.
    pub reason: String,
}

/// What boots from a disk.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boots {
    /// The system that was there before.
    OldSystem,
    /// The system of the payload.
    NewSystem,
    /// Neither.
    Nothing,
}

impl Boots {
    /// Returns the word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::OldSystem => "old system",
            Self::NewSystem => "new system",
            Self::Nothing => "nothing",
        }
    }

    /// Returns what a verdict on a disk that was booted for a new system says about the disk.
    pub(crate) fn of(verdict: &Verdict) -> Self {
        match (verdict.verdict, verdict.class) {
            (Ending::Passed, _) => Self::NewSystem,
            (_, Some(Class::OldSystem)) => Self::OldSystem,
            _ => Self::Nothing,
        }
    }
}

impl PowerCut {
    /// Notes what was found after flush `number`, when `written` bytes had been written.
    pub(crate) fn new(number: usize, written: u64, verdict: &Verdict) -> Self {
        let (boots, reason) = (Boots::of(verdict), verdict.reason.clone());
        Self { flush: number, written, boots, reason }
    }
}

/// The result of a rehearsal.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// The ending.
    pub verdict: Ending,
    /// Why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// One sentence.
    pub reason: String,
    /// The stage of the deploy environment that failed or hangs.
    ///
    /// In `verdict.json` the reason names it.
    #[serde(skip)]
    pub stage: Option<String>,
    /// What to do about it, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The lines that show it, each with the sensor it came from.
    pub evidence: Vec<String>,
    /// Whose fault it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blame: Option<Blame>,
    /// `deployed`, `returned` or `rescue`, if the deploy environment said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Whether the disk boots the old system (only tested if it should).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_system_back: Option<bool>,
    /// Whether the rescue answered by SSH with the keys of the old system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rescue_answers: Option<bool>,
    /// What boots from the disk after a deployment that did not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boots: Option<Boots>,
    /// How far the machine had come when the first fault struck.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub struck: Option<Struck>,
    /// Seconds from the first fault until the old system, or the rescue, answered by SSH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers_after_secs: Option<f64>,
    /// What is not as it should be on the disk of a rehearsal that passed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// What the harness added to the machine, and which faults struck it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// What boots after power cuts, if that was requested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub power_cuts: Vec<PowerCut>,
}

impl Verdict {
    /// Returns the verdict on a rehearsal in which everything was as it should be.
    pub fn passed(reason: impl Into<String>, evidence: Vec<String>) -> Self {
        Self::of(Ending::Passed, None, reason.into(), evidence)
    }

    /// Returns the verdict on a rehearsal that failed.
    pub fn failed(class: Class, reason: impl Into<String>, evidence: Vec<String>) -> Self {
        Self::of(Ending::Failed, Some(class), reason.into(), evidence)
    }

    /// Returns the verdict on a rehearsal that could not even be tried.
    pub fn broken(class: Class, reason: impl Into<String>, evidence: Vec<String>) -> Self {
        let mut verdict = Self::of(Ending::Broken, Some(class), reason.into(), evidence);
        let simulated = [
            Class::QemuDied,
            Class::HostDisk,
            Class::FixtureFailed,
            Class::RouterFailed,
            Class::NotServed,
            Class::FaultFailed,
        ];
        verdict.blame = simulated.contains(&class).then_some(Blame::Harness);
        verdict
    }

    fn of(verdict: Ending, class: Option<Class>, reason: String, evidence: Vec<String>) -> Self {
        Self {
            verdict,
            class,
            reason,
            stage: None,
            hint: None,
            evidence,
            blame: None,
            outcome: None,
            old_system_back: None,
            rescue_answers: None,
            boots: None,
            struck: None,
            answers_after_secs: None,
            warnings: Vec::new(),
            added: Vec::new(),
            power_cuts: Vec::new(),
        }
    }

    /// Notes the stage that failed or hangs.
    #[must_use]
    pub(crate) fn in_stage(self, stage: Option<&str>) -> Self {
        Self { stage: stage.map(str::to_owned), ..self }
    }

    /// Returns whose fault a failed rehearsal is, if this is the result of its control run.
    ///
    /// In the deploy environment only stage `deploy` belongs to the payload.
    pub fn blame_by_control(&self) -> Option<Blame> {
        let class = match (self.verdict, self.class) {
            (Ending::Passed, _) => return Some(Blame::Anemos),
            (Ending::Failed, Some(class)) if class.may_be_the_payload() => class,
            _ => return None,
        };
        let before_deploy = matches!(class, Class::Returned | Class::Rescue | Class::Stalled)
            && self.stage.as_deref() != Some("deploy");
        Some(if before_deploy { Blame::Anemos } else { Blame::Payload })
    }

    /// Returns the exit code of the contract.
    pub fn exit_code(&self) -> u8 {
        match (self.verdict, self.class) {
            (_, Some(Class::Interrupted)) => 130,
            (Ending::Passed | Ending::Skipped, _) => 0,
            (Ending::Failed, Some(Class::Refused)) => 3,
            (Ending::Failed, _) => 1,
            (Ending::Broken, _) => 4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_contract() {
        for (verdict, want) in [
            (Verdict::passed("", vec![]), 0),
            (Verdict::failed(Class::BootLoader, "", vec![]), 1),
            (Verdict::failed(Class::Refused, "", vec![]), 3),
            (Verdict::broken(Class::FixtureFailed, "", vec![]), 4),
            (Verdict::broken(Class::Interrupted, "", vec![]), 130),
        ] {
            assert_eq!(verdict.exit_code(), want, "{verdict:?}");
        }
    }

    #[test]
    fn a_control_run_tells_whose_fault_a_failure_is() {
        for (control, want) in [
            (Verdict::passed("", vec![]), Some(Blame::Anemos)),
            (Verdict::failed(Class::BootLoader, "", vec![]), Some(Blame::Payload)),
            (
                Verdict::failed(Class::Returned, "", vec![]).in_stage(Some("deploy")),
                Some(Blame::Payload),
            ),
            (
                Verdict::failed(Class::Returned, "", vec![]).in_stage(Some("disks")),
                Some(Blame::Anemos),
            ),
            (Verdict::failed(Class::KernelPanic, "", vec![]), Some(Blame::Payload)),
            (Verdict::broken(Class::QemuDied, "", vec![]), None),
            (Verdict::failed(Class::Refused, "", vec![]), None),
        ] {
            assert_eq!(control.blame_by_control(), want, "{control:?}");
        }
    }

    #[test]
    fn verdict_json_says_only_what_is_known() {
        let mut verdict = Verdict::failed(Class::InitramfsShell, "no root", vec!["ALERT!".into()]);
        verdict.blame = Some(Blame::Payload);
        insta::assert_snapshot!(serde_json::to_string_pretty(&verdict).unwrap(), @r#"
        {
          "verdict": "failed",
          "class": "initramfs-shell",
          "reason": "no root",
          "evidence": [
            "ALERT!"
          ],
          "blame": "payload"
        }
        "#);
    }
}
