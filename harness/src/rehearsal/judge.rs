//! Judges the fresh guest: whether the disk boots a system that is not the old one, and holds.
//!
//! This is a pure state machine over observations, like the chain. What it heard last proves how far
//! the machine has come ([`Phase`]), and that decides which words count.

use regex::Regex;

use crate::chain::Seen;
use crate::classify::{self, Class, Failure, Phase};
use crate::recent::Recent;
use crate::verdict::Verdict;

mod notable;
mod words;

use notable::Notable;
use words::{is_firmwares, is_prompt, stopped_by_a_unit, times};

/// Seconds after a failing line in which a more specific one may follow.
const SETTLE: f64 = 1.5;
/// The same for a boot loader's complaint, which may be followed by a boot: GRUB waits for a key for
/// ten seconds (`grub-core/normal/main.c`), a long time where a processor is emulated.
const SETTLE_BOOT_LOADER: f64 = 20.0;
/// So many resets are a loop; the first boots of some systems end with one, or with two.
const LOOP: u32 = 3;
/// How far the clock of a panic may be from the kernel's own, in seconds: a journal shows old ones.
const SAME_CLOCK: f64 = 20.0;

/// What proves that the new system is there.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The line with which the old system identifies itself.
    pub old_identity: String,
    /// `root=` from the old system's kernel command line.
    pub old_root: Option<String>,
    /// Text of a login prompt.
    pub login: String,
    /// What must be seen on the console.
    pub expect: Option<Regex>,
    /// The port that must accept a connection.
    pub tcp: Option<u16>,
    /// Whether an answer of its SSH server counts as much as a prompt.
    pub ssh: bool,
    /// Whether it is known to use its console: then silence means that it does not boot.
    pub speaks: bool,
    /// Seconds afterwards in which nothing bad may happen.
    pub hold: f64,
}

/// Rows of a screen that are quoted: as many as it shows at once.
const SHOWN: usize = 25;

/// The judgement so far.
#[derive(Debug)]
pub struct Judge {
    expectation: Expectation,
    expected: Option<String>,
    login: Option<String>,
    connected: Option<u16>,
    bad: Option<Bad>,
    good_since: Option<f64>,
    heard: bool,
    /// How far the machine has come since its last reset.
    phase: Phase,
    /// How often it was reset after more than its firmware had run.
    resets: u32,
    /// What the kernel's clock said last, and when that was.
    clock: Option<(f64, f64)>,
    boot_sector_started: bool,
    /// Whether a boot menu that starts nothing by itself was the last thing to be seen.
    menu_waits: bool,
    notable: Notable,
    recent: Recent,
    screen: Vec<String>,
}

/// A line that shows a failure.
#[derive(Clone, Debug)]
struct Bad {
    failure: Failure,
    since: f64,
    line: String,
}

impl Judge {
    /// Starts with nothing seen.
    pub fn new(expectation: Expectation) -> Self {
        Self {
            expectation,
            expected: None,
            login: None,
            connected: None,
            bad: None,
            good_since: None,
            heard: false,
            phase: Phase::default(),
            resets: 0,
            clock: None,
            boot_sector_started: false,
            menu_waits: false,
            notable: Notable::default(),
            recent: Recent::default(),
            screen: Vec::new(),
        }
    }

    /// Returns whether the new system is there, and only has to hold.
    pub fn holds(&self) -> bool {
        self.good_since.is_some()
    }

    /// Returns whether anything but the firmware was heard.
    pub fn heard(&self) -> bool {
        self.heard
    }

    /// Returns whether a kernel was heard since the last reset.
    pub fn started(&self) -> bool {
        self.phase >= Phase::Kernel
    }

    /// Returns whether silence means that nothing boots; a system may answer only on the network.
    pub fn must_speak(&self) -> bool {
        self.expectation.speaks || (self.expectation.tcp.is_none() && !self.expectation.ssh)
    }

    /// Takes the screen as it is now, in place of the earlier one.
    pub fn screen(&mut self, at: f64, lines: Vec<String>) -> Option<Verdict> {
        let end = lines.iter().find_map(|line| self.text(at, "screen", line));
        self.heard |= lines.iter().any(|line| !is_firmwares(line));
        self.screen = lines;
        end
    }

    /// Takes an observation made at `at` seconds.
    pub fn observe(&mut self, at: f64, seen: &Seen) -> Option<Verdict> {
        match seen {
            Seen::Line(line) => {
                self.remember(line);
                self.text(at, "console", line)
            }
            Seen::Pending(line) => self.text(at, "console", line),
            Seen::Firmware(line) => {
                if line.contains("Booting from 0000:7c00") {
                    self.boot_sector_started = true;
                    self.reach(Phase::BootLoader);
                }
                self.text(at, "firmware", line)
            }
            Seen::Screen(line) => self.text(at, "screen", line),
            Seen::Reset => self.reset(),
            Seen::PoweredOff => Some(self.gone("the new system switched the machine off")),
            Seen::Panicked => {
                let failure = Failure { class: Class::KernelPanic, because: None };
                self.fail(at, failure, "the kernel told the machine that it panicked");
                None
            }
            Seen::Connected(port) => {
                self.connected = Some(*port);
                self.look(at);
                None
            }
            _ => None,
        }
    }

    /// Notes that it is `at` seconds now; returns the verdict if the time has decided it.
    pub fn tick(&mut self, at: f64) -> Option<Verdict> {
        if let Some(bad) = &self.bad {
            let loader = bad.failure.class == Class::BootLoader && !is_prompt(&bad.line);
            let settle = if loader { SETTLE_BOOT_LOADER } else { SETTLE };
            return (at - bad.since >= settle).then(|| self.failed(bad));
        }
        let since = self.good_since?;
        (at - since >= self.expectation.hold).then(|| self.passed())
    }

    /// Returns the verdict if nothing happened for longer than anything may take.
    pub fn gave_up(&mut self, waited: &str) -> Verdict {
        if let Some(bad) = &self.bad {
            return self.failed(bad);
        }
        // Before what was expected: nothing can be expected of a system that was never started.
        if self.resets > 0 {
            let reason = format!(
                "the new system was reset {}, and did not come up after that ({waited})",
                times(self.resets)
            );
            return Verdict::failed(Class::ResetLoop, reason, self.context());
        }
        if self.menu_waits {
            let reason = format!("the boot menu waits for somebody to choose ({waited})");
            return Verdict::failed(Class::BootLoader, reason, self.context());
        }
        if self.boot_sector_started && !self.heard {
            let reason = format!(
                "the firmware started the boot sector, and no boot loader was heard of ({waited})"
            );
            return Verdict::failed(Class::BootLoader, reason, self.context());
        }
        if !self.started() && self.login.is_none() && self.expectation.tcp.is_none() {
            let reason = format!(
                "the new system cannot be judged: no kernel was heard of on the serial console, \
                 and the screen shows none ({waited})"
            );
            let mut verdict = Verdict::broken(Class::Unheard, reason, self.context());
            verdict.hint = Some("name a port that it answers on: --tcp 22".to_owned());
            return verdict;
        }
        if let Some(expect) = &self.expectation.expect
            && self.expected.is_none()
        {
            let reason = format!("the new system never said /{expect}/ ({waited})");
            return Verdict::failed(Class::Expectation, reason, self.context());
        }
        if let (Some(port), None) = (self.expectation.tcp, self.connected) {
            let reason = format!("the new system never accepted TCP port {port} ({waited})");
            return Verdict::failed(Class::Expectation, reason, self.context());
        }
        let reason = format!("the new system never reached a login prompt ({waited})");
        Verdict::failed(Class::Silent, reason, self.context())
    }

    fn text(&mut self, at: f64, sensor: &str, line: &str) -> Option<Verdict> {
        if !self.expectation.old_identity.is_empty()
            && line.contains(&self.expectation.old_identity)
        {
            return Some(self.old_system(&format!("{sensor}: {line}")));
        }
        if let Some(root) = classify::root_parameter(line)
            && self.is_old_root(root)
        {
            return Some(self.old_system(&format!("{sensor}: {line}")));
        }
        if classify::is_kernel_banner(line) {
            self.kernel_starts(at, line);
            return None;
        }
        if let Some(phase) = classify::proven(line) {
            self.reach(phase);
        }
        self.look_for_menu(line);
        self.notable.take(line);
        let now = self.is_now(at, line);
        if let Some(failure) = classify::failure(line, Some(self.phase)).filter(|_| now) {
            self.fail(at, failure, &format!("{sensor}: {line}"));
            return None;
        }
        if sensor == "firmware" {
            return None;
        }
        if self.expected.is_none()
            && self.expectation.expect.as_ref().is_some_and(|expect| expect.is_match(line))
        {
            self.expected = Some(format!("{sensor}: {line}"));
        }
        if self.login.is_none() && classify::is_login_prompt(line, &self.expectation.login) {
            self.login = Some(format!("{sensor}: {line}"));
        }
        self.look(at);
        None
    }

    /// Forgets what the boot loader said, because its menu may contain the same words.
    fn kernel_starts(&mut self, at: f64, line: &str) {
        // A screen shows the banner for as long as it is on it.
        if self.started() {
            return;
        }
        self.heard = true;
        self.clock = classify::clock(line).map(|clock| (clock, at));
        self.phase = Phase::Kernel;
        self.menu_waits = false;
        self.bad.take_if(|bad| bad.failure.class == Class::BootLoader);
        (self.expected, self.login, self.good_since) = (None, None, None);
    }

    fn reach(&mut self, phase: Phase) {
        self.phase = self.phase.max(phase);
    }

    /// Starts again with the firmware, unless the reset is the end.
    fn reset(&mut self) -> Option<Verdict> {
        // The firmware resets the machine by itself until it is as it was when switched on.
        if self.phase == Phase::Firmware && !self.heard {
            return None;
        }
        self.resets += 1;
        if self.bad.is_some() || self.resets >= LOOP {
            return Some(self.gone("the new system was reset"));
        }
        self.recent.remember("--- reset ---");
        (self.expected, self.login, self.connected) = (None, None, None);
        (self.good_since, self.clock, self.phase) = (None, None, Phase::Firmware);
        (self.heard, self.boot_sector_started, self.menu_waits) = (false, false, false);
        self.screen.clear();
        self.notable = Notable::default();
        None
    }

    /// Notes the kernel's clock; returns whether the line is of this boot.
    fn is_now(&mut self, at: f64, line: &str) -> bool {
        let Some(said) = classify::clock(line) else { return true };
        let now = self
            .clock
            .is_none_or(|(clock, then)| (said - (clock + (at - then))).abs() <= SAME_CLOCK);
        if now {
            self.clock = Some((said, at));
        }
        now
    }

    /// Notices a boot menu, and whether it starts something by itself (GRUB, `normal/menu_text.c`).
    fn look_for_menu(&mut self, line: &str) {
        if self.started() {
            return;
        }
        if line.contains("keys to select which entry is highlighted") {
            self.menu_waits = true;
        } else if line.contains("will be executed automatically in") {
            self.menu_waits = false;
        }
    }

    fn look(&mut self, at: f64) {
        let wanted = &self.expectation;
        let expected = wanted.expect.is_none() || self.expected.is_some();
        let connected = wanted.tcp.is_none() || self.connected.is_some();
        // A quiet kernel is not heard; then what is expected may still come from the boot loader.
        let said = self.started() && self.expected.is_some();
        let anything = said || self.login.is_some() || self.connected.is_some();
        if expected && connected && anything {
            self.good_since.get_or_insert(at);
        }
    }

    /// Returns whether this is a `root=` with the old identity; `/dev/vda1` is the same anywhere.
    fn is_old_root(&self, root: &str) -> bool {
        self.expectation.old_root.as_deref() == Some(root) && root.contains("UUID=")
    }

    fn fail(&mut self, at: f64, failure: Failure, line: &str) {
        let telling = |known: &Bad| {
            let (known, new) = (known.failure.class, failure.class);
            classify::is_more_telling(known, new)
        };
        if self.bad.as_ref().is_none_or(telling) {
            self.bad = Some(Bad { failure, since: at, line: line.to_owned() });
        }
    }

    fn gone(&self, what: &str) -> Verdict {
        if let Some(bad) = &self.bad {
            return self.failed(bad);
        }
        let when = if self.holds() { "soon after it had come up" } else { "before it had come up" };
        let often = if self.resets > 1 {
            format!(" {}, the last time", times(self.resets))
        } else {
            String::new()
        };
        Verdict::failed(Class::ResetLoop, format!("{what}{often} {when}"), self.context())
    }

    fn old_system(&self, line: &str) -> Verdict {
        let reason = "the old system came back: the disk still boots it";
        let mut evidence = self.context();
        evidence.push(line.to_owned());
        let mut verdict = Verdict::failed(Class::OldSystem, reason, evidence);
        verdict.old_system_back = Some(true);
        verdict
    }

    fn failed(&self, bad: &Bad) -> Verdict {
        let mut evidence = self.context();
        if !evidence.iter().any(|known| bad.line.ends_with(known.as_str())) {
            evidence.push(bad.line.clone());
        }
        let class = bad.failure.class;
        let said = bad.line.split_once(": ").map_or(bad.line.as_str(), |(_, said)| said);
        let said = classify::without_clock(said).trim_end();
        let cause = match (bad.failure.because, self.notable.cause()) {
            (Some(because), _) => format!(": {because} ({said})"),
            (None, Some(unit)) if stopped_by_a_unit(class) => format!(": {unit}"),
            (None, _) => String::new(),
        };
        let reason = format!("the new system does not boot: {}{cause}", class.words());
        Verdict::failed(class, reason, evidence)
    }

    fn passed(&self) -> Verdict {
        let mut evidence = Vec::new();
        evidence.extend(self.expected.clone());
        evidence.extend(self.login.clone());
        evidence.extend(self.connected.map(|port| format!("network: TCP port {port} accepts")));
        let reason = match self.resets {
            0 => String::new(),
            resets => format!("; it was reset {} before", times(resets)),
        };
        let reason = format!("the new system boots from its own disk and holds{reason}");
        let mut verdict = Verdict::passed(reason, evidence);
        verdict.warnings.extend(self.notable.units().map(|said| format!("unit: {said}")));
        verdict
    }

    fn remember(&mut self, line: &str) {
        self.heard = true;
        self.recent.remember(line);
    }

    fn context(&self) -> Vec<String> {
        if self.recent.is_empty() {
            let lines: Vec<_> = self.screen.iter().filter(|line| !line.is_empty()).collect();
            let shown = lines.iter().skip(lines.len().saturating_sub(SHOWN));
            return shown.map(|line| format!("screen: {line}")).collect();
        }
        // What scrolled away, then what was said last.
        let last = self.recent.lines();
        let mut lines = self.notable.lines();
        lines.retain(|line| !last.contains(line));
        lines.extend(last);
        lines
    }
}

#[cfg(test)]
mod tests;
