//! The dead man's switch: a stage that takes too long leads back, whatever it hangs in.
//!
//! A thread looks at the clock while PID 1 works. It also feeds the hardware watchdog, and stops
//! when a stage is late: what no software can end, the hardware does. The watchdog goes on as the
//! kernel leaves, by a parameter of it (`stop_on_reboot`).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};

use super::processes::EVERYBODY;
use super::written::{Selected, sectors_written};
use contract::stages::{Outcome, Stage};

/// Between two looks. Watchdogs of servers wait for 30 s or more when they are not told otherwise.
const TURN: Duration = Duration::from_secs(1);
/// What a `deploy` that is over its own limit may take to be ended.
const GRACE: Duration = Duration::from_mins(1);
/// The first watchdog of the machine (Linux, `Documentation/watchdog/watchdog-api.rst`).
const WATCHDOG: &str = "/dev/watchdog0";

/// Restarts the machine when `b` is written to it, without a word to any driver (Linux,
/// `admin-guide/sysrq`).
const SYSRQ: &str = "/proc/sysrq-trigger";

/// The switch; it works until PID 1 ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Timer {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    running: Option<(Stage, Instant)>,
    disk: Option<Selected>,
    /// How long `deploy` may take.
    deploy: Duration,
    watchdog: Option<File>,
    /// Whether the watchdog is fed no more. It stays open: some are disarmed when they are closed.
    starved: bool,
}

/// How long a stage may take; `deploy` has a limit of its own, which PID 1 keeps as well.
fn limit(stage: Stage, deploy: Duration) -> Duration {
    let secs = match stage {
        Stage::VerifyInitramfs | Stage::Mount | Stage::Reboot => 120,
        Stage::Modules | Stage::Disks => 300,
        // Of the cards of a server each one may be asked for a minute or two.
        Stage::Network => 900,
        Stage::VerifyPayload | Stage::Unpack | Stage::Settle => 1800,
        Stage::Deploy => return deploy + GRACE,
    };
    Duration::from_secs(secs)
}

impl Timer {
    /// Starts the switch.
    pub(super) fn start(&self) {
        let same = self.clone();
        thread::spawn(move || same.watch());
    }

    /// Notes that a stage begins, the one before it having ended.
    pub(super) fn begin(&self, stage: Stage) {
        let mut shared = self.state();
        shared.running = Some((stage, Instant::now() + limit(stage, shared.deploy)));
    }

    /// Notes that the machine goes back, whatever the disk says: the report for the old system is
    /// written to it, and a disk that does not answer must not keep the machine from that.
    pub(super) fn go_back(&self) {
        self.state().disk = None;
        self.begin(Stage::Reboot);
    }

    /// Notes that no stage runs. PID 1, which says so, was late at the most.
    pub(super) fn pause(&self) {
        let mut shared = self.state();
        (shared.running, shared.starved) = (None, false);
    }

    /// Notes how long `deploy` may take.
    pub(super) fn allow(&self, deploy: Duration) {
        self.state().deploy = deploy;
    }

    /// Notes which disk decides whether there is a way back.
    pub(super) fn know(&self, disk: &Selected) {
        self.state().disk = Some(disk.clone());
    }

    /// Arms the hardware watchdog, where the machine has one; says so.
    pub(super) fn arm(&self) -> Option<&'static str> {
        let watchdog = OpenOptions::new().write(true).open(WATCHDOG).ok()?;
        self.state().watchdog = Some(watchdog);
        self.shared.1.notify_one();
        Some(WATCHDOG)
    }

    /// Notes that the machine is switched off, and that nothing may start it again.
    pub(super) fn disarm(&self) {
        let mut shared = self.state();
        shared.running = None;
        shared.starved = true;
        // Closed after this letter, it stops (Linux, `watchdog-api.rst`, "Magic Close feature").
        if let Some(mut watchdog) = shared.watchdog.take() {
            let _runs_on = watchdog.write_all(b"V");
        }
    }

    /// The thread holds the lock for no longer than a look takes, so a panic elsewhere leaves
    /// nothing half-changed in it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watch(&self) {
        loop {
            let mut shared = self.state();
            match shared.late(Instant::now()) {
                None => shared.feed(),
                Some(stage) => shared.act(stage),
            }
            drop(self.shared.1.wait_timeout(shared, TURN));
        }
    }
}

impl State {
    fn late(&self, now: Instant) -> Option<Stage> {
        self.running.filter(|(_, deadline)| *deadline < now).map(|(stage, _)| stage)
    }

    /// Any byte will do; only the letter V would disarm it.
    fn feed(&mut self) {
        if let Some(watchdog) = self.watchdog.as_mut().filter(|_| !self.starved) {
            let _unfed = watchdog.write_all(b"\0");
        }
    }

    /// Nothing is written back first: PID 1 may hang in just that.
    fn act(&mut self, stage: Stage) {
        // Nobody may write after the look: a reboot lets all go on for a while.
        let _nobody = kill(EVERYBODY, Signal::SIGSTOP);
        let whole = self.disk.as_ref().is_none_or(|disk| is_whole(stage, disk));
        self.running = None;
        say(&format!("error: stage {stage} hangs"));
        match Action::of(stage, whole) {
            Action::GoBack => {
                say(&format!("verdict {}", Outcome::Returned));
                let deadline = Instant::now() + limit(Stage::Reboot, self.deploy);
                self.running = Some((Stage::Reboot, deadline));
                // It may hang as well, in the driver that the stage hangs in.
                thread::spawn(|| {
                    let Err(errno) = reboot(RebootMode::RB_AUTOBOOT);
                    say(&format!("error: rebooting: {errno}"));
                });
            }
            Action::Restart => {
                say("the machine is restarted at once");
                let Err(error) = fs::write(SYSRQ, "b") else { return };
                say(&format!("error: restarting: {error}"));
                self.starved = true;
            }
            Action::Wait => {
                let _nobody = kill(EVERYBODY, Signal::SIGCONT);
                say("the disk was written: the machine is left to its watchdog, where it has one");
                self.starved = true;
            }
        }
    }
}

/// Whether nothing was written. Before `deploy` nobody writes, so a disk that is gone is whole.
fn is_whole(stage: Stage, disk: &Selected) -> bool {
    sectors_written(disk).map_or(stage < Stage::Deploy, |written| !written)
}

/// What is done about a stage that hangs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    /// The old system is booted.
    GoBack,
    /// What is on the disk is booted, whatever the drivers of this kernel do.
    Restart,
    /// People are waited for.
    Wait,
}

impl Action {
    /// The last stage begins when it is decided what is booted.
    fn of(stage: Stage, whole: bool) -> Self {
        match (stage, whole) {
            (Stage::Reboot, _) => Self::Restart,
            (_, true) => Self::GoBack,
            (_, false) => Self::Wait,
        }
    }
}

/// Says it without waiting: a console that stands still must not keep the machine from going back.
fn say(text: &str) {
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits();
    for path in ["/dev/console", "/dev/kmsg"] {
        if let Ok(mut sink) = OpenOptions::new().write(true).custom_flags(flags).open(path) {
            let _unwritable = sink.write_all(format!("anemos: {text}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_hangs_leads_back_as_long_as_the_disk_is_whole() {
        for (stage, whole, want) in [
            (Stage::Mount, true, Action::GoBack),
            (Stage::Deploy, true, Action::GoBack),
            (Stage::Deploy, false, Action::Wait),
            (Stage::Settle, false, Action::Wait),
            (Stage::Reboot, true, Action::Restart),
            (Stage::Reboot, false, Action::Restart),
        ] {
            assert_eq!(Action::of(stage, whole), want, "{stage} {whole}");
        }
    }

    #[test]
    fn a_stage_is_late_after_its_limit_and_no_stage_never() {
        let now = Instant::now();
        let mut state = State::default();
        assert_eq!(state.late(now), None);
        for (stage, secs, want) in [
            (Stage::Mount, 119, None),
            (Stage::Mount, 121, Some(Stage::Mount)),
            (Stage::Network, 899, None),
            (Stage::Network, 901, Some(Stage::Network)),
            (Stage::Deploy, 600 + 59, None),
            (Stage::Deploy, 600 + 61, Some(Stage::Deploy)),
        ] {
            state.running = Some((stage, now + limit(stage, Duration::from_mins(10))));
            assert_eq!(state.late(now + Duration::from_secs(secs)), want, "{stage} {secs}");
        }
    }
}
