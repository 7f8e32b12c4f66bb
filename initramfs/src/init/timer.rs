//! The dead man's switch: a stage that takes too long leads back, whatever it hangs in.
//!
//! A thread watches the clock while PID 1 works. It also feeds the hardware watchdog, and stops
//! doing so when a stage is late: what no software can end, the hardware does. The watchdog keeps
//! running as the kernel leaves, because of a parameter (`stop_on_reboot`).

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

/// Time between two looks.
///
/// Watchdogs of servers wait for at least 30 s unless they are configured otherwise.
const TURN: Duration = Duration::from_secs(1);
/// How long ending a `deploy` that exceeds its own limit may take.
const GRACE: Duration = Duration::from_mins(1);
/// The first watchdog of the machine (Linux, `Documentation/watchdog/watchdog-api.rst`).
const WATCHDOG: &str = "/dev/watchdog0";

/// Restarts the machine when `b` is written to it, without involving any driver.
///
/// See Linux, `admin-guide/sysrq`.
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
    /// Whether the watchdog is no longer fed; it stays open, because closing disarms some.
    starved: bool,
}

/// Returns how long a stage may take; `deploy` has its own limit, which PID 1 enforces as well.
fn limit(stage: Stage, deploy: Duration) -> Duration {
    let secs = match stage {
        Stage::VerifyInitramfs | Stage::Mount | Stage::Reboot => 120,
        Stage::Modules | Stage::Disks => 300,
        // Each of a server's cards may be asked for a minute or two.
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

    /// Notes that a stage begins, so the one before it has ended.
    pub(super) fn begin(&self, stage: Stage) {
        let mut shared = self.state();
        shared.running = Some((stage, Instant::now() + limit(stage, shared.deploy)));
    }

    /// Notes that the machine goes back, whatever the disk says.
    ///
    /// The report for the old system is written to it, and a disk that does not answer must not
    /// keep the machine from going back.
    pub(super) fn go_back(&self) {
        self.state().disk = None;
        self.begin(Stage::Reboot);
    }

    /// Notes that no stage runs; if PID 1 gets to say so, it was merely late.
    pub(super) fn pause(&self) {
        let mut shared = self.state();
        (shared.running, shared.starved) = (None, false);
    }

    /// Notes how long `deploy` may take.
    pub(super) fn allow(&self, deploy: Duration) {
        self.state().deploy = deploy;
    }

    /// Notes which disk determines whether there is a way back.
    pub(super) fn know(&self, disk: &Selected) {
        self.state().disk = Some(disk.clone());
    }

    /// Arms the hardware watchdog if the machine has one, and returns which.
    pub(super) fn arm(&self) -> Option<&'static str> {
        let watchdog = OpenOptions::new().write(true).open(WATCHDOG).ok()?;
        self.state().watchdog = Some(watchdog);
        self.shared.1.notify_one();
        Some(WATCHDOG)
    }

    /// Notes that the machine is being switched off, so nothing may start it again.
    pub(super) fn disarm(&self) {
        let mut shared = self.state();
        shared.running = None;
        shared.starved = true;
        // After this letter, closing stops it (Linux, `watchdog-api.rst`, "Magic Close feature").
        if let Some(mut watchdog) = shared.watchdog.take() {
            let _runs_on = watchdog.write_all(b"V");
        }
    }

    /// Locks the state.
    ///
    /// The thread holds the lock no longer than a look takes, so a panic elsewhere leaves nothing
    /// half-changed in it.
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

    /// Acts on a stage that hangs, without writing back anything: PID 1 may hang in just that.
    fn act(&mut self, stage: Stage) {
        // Nobody may write after the look, but a reboot lets everyone continue for a while.
        let _nobody = kill(EVERYBODY, Signal::SIGSTOP);
        let whole = self.disk.as_ref().is_none_or(|disk| is_whole(stage, disk));
        self.running = None;
        say(&format!("error: stage {stage} hangs"));
        match Action::of(stage, whole) {
            Action::GoBack => {
                say(&format!("verdict {}", Outcome::Returned));
                let deadline = Instant::now() + limit(Stage::Reboot, self.deploy);
                self.running = Some((Stage::Reboot, deadline));
                // It may hang as well, in the same driver as the stage.
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

/// Returns whether nothing was written; a disk that is gone before `deploy` is whole.
fn is_whole(stage: Stage, disk: &Selected) -> bool {
    sectors_written(disk).map_or(stage < Stage::Deploy, |written| !written)
}

/// What to do about a stage that hangs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    /// Boots the old system.
    GoBack,
    /// Boots whatever is on the disk, regardless of this kernel's drivers.
    Restart,
    /// Waits for people.
    Wait,
}

impl Action {
    /// Decides; the last stage only begins once it is clear what will be booted.
    fn of(stage: Stage, whole: bool) -> Self {
        match (stage, whole) {
            (Stage::Reboot, _) => Self::Restart,
            (_, true) => Self::GoBack,
            (_, false) => Self::Wait,
        }
    }
}

/// Says it without waiting: a blocked console must not keep the machine from going back.
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
