//! Judges the fresh guest: whether the disk boots a system that is not the old one, and holds.
//!
//! This is a pure state machine over observations, like the chain.

use regex::Regex;

use crate::chain::Seen;
use crate::classify::{self, Class};
use crate::recent::Recent;
use crate::verdict::Verdict;

/// Seconds after a failing line in which a more specific one may follow.
const SETTLE: f64 = 1.5;
/// The same for a boot loader's complaint, which may be followed by a boot.
const SETTLE_BOOT_LOADER: f64 = 5.0;

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
    bad: Option<(Class, f64, String)>,
    good_since: Option<f64>,
    heard: bool,
    /// Whether its kernel said that it started.
    started: bool,
    boot_sector_started: bool,
    recent: Recent,
    screen: Vec<String>,
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
            started: false,
            boot_sector_started: false,
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

    /// Returns whether silence means that nothing boots; a system may answer only on the network.
    pub fn must_speak(&self) -> bool {
        self.expectation.speaks || self.expectation.tcp.is_none()
    }

    /// Returns the port that must accept a connection; 0 if there is none.
    pub fn port(&self) -> u16 {
        self.expectation.tcp.unwrap_or(0)
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
                self.boot_sector_started |= line.contains("Booting from 0000:7c00");
                self.text(at, "firmware", line)
            }
            Seen::Screen(line) => self.text(at, "screen", line),
            Seen::Reset => Some(self.gone("the new system was reset")),
            Seen::PoweredOff => Some(self.gone("the new system switched the machine off")),
            Seen::Panicked => {
                self.fail(at, Class::KernelPanic, "the kernel told the machine that it panicked");
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
        if let Some((class, since, line)) = &self.bad {
            let settle = if *class == Class::BootLoader { SETTLE_BOOT_LOADER } else { SETTLE };
            let (class, line) = (*class, line.clone());
            return (at - since >= settle).then(|| self.failed(class, &line));
        }
        let since = self.good_since?;
        (at - since >= self.expectation.hold).then(|| self.passed())
    }

    /// Returns the verdict if nothing happened for longer than anything may take.
    pub fn gave_up(&mut self, waited: &str) -> Verdict {
        if let Some((class, _, line)) = self.bad.clone() {
            return self.failed(class, &line);
        }
        // Before what was expected: nothing can be expected of a system that was never started.
        if self.boot_sector_started && !self.heard {
            let reason = format!(
                "the firmware started the boot sector, and no boot loader was heard of ({waited})"
            );
            return Verdict::failed(Class::BootLoader, reason, self.context());
        }
        let nothing_said = !self.started && self.recent.is_empty() && self.login.is_none();
        if nothing_said && self.expectation.tcp.is_none() {
            let reason = format!(
                "the new system cannot be judged: no kernel was heard of on the serial console, \
                 and the screen shows none ({waited})"
            );
            let mut verdict = Verdict::broken(Class::Silent, reason, self.context());
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
            self.kernel_starts();
            return None;
        }
        if let Some(class) = classify::failure(line) {
            self.fail(at, class, &format!("{sensor}: {line}"));
            return None;
        }
        // A screen keeps what it showed; if there is a serial console, that one counts.
        let old = sensor == "screen" && !self.recent.is_empty();
        if sensor == "firmware" || old {
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
    fn kernel_starts(&mut self) {
        self.heard = true;
        self.started = true;
        self.bad.take_if(|(class, ..)| *class == Class::BootLoader);
        (self.expected, self.login, self.good_since) = (None, None, None);
    }

    fn look(&mut self, at: f64) {
        let wanted = &self.expectation;
        let expected = wanted.expect.is_none() || self.expected.is_some();
        let connected = wanted.tcp.is_none() || self.connected.is_some();
        // A quiet kernel is not heard; then what is expected may still come from the boot loader.
        let said = self.started && self.expected.is_some();
        let anything = said || self.login.is_some() || self.connected.is_some();
        if expected && connected && anything {
            self.good_since.get_or_insert(at);
        }
    }

    /// Returns whether this is a `root=` with the old identity; `/dev/vda1` is the same anywhere.
    fn is_old_root(&self, root: &str) -> bool {
        self.expectation.old_root.as_deref() == Some(root) && root.contains("UUID=")
    }

    fn fail(&mut self, at: f64, class: Class, line: &str) {
        let new =
            self.bad.as_ref().is_none_or(|(known, ..)| classify::is_more_telling(*known, class));
        if new {
            self.bad = Some((class, at, line.to_owned()));
        }
    }

    fn gone(&self, what: &str) -> Verdict {
        if let Some((class, _, line)) = &self.bad {
            return self.failed(*class, line);
        }
        let when = if self.holds() { "soon after it had come up" } else { "before it had come up" };
        Verdict::failed(Class::ResetLoop, format!("{what} {when}"), self.context())
    }

    fn old_system(&self, line: &str) -> Verdict {
        let reason = "the old system came back: the disk still boots it";
        let mut evidence = self.context();
        evidence.push(line.to_owned());
        let mut verdict = Verdict::failed(Class::OldSystem, reason, evidence);
        verdict.old_system_back = Some(true);
        verdict
    }

    fn failed(&self, class: Class, line: &str) -> Verdict {
        let mut evidence = self.context();
        if !evidence.iter().any(|known| line.ends_with(known.as_str())) {
            evidence.push(line.to_owned());
        }
        Verdict::failed(class, format!("the new system does not boot: {}", class.words()), evidence)
    }

    fn passed(&self) -> Verdict {
        let mut evidence = Vec::new();
        evidence.extend(self.expected.clone());
        evidence.extend(self.login.clone());
        evidence.extend(self.connected.map(|port| format!("network: TCP port {port} accepts")));
        Verdict::passed("the new system boots from its own disk and holds", evidence)
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
        self.recent.lines()
    }
}

/// Returns whether a line of the screen is blank or from firmware or boot sector.
fn is_firmwares(line: &str) -> bool {
    const WORDS: &[&str] = &["SeaBIOS", "iPXE", "Booting from", "Machine UUID", "Press "];
    // The only word of GRUB's boot sector, printed again whenever it leads back to itself.
    let boot_sector = line.split_whitespace().all(|word| word == "GRUB");
    boot_sector || WORDS.iter().any(|word| line.trim_start().starts_with(word))
}

#[cfg(test)]
mod tests;
