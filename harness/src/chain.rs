//! The chain from the old system to the reset of a deployed machine, proved link by link.
//!
//! This is a pure state machine: it gets what the sensors see, and reports when the chain has ended
//! and how. Whether the deployed disk boots is judged by [`crate::rehearsal`] in a fresh guest.

use serde::{Deserialize, Serialize};

use crate::classify::{self, Class};
use crate::contract::{self, STAGES, Said};
use crate::fault::Kind;
use crate::recent::{KEPT, Recent};
use crate::verdict::Verdict;

mod ends;
mod failure;
mod route;
mod seen;
mod short;
#[cfg(test)]
mod tests;

use failure::Failure;
pub use route::{Aim, Entry, Route};
pub use seen::Seen;

/// How far the chain is proved.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// The guest was started.
    PowerOn,
    /// The old system identified itself at its login prompt.
    OldSystem,
    /// Everything has been copied into the guest.
    Pushed,
    /// `anemos deploy` was started.
    Started,
    /// Another kernel started, without a reset in between.
    Jumped,
    /// The deploy environment gave its verdict.
    Verdict,
    /// The guest reset itself.
    Reset,
}

/// A stage, or a part of the way without a stage, with its time.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Timed {
    /// The name: of a stage, or e.g. `boot old system`.
    pub name: String,
    /// Seconds since the rehearsal began.
    pub start: f64,
    /// How long it took in seconds.
    pub seconds: f64,
}

/// The chain so far.
#[derive(Debug)]
pub struct Chain {
    route: Route,
    link: Link,
    identity_seen: bool,
    jump_announced: bool,
    boot_announced: bool,
    /// What resets the machine, if it is not the machine itself.
    reset_by: Option<&'static str>,
    stage: Option<(usize, f64)>,
    last_stage: Option<usize>,
    failure: Option<Failure>,
    panic: Option<String>,
    outcome: Option<String>,
    old_root: Option<String>,
    power: Power,
    said: Vec<String>,
    recent: Recent,
    times: Vec<Timed>,
    since: f64,
}

/// Whether the machine is on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Power {
    On,
    Off,
}

/// How a chain ended.
#[derive(Clone, Debug, PartialEq)]
pub enum End {
    /// The payload is on the disk, and the machine was reset.
    Deployed,
    /// The deployment failed before writing, and the machine was reset.
    Returned(Verdict),
    /// It ended badly.
    Failed(Verdict),
}

impl Chain {
    /// Starts when the guest is started.
    pub fn new(route: Route, at: f64) -> Self {
        let link = if route.entry == Entry::Direct { Link::Started } else { Link::PowerOn };
        Self {
            route,
            link,
            identity_seen: false,
            jump_announced: false,
            boot_announced: false,
            reset_by: None,
            stage: None,
            last_stage: None,
            failure: None,
            panic: None,
            outcome: None,
            old_root: None,
            power: Power::On,
            said: Vec::new(),
            recent: Recent::default(),
            times: Vec::new(),
            since: at,
        }
    }

    /// Goes back to before the payload was run, because a rescue runs it again.
    pub fn again(&mut self) {
        self.link = Link::Jumped;
        (self.outcome, self.failure, self.stage) = (None, None, None);
        self.last_stage = STAGES.iter().position(|stage| *stage == "unpack");
    }

    /// Returns how far it is proved.
    pub fn link(&self) -> Link {
        self.link
    }

    /// Returns how the deploy environment is entered.
    pub fn entry(&self) -> Entry {
        self.route.entry
    }

    /// Returns whether a stage has begun, or has already ended.
    pub fn has_begun_stages(&self) -> bool {
        self.last_stage.is_some()
    }

    /// Returns the stage that is running, for the progress line.
    pub fn stage(&self) -> Option<&'static str> {
        self.stage.and_then(|(index, _)| STAGES.get(index).copied())
    }

    /// Returns how long each part has taken so far.
    pub fn times(&self) -> &[Timed] {
        &self.times
    }

    /// Returns `root=` from the old system's kernel command line.
    pub fn old_root(&self) -> Option<&str> {
        self.old_root.as_deref()
    }

    /// Returns what the deploy environment said at its end.
    pub fn outcome(&self) -> Option<&str> {
        self.outcome.as_deref()
    }

    /// Returns whether the machine was switched off.
    pub fn is_off(&self) -> bool {
        self.power == Power::Off
    }

    /// Takes an observation made at `at` seconds; returns the end if this was the last link.
    pub fn observe(&mut self, at: f64, seen: &Seen) -> Option<End> {
        match seen {
            Seen::Line(line) => self.line(at, line),
            Seen::Pending(line) => self.prompt(at, line),
            Seen::Reset => self.reset(at),
            Seen::PoweredOff => Some(self.powered_off()),
            Seen::Panicked if self.link >= Link::Jumped => {
                let words = "the kernel told the machine that it panicked";
                Some(End::Failed(self.panicked(words)))
            }
            Seen::Resumed { old_root } => {
                self.old_root.clone_from(old_root);
                self.reach(Link::OldSystem, at, "resume old system")
            }
            Seen::Fault(fault) => {
                self.remember(&format!("--- fault: {fault} ---"));
                None
            }
            Seen::Watchdog => {
                self.reset_by = Some("watchdog");
                self.remember("--- the watchdog resets the machine ---");
                None
            }
            Seen::Cut(fault) => Some(self.cut(fault.kind == Kind::PowerCut, &fault.to_string())),
            Seen::Kept => self.reach(Link::OldSystem, at, "keep old system"),
            Seen::Pushed => self.reach(Link::Pushed, at, "push"),
            Seen::CommandStarted => self.reach(Link::Started, at, "start command"),
            Seen::CommandSaid(line) => {
                self.boot_announced |= line.starts_with(contract::BOOTS_ENTRY);
                self.said.push(line.clone());
                None
            }
            Seen::CommandEnded(status) => self.command_ended(*status),
            _ => None,
        }
    }

    fn line(&mut self, at: f64, line: &str) -> Option<End> {
        self.remember(line);
        match self.link {
            Link::PowerOn => self.old_system_line(at, line),
            Link::OldSystem | Link::Pushed => None,
            Link::Started => {
                self.jump_announced |= line.contains("Starting new kernel");
                if classify::is_kernel_banner(line) {
                    let way = if self.boot_announced { "boot loader" } else { "anemos deploy" };
                    return self.reach(Link::Jumped, at, way);
                }
                None
            }
            Link::Jumped | Link::Verdict | Link::Reset => self.deploy_line(at, line),
        }
    }

    fn old_system_line(&mut self, at: f64, line: &str) -> Option<End> {
        if line.contains(&self.route.identity) {
            self.identity_seen = true;
        }
        if let Some(root) = classify::root_parameter(line) {
            self.old_root = Some(root.to_owned());
        }
        if let Some(failure) = classify::failure(line, None) {
            let reason = format!("the fixture does not boot: {}", failure.class.words());
            let verdict = Verdict::broken(Class::FixtureFailed, reason, self.context());
            return Some(End::Failed(verdict));
        }
        self.prompt(at, line)
    }

    fn prompt(&mut self, at: f64, line: &str) -> Option<End> {
        let is_prompt = classify::is_login_prompt(line, &self.route.login);
        if self.link == Link::PowerOn && self.identity_seen && is_prompt {
            return self.reach(Link::OldSystem, at, "boot old system");
        }
        None
    }

    fn deploy_line(&mut self, at: f64, line: &str) -> Option<End> {
        let jumped = self.route.entry == Entry::Jump && !self.has_begun_stages();
        if jumped && line.contains(&self.route.identity) {
            let reason = "the old system was booted instead of the deploy environment";
            return Some(self.failed(Class::RebootedInstead, reason));
        }
        if line.contains("Kernel panic - not syncing") {
            let words = classify::failure(line, None).map_or("", |failure| failure.class.words());
            // It reboots by itself, so what follows shows whether the old system is back.
            self.panic.get_or_insert_with(|| words.to_owned());
            return None;
        }
        match contract::parse(line)? {
            Said::Begins(stage) => self.begins(at, &stage),
            Said::EndedWell(stage, took) => self.ended(&stage, took),
            Said::EndedBadly(stage, took, reason) => {
                self.failure = Some(Failure::Failed { stage: stage.clone(), reason });
                self.ended(&stage, took)
            }
            Said::Hangs(stage) => {
                self.failure.get_or_insert(Failure::Hangs { stage });
                None
            }
            Said::Error(text) => {
                self.failure.get_or_insert(Failure::Other(text));
                None
            }
            Said::Verdict(word) => self.verdict(at, &word),
        }
    }

    fn begins(&mut self, at: f64, stage: &str) -> Option<End> {
        if self.route.aim == Aim::Rehearsal && stage == "deploy" {
            return Some(self.out_of_order("a rehearsal came to stage deploy"));
        }
        let index = STAGES.iter().position(|name| *name == stage)?;
        if self.stage.is_some_and(|(running, _)| running == index) {
            return None;
        }
        if self.last_stage.is_some_and(|last| last >= index) {
            return Some(
                self.out_of_order(&format!("stage {stage} began a second time or too late")),
            );
        }
        if self.last_stage.is_none() {
            self.timed("boot deploy environment", at);
        }
        self.stage = Some((index, at));
        self.last_stage = Some(index);
        None
    }

    fn ended(&mut self, stage: &str, took: f64) -> Option<End> {
        if self.stage.is_none() {
            self.take_for_begun(stage, took);
        }
        let Some((index, start)) = self.stage else {
            let repeated = self.last_stage.is_some_and(|last| STAGES[last] == stage);
            let problem = format!("stage {stage} ended without having begun");
            return (!repeated).then(|| self.out_of_order(&problem));
        };
        if STAGES[index] != stage {
            return Some(
                self.out_of_order(&format!("stage {stage} ended during {}", STAGES[index])),
            );
        }
        self.times.push(Timed { name: stage.to_owned(), start, seconds: took });
        self.stage = None;
        None
    }

    /// Takes a stage for begun, since the kernel may have written into the line that said so.
    fn take_for_begun(&mut self, stage: &str, took: f64) {
        let next = self.last_stage.map_or(0, |last| last + 1);
        if STAGES.get(next) == Some(&stage) {
            self.stage = Some((next, self.since - took));
            self.last_stage = Some(next);
        }
    }

    fn verdict(&mut self, at: f64, word: &str) -> Option<End> {
        if self.outcome.is_some() {
            return None;
        }
        self.outcome = Some(word.to_owned());
        self.link = Link::Verdict;
        self.since = at;
        match word {
            "rescue" => Some(End::Failed(self.bad_outcome(Class::Rescue))),
            "deployed" if !self.times.iter().any(|timed| timed.name == "deploy") => {
                Some(self.out_of_order("the verdict is deployed, and stage deploy never ended"))
            }
            _ => None,
        }
    }

    fn reset(&mut self, at: f64) -> Option<End> {
        if let Some(words) = &self.panic {
            return Some(End::Returned(self.panicked(words)));
        }
        if let Some(by) = self.reset_by.filter(|_| self.link >= Link::Jumped) {
            return Some(self.cut(false, by));
        }
        Some(match (self.link, self.outcome.as_deref()) {
            (Link::Verdict, Some("deployed")) => {
                self.reach(Link::Reset, at, "reset");
                End::Deployed
            }
            (Link::Verdict, Some("returned")) => {
                self.reach(Link::Reset, at, "reset");
                End::Returned(self.returned())
            }
            // It continues through the firmware.
            (Link::Started, _) if self.boot_announced => {
                self.timed("anemos deploy", at);
                self.since = at;
                return None;
            }
            (Link::Started, _) => {
                let reason = Class::RebootedInstead.words();
                self.failed(Class::RebootedInstead, reason)
            }
            (Link::PowerOn | Link::OldSystem | Link::Pushed, _) => {
                let reason = "the fixture was reset before anything was asked of it";
                End::Failed(Verdict::broken(Class::FixtureFailed, reason, self.context()))
            }
            _ => self.failed(Class::ResetLoop, "the deploy environment was reset early"),
        })
    }

    fn command_ended(&mut self, status: Option<i32>) -> Option<End> {
        let said = |word: &str| self.said.iter().find_map(|line| line.strip_prefix(word));
        let error = said("error: ").map(str::to_owned);
        let (class, status) = match status? {
            0 | 255 => return None,
            3 => (Class::Refused, 3),
            status => (Class::CommandFailed, status),
        };
        if self.link > Link::Started {
            return None;
        }
        let reason = match error {
            Some(error) if class == Class::Refused => error,
            Some(error) => format!("{}: {error}", class.words()),
            None => format!("{} with status {status}", class.words()),
        };
        let mut verdict = Verdict::failed(class, reason, tail(&self.said));
        verdict.hint = said("hint: ").map(str::to_owned);
        Some(End::Failed(verdict))
    }

    fn reach(&mut self, link: Link, at: f64, name: &str) -> Option<End> {
        self.timed(name, at);
        self.link = link;
        self.since = at;
        None
    }

    /// Notes the end of what began with the last link.
    fn timed(&mut self, name: &str, at: f64) {
        let start = self.since;
        self.times.push(Timed { name: name.to_owned(), start, seconds: at - start });
    }

    fn remember(&mut self, line: &str) {
        self.recent.remember(line);
    }

    fn context(&self) -> Vec<String> {
        self.recent.lines()
    }
}

fn tail(lines: &[String]) -> Vec<String> {
    lines.iter().skip(lines.len().saturating_sub(KEPT)).cloned().collect()
}
