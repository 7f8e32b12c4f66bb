//! Faults of a machine, as data: what each one is, and when it strikes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::contract::STAGES;
use crate::size::Size;

/// A fault that strikes a machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// What it is.
    pub kind: Kind,
    /// When it strikes.
    pub at: Moment,
}

/// The kind of a fault; if it is about a disk, that is the disk with the system.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The reset button.
    Reset,
    /// The power fails, and the disk keeps only what was written before its last flush.
    PowerCut,
    /// Every read fails with `EIO` from now on.
    ReadError,
    /// Every write fails with `EIO` from now on.
    WriteError,
    /// Every flush fails with `EIO` from now on.
    FlushError,
    /// Every write fails with `ENOSPC` from now on, as on a thin volume that is full.
    DiskFull,
    /// The disk moves 4 MiB a second from now on.
    SlowDisk,
    /// The cable of the network card is pulled.
    LinkDown,
    /// One in a hundred packets to the machine is lost from now on.
    PacketLoss,
    /// The server hangs up in the middle of its answer.
    ServerStops,
    /// The same, but the server gives the rest to a client that asks for it.
    ServerResumes,
    /// The server sends a wrong byte in the middle of its answer.
    ServerLies,
    /// The processors stand still, and so does the clock: nothing in the machine can notice.
    Hang,
    /// The kernel hangs with its interrupts off, which a watchdog of the machine can notice.
    ///
    /// If there is more than one processor, only one of them hangs.
    LockUp,
    /// Every process but PID 1 is killed.
    ///
    /// It is sysrq `i` on the serial console, which `sysrq_always_enabled` permits.
    Kill,
    /// The kernel panics: sysrq `c` on the serial console, which `sysrq_always_enabled` permits.
    Panic,
    /// The clock of the machine is at 2001-01-01 when it is switched on.
    ClockOff,
}

impl Kind {
    /// Returns whether requests to the disk fail from then on.
    pub fn fails_the_disk(self) -> bool {
        matches!(self, Self::ReadError | Self::WriteError | Self::FlushError | Self::DiskFull)
    }

    /// Returns whether it is a property of the machine or its surroundings, not an event.
    fn is_from_the_start(self) -> bool {
        let servers = [Self::ServerStops, Self::ServerResumes, Self::ServerLies];
        self == Self::ClockOff || servers.contains(&self)
    }
}

/// When a fault strikes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Moment {
    /// `start`: when the machine is switched on.
    Start,
    /// `jump`: when the kernel of the deploy environment is first heard.
    Jump,
    /// `stage NAME`: when a stage begins.
    Stage(String),
    /// `written SIZE`: when the deploy environment has written that much to the system's disk.
    Written(Size),
    /// `seed NUMBER`: at a stage or amount that depends on the number.
    Drawn(u64),
}

impl Moment {
    /// Returns the moment that a number stands for: half of them are stages, half of them amounts.
    fn drawn(self) -> Self {
        let Self::Drawn(seed) = self else { return self };
        // The finalizer of SplitMix64: neighbouring numbers give unlike moments.
        let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        let (half, rest) = (bits % 2, bits >> 1);
        match STAGES.get(usize::try_from(rest % STAGES.len() as u64).unwrap_or_default()) {
            Some(stage) if half == 0 => Self::Stage((*stage).to_owned()),
            _ => Self::Written(Size::of_bytes((1 + rest % 32) << 20)),
        }
    }
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let unknown = || {
            format!(
                "{text:?} is not a moment; use start, jump, \"stage deploy\", \"written 8M\" or \"seed 7\""
            )
        };
        match text.split_once(' ') {
            None if text == "start" => Ok(Self::Start),
            None if text == "jump" => Ok(Self::Jump),
            Some(("seed", number)) => number.parse().ok().map(Self::Drawn).ok_or_else(unknown),
            Some(("written", size)) => Size::parse(size).map(Self::Written).ok_or_else(unknown),
            Some(("stage", name)) if STAGES.contains(&name) => Ok(Self::Stage(name.to_owned())),
            Some(("stage", name)) => {
                Err(format!("there is no stage {name}: {}", STAGES.join(", ")))
            }
            _ => Err(unknown()),
        }
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        match moment {
            Moment::Start => "start".to_owned(),
            Moment::Jump => "jump".to_owned(),
            Moment::Stage(name) => format!("stage {name}"),
            Moment::Written(size) => format!("written {size}"),
            Moment::Drawn(seed) => format!("seed {seed}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A unit variant is written as its name, without any other way to fail.
        let kind = serde_json::to_value(self.kind).unwrap_or_default();
        write!(f, "{} at {}", kind.as_str().unwrap_or_default(), String::from(self.at.clone()))
    }
}

impl Fault {
    /// Rejects a fault that could never strike.
    pub fn check(&self) -> Result<(), String> {
        match (self.kind.is_from_the_start(), self.at == Moment::Start) {
            (true, false) => Err(format!("{self}: that is so from the start, or never")),
            (false, true) => {
                Err(format!("{self}: the machine must be running; use jump, stage or written"))
            }
            _ => Ok(()),
        }
    }

    /// Rejects faults that could not strike together.
    pub fn check_all(faults: &[Self]) -> Result<(), String> {
        faults.iter().try_for_each(Self::check)?;
        let ends = |fault: &&Self| matches!(fault.kind, Kind::Reset | Kind::PowerCut);
        match faults.iter().filter(ends).nth(1) {
            Some(second) => Err(format!("{second}: another fault ends the run already")),
            None => Ok(()),
        }
    }
}

/// Returns what the clock of a machine with these faults says.
pub(crate) fn clock(faults: &[Fault]) -> Option<&'static str> {
    faults.iter().any(|fault| fault.kind == Kind::ClockOff).then_some("2001-01-01T00:00:00")
}

/// How far a machine had come when the first fault struck it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Struck {
    /// Seconds since the rehearsal began.
    pub at: f64,
    /// The stage that ran.
    pub stage: Option<String>,
    /// Bytes that the deploy environment had written to the system's disk, excluding reports.
    pub written: u64,
}

/// The faults that have not struck yet.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    waiting: Vec<Fault>,
    /// What had been written to the system's disk at the jump.
    before: Option<u64>,
}

/// How far a machine has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Whether the kernel of the deploy environment was heard.
    pub jumped: bool,
    /// The stage that runs.
    pub stage: Option<&'static str>,
    /// Bytes written to the system's disk since the machine was switched on.
    pub written: u64,
}

impl Faults {
    /// Starts waiting for the moments of all faults that strike a running machine.
    pub fn new(faults: &[Fault]) -> Self {
        let later = |fault: &&Fault| fault.at != Moment::Start;
        let drawn = |fault: &Fault| Fault { at: fault.at.clone().drawn(), ..fault.clone() };
        Self { waiting: faults.iter().filter(later).map(drawn).collect(), before: None }
    }

    /// Returns whether nothing strikes any more, or the jump was already noted.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() || self.before.is_some()
    }

    /// Returns whether one of them waits for an amount that is written.
    pub fn wait_for_bytes(&self) -> bool {
        let written = |fault: &Fault| matches!(fault.at, Moment::Written(_));
        self.before.is_some() && self.waiting.iter().any(written)
    }

    /// Notes what had been written at the jump, and returns it.
    pub fn begin_at(&mut self, written: u64) -> u64 {
        *self.before.get_or_insert(written)
    }

    /// Returns how many of these bytes, counted since power-on, were written since the jump.
    pub fn since_jump(&self, written: u64) -> u64 {
        written.saturating_sub(self.before.unwrap_or(written))
    }

    /// Returns what strikes now, each fault once.
    pub fn due(&mut self, now: Progress) -> Vec<Fault> {
        if !now.jumped || self.waiting.is_empty() {
            return Vec::new();
        }
        let before = self.begin_at(now.written);
        let (due, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|fault| match &fault.at {
                Moment::Start | Moment::Drawn(_) => false,
                Moment::Jump => true,
                Moment::Stage(name) => now.stage == Some(name.as_str()),
                Moment::Written(size) => now.written.saturating_sub(before) >= size.bytes(),
            });
        self.waiting = waiting;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: Kind, at: &str) -> Fault {
        Fault { kind, at: Moment::try_from(at.to_owned()).unwrap() }
    }

    #[test]
    fn moments_are_read_and_written_alike() {
        for text in ["start", "jump", "stage deploy", "written 8M", "seed 7"] {
            let moment = Moment::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(moment), text);
        }
        for (text, want) in [
            (
                "later",
                "\"later\" is not a moment; use start, jump, \"stage deploy\", \"written 8M\" or \"seed 7\"",
            ),
            ("written much", "is not a moment"),
            ("stage dance", "there is no stage dance: verify-initramfs, mount"),
        ] {
            let error = Moment::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains(want), "{error}");
        }
    }

    #[test]
    fn a_fault_strikes_once_at_its_moment() {
        let at_stage = fault(Kind::LinkDown, "stage network");
        let at_write = fault(Kind::WriteError, "written 1M");
        let at_jump = fault(Kind::SlowDisk, "jump");
        let mut faults = Faults::new(&[at_stage.clone(), at_write.clone(), at_jump.clone()]);
        let now = |jumped, stage, written| Progress { jumped, stage, written };
        for (now, want) in [
            (now(false, None, 90 << 20), vec![]),
            (now(true, None, 100 << 20), vec![at_jump]),
            (now(true, Some("mount"), 100 << 20), vec![]),
            (now(true, Some("network"), 100 << 20), vec![at_stage]),
            (now(true, Some("deploy"), (101 << 20) - 1), vec![]),
            (now(true, Some("deploy"), 101 << 20), vec![at_write]),
            (now(true, Some("deploy"), 200 << 20), vec![]),
        ] {
            assert_eq!(faults.due(now), want, "{now:?}");
        }
    }

    #[test]
    fn numbers_draw_stages_and_amounts_and_always_the_same() {
        let drawn = |seed| Moment::Drawn(seed).drawn();
        let all: Vec<Moment> = (0..64).map(drawn).collect();
        assert_eq!(all, (0..64).map(drawn).collect::<Vec<_>>());
        let stages = STAGES.iter().filter(|stage| all.contains(&Moment::Stage((**stage).into())));
        assert!(stages.count() > STAGES.len() / 2, "{all:?}");
        assert!(all.iter().filter(|moment| matches!(moment, Moment::Written(_))).count() > 16);
    }

    #[test]
    fn faults_that_both_end_the_run_are_refused() {
        let faults = [fault(Kind::Reset, "jump"), fault(Kind::PowerCut, "stage deploy")];
        let want = "power-cut at stage deploy: another fault ends the run already";
        assert_eq!(Fault::check_all(&faults), Err(want.to_owned()));
        assert_eq!(Fault::check_all(&faults[1..]), Ok(()));
    }

    #[test]
    fn a_fault_that_could_never_strike_is_named() {
        assert_eq!(fault(Kind::ClockOff, "start").check(), Ok(()));
        assert_eq!(fault(Kind::Reset, "written 1G").check(), Ok(()));
        for (fault, want) in [
            (
                fault(Kind::ClockOff, "jump"),
                "clock-off at jump: that is so from the start, or never",
            ),
            (
                fault(Kind::Reset, "start"),
                "reset at start: the machine must be running; use jump, stage or written",
            ),
        ] {
            assert_eq!(fault.check(), Err(want.to_owned()));
        }
    }
}
