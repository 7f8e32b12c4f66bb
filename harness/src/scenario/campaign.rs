//! A campaign of faults: every kind strikes one deployment at every moment.
//!
//! Afterwards somebody must answer.

use std::io;
use std::path::{Path, PathBuf};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde::Serialize;

use super::expect::{Came, Expect};
use super::run::Runner;
use super::{Scenario, found};
use crate::contract::STAGES;
use crate::fault::{Fault, Kind, Moment};
use crate::machine::setup::Setup;
use crate::size::Size;
use crate::verdict::{Boots, Ending, Verdict};

const CLAIM: &str =
    "Whatever befalls the machine, the old system, the new one or a rescue answers.";

/// The kinds of faults.
const KINDS: [Kind; 6] =
    [Kind::Kill, Kind::LockUp, Kind::Panic, Kind::Reset, Kind::PowerCut, Kind::LinkDown];

/// Amounts in MiB at which they strike, too: the commit point lies behind.
///
/// The minimal payload writes 145 MiB: file systems first, then its files, its boot loader last.
const WRITTEN: [u64; 6] = [1, 16, 72, 120, 136, 144];

/// The configuration of the deployment: the magic keys that faults use.
const CONFIGURATION: &str = "[kernel]\ncommand-line = \"sysrq_always_enabled\"\n\n\
                             [failure]\ntimeout = 120\n";

/// An overlay for the payload, below the folder of the scenarios.
///
/// With it the payload takes longer, so that faults strike it at work.
const PAUSED: &str = "payloads/paused";

/// The usual fixture, and the one that has a driver for the watchdog of the machine.
///
/// Only a watchdog can detect a kernel that hangs.
const FIXTURES: [&str; 2] = ["debian-12", "debian-12-generic"];

/// Longest time in seconds until somebody answers.
pub const LIMIT: f64 = 600.0;

/// How a machine was found after a fault.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// The old system answers by SSH.
    OldSystem,
    /// A rescue answers by SSH.
    Rescue,
    /// The new system boots.
    Complete,
    /// Its kernel, or its power, failed while its only disk was being written.
    ///
    /// Nothing that is left could answer.
    Lost,
    /// Nothing answers, although something should.
    Stranded,
    /// It could not be tried, or the fault never struck.
    Broken,
}

impl Found {
    /// Returns the words for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::OldSystem => "old system",
            Self::Rescue => "rescue",
            Self::Complete => "complete",
            Self::Lost => "lost",
            Self::Stranded => "STRANDED",
            Self::Broken => "BROKEN",
        }
    }

    /// Infers it from the result of a rehearsal that a fault of this kind struck.
    fn of(kind: Kind, came: &Came) -> Self {
        let Some(verdict) = &came.verdict else { return Self::Broken };
        let late = verdict.answers_after_secs.is_some_and(|secs| secs > LIMIT);
        let Some(struck) = &verdict.struck else { return Self::Broken };
        let written = struck.written > 0;
        match (verdict.verdict, verdict.boots) {
            (Ending::Broken | Ending::Skipped, _) => Self::Broken,
            (Ending::Passed, _) | (_, Some(Boots::NewSystem)) => Self::Complete,
            (_, Some(Boots::OldSystem)) if !late => Self::OldSystem,
            (_, Some(Boots::Nothing)) if written && takes_the_kernel(kind) => Self::Lost,
            _ if verdict.rescue_answers == Some(true) && !late => Self::Rescue,
            _ => Self::Stranded,
        }
    }
}

/// Returns whether nothing of the deploy environment is left after a fault.
fn takes_the_kernel(kind: Kind) -> bool {
    matches!(kind, Kind::LockUp | Kind::Panic | Kind::Reset | Kind::PowerCut)
}

/// A run of a campaign.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// The fault that struck the machine.
    pub fault: String,
    /// The stage that it struck in.
    pub stage: Option<String>,
    /// Bytes that had been written to the disk.
    pub written: u64,
    /// How the machine was found.
    pub found: Found,
    /// Seconds until it answered by SSH, if it did.
    pub answers_after_secs: Option<f64>,
    /// What the rehearsal said.
    pub reason: String,
    /// Where the evidence is.
    #[serde(skip)]
    pub evidence: PathBuf,
}

/// Draws faults, the same ones from the same seed: each kind at each moment once before any comes
/// a second time.
pub fn draw(seed: u64, number: usize) -> Vec<Fault> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut all: Vec<_> =
        KINDS.iter().flat_map(|kind| moments().map(|at| Fault { kind: *kind, at })).collect();
    let mut drawn = Vec::new();
    while drawn.len() < number {
        all.shuffle(&mut random);
        drawn.extend(all.iter().cloned());
    }
    drawn.truncate(number);
    drawn
}

/// Every stage, and some amounts written.
fn moments() -> impl Iterator<Item = Moment> {
    let stages = STAGES.iter().map(|stage| Moment::Stage((*stage).to_owned()));
    stages.chain(WRITTEN.iter().map(|mib| Moment::Written(Size::of_bytes(mib << 20))))
}

/// The rehearsal in which a fault strikes; `root` is the folder of the scenarios.
pub fn scenario(name: &str, payload: &Path, root: &Path, fault: &Fault) -> Scenario {
    let watchdog = fault.kind == Kind::LockUp;
    // On a fast disk, a hundred mebibytes are written between two looks at how much it is.
    let slow = matches!(fault.at, Moment::Written(_))
        .then(|| Fault { kind: Kind::SlowDisk, at: Moment::Stage("deploy".to_owned()) });
    Scenario {
        claim: CLAIM.to_owned(),
        payload: Some(payload.to_owned()),
        overlay: Some(PAUSED.into()),
        tags: vec!["campaign".to_owned()],
        machine: Setup {
            fixture: Some(FIXTURES[usize::from(watchdog)].to_owned()),
            watchdog,
            cpus: Some(1),
            faults: slow.into_iter().chain([fault.clone()]).collect(),
            ..Setup::default()
        },
        arguments: vec!["--no-control".to_owned()],
        twin: None,
        may_skip: None,
        config: Some(CONFIGURATION.to_owned()),
        expect: Expect::passed(),
        name: name.to_owned(),
        folder: root.to_owned(),
    }
}

impl Runner {
    /// Runs a rehearsal of a campaign, unless its evidence is already there.
    ///
    /// The evidence may be from a campaign that was ended early. It does not count if the run was
    /// broken or its fault never struck.
    pub async fn strike(&self, scenario: &Scenario, fault: &Fault) -> io::Result<Run> {
        let evidence = self.evidence.join(&scenario.name);
        let known = found::read(&evidence, &scenario.expect).await;
        let is_whole = |came: &Came| {
            let verdict = came.verdict.as_ref();
            verdict.is_some_and(|it| it.verdict != Ending::Broken && it.struck.is_some())
        };
        let came = match known.ok().filter(is_whole) {
            Some(came) => came,
            None => self.attempt(scenario, &evidence).await?,
        };
        let (reason, struck) = match &came.verdict {
            Some(Verdict { reason, struck, .. }) => (reason.clone(), struck.clone()),
            None => (came.stderr.lines().last().unwrap_or_default().to_owned(), None),
        };
        Ok(Run {
            fault: fault.to_string(),
            stage: struck.as_ref().and_then(|struck| struck.stage.clone()),
            written: struck.map_or(0, |struck| struck.written),
            found: Found::of(fault.kind, &came),
            answers_after_secs: came.verdict.and_then(|verdict| verdict.answers_after_secs),
            reason,
            evidence,
        })
    }
}

/// Renders all results, before and after the commit point, with how many there are of each.
pub fn render(runs: &[Run]) -> String {
    let mut lines = Vec::new();
    for (heading, after) in [("before the commit point", false), ("after it", true)] {
        lines.push(format!("{heading}:"));
        let mut part: Vec<_> = runs.iter().filter(|run| (run.written > 0) == after).collect();
        part.sort_by(|one, other| one.fault.cmp(&other.fault));
        for run in part {
            let written = format!("{} KiB", run.written >> 10);
            let after = run.answers_after_secs;
            let after = after.map_or_else(String::new, |secs| format!("answers after {secs:.0} s"));
            let line =
                format!("  {:<38} {written:>12}  {:<10}  {after}", run.fault, run.found.name());
            lines.push(line.trim_end().to_owned());
        }
    }
    let mut kinds: Vec<_> = runs.iter().map(|run| run.found).collect();
    kinds.sort();
    kinds.dedup();
    let count = |kind: &Found| runs.iter().filter(|run| run.found == *kind).count();
    let counts: Vec<_> =
        kinds.iter().map(|kind| format!("{} {}", count(kind), kind.name())).collect();
    lines.push(format!("{} runs: {}", runs.len(), counts.join(", ")));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Class;
    use crate::fault::Struck;

    #[test]
    fn a_seed_draws_every_kind_at_every_moment_once() {
        let all = KINDS.len() * (STAGES.len() + WRITTEN.len());
        let mut drawn = draw(1, all);
        assert_eq!(drawn, draw(1, all));
        assert_ne!(drawn, draw(2, all));
        drawn.sort_by_key(ToString::to_string);
        drawn.dedup();
        assert_eq!(drawn.len(), all);
        assert!(drawn.iter().all(|fault| fault.check().is_ok()));
        assert_eq!(draw(1, all + 5).len(), all + 5);
    }

    /// Returns the result of a rehearsal: bytes written at the fault, and a changed verdict.
    fn came(written: u64, change: impl Fn(&mut Verdict)) -> Came {
        let mut verdict = Verdict::failed(Class::Cut, "reset", vec![]);
        verdict.struck = Some(Struck { at: 1.0, stage: Some("deploy".into()), written });
        change(&mut verdict);
        Came { exit: Some(1), verdict: Some(verdict), ..Came::default() }
    }

    #[test]
    fn only_what_takes_the_kernel_after_the_commit_point_may_lose_a_machine() {
        let nothing = |verdict: &mut Verdict| verdict.boots = Some(Boots::Nothing);
        let old = |verdict: &mut Verdict| verdict.boots = Some(Boots::OldSystem);
        let late = |verdict: &mut Verdict| {
            (verdict.boots, verdict.answers_after_secs) = (Some(Boots::OldSystem), Some(601.0));
        };
        let rescue = |verdict: &mut Verdict| verdict.rescue_answers = Some(true);
        let spared = |verdict: &mut Verdict| {
            (verdict.boots, verdict.struck) = (Some(Boots::OldSystem), None);
        };
        let mute = |verdict: &mut Verdict| verdict.rescue_answers = Some(false);
        for (kind, came, want) in [
            (Kind::Reset, came(0, old), Found::OldSystem),
            (Kind::Reset, came(0, late), Found::Stranded),
            (Kind::Reset, came(0, nothing), Found::Stranded),
            (Kind::Reset, came(512, nothing), Found::Lost),
            (Kind::PowerCut, came(512, nothing), Found::Lost),
            (Kind::Kill, came(512, nothing), Found::Stranded),
            (Kind::LinkDown, came(512, nothing), Found::Stranded),
            (Kind::Kill, came(512, rescue), Found::Rescue),
            (Kind::Kill, came(512, mute), Found::Stranded),
            (Kind::Kill, came(0, spared), Found::Broken),
            (Kind::Kill, Came::default(), Found::Broken),
        ] {
            assert_eq!(Found::of(kind, &came), want, "{kind:?} {came:?}");
        }
    }

    #[test]
    fn the_table_tells_before_from_after() {
        let run = |fault: &str, written, found, answers_after_secs| Run {
            fault: fault.to_owned(),
            stage: None,
            written,
            found,
            answers_after_secs,
            reason: String::new(),
            evidence: PathBuf::new(),
        };
        let runs = [
            run("reset at written 8M", 9 << 20, Found::Lost, None),
            run("kill at stage deploy", 0, Found::OldSystem, Some(41.4)),
            run("kill at written 8M", 8 << 20, Found::Rescue, Some(5.0)),
        ];
        insta::assert_snapshot!(render(&runs), @"
        before the commit point:
          kill at stage deploy                          0 KiB  old system  answers after 41 s
        after it:
          kill at written 8M                         8192 KiB  rescue      answers after 5 s
          reset at written 8M                        9216 KiB  lost
        3 runs: 1 old system, 1 rescue, 1 lost
        ");
    }
}
