//! How long a wait may take, and what to say when it is given up.

use std::fmt;
use std::time::{Duration, Instant};

/// How many times slower than real hardware a guest runs on this host.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct SpeedFactor(f64);

impl SpeedFactor {
    /// Real hardware.
    pub const REAL: Self = Self(1.0);
    /// What emulation costs if nobody measured it.
    pub const EMULATED: Self = Self(10.0);

    /// Takes a measured factor; beyond 40 a host is not slow but stuck, and below 1 nothing is
    /// gained.
    pub fn new(factor: f64) -> Self {
        if factor.is_finite() { Self(factor.clamp(1.0, 40.0)) } else { Self::EMULATED }
    }

    /// Returns the plain number.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for SpeedFactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1}", self.0)
    }
}

/// The limits of one wait, in the time of real hardware until [`Budget::scaled`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// What is waited for, as in the message: `"login:" on the console`.
    pub what: String,
    /// Longest duration of the whole wait.
    pub cap: Duration,
    /// Longest time without progress on any sensor.
    pub stall: Duration,
}

impl Budget {
    /// Describes a wait for `what`.
    pub fn new(what: impl Into<String>, cap: Duration, stall: Duration) -> Self {
        Self { what: what.into(), cap, stall }
    }

    /// Returns the budget for a guest that is slower than real hardware.
    #[must_use]
    pub fn scaled(self, factor: SpeedFactor) -> Self {
        let cap = self.cap.mul_f64(factor.get());
        let stall = self.stall.mul_f64(factor.get());
        Self { cap, stall, ..self }
    }
}

/// A wait in progress; it reads no clock, because every call passes the time.
#[derive(Clone, Debug)]
pub struct Watch {
    budget: Budget,
    began: Instant,
    progressed: Instant,
}

impl Watch {
    /// Starts waiting at `now`.
    pub fn begin(budget: Budget, now: Instant) -> Self {
        Self { budget, began: now, progressed: now }
    }

    /// Notes that some sensor moved.
    pub fn progress(&mut self, now: Instant) {
        self.progressed = self.progressed.max(now);
    }

    /// Returns the moment at which the wait is given up if nothing moves until then.
    pub fn deadline(&self) -> Instant {
        (self.began + self.budget.cap).min(self.progressed + self.budget.stall)
    }

    /// Returns why the wait is over at `now`, if it is.
    pub fn expired(&self, now: Instant) -> Option<GaveUp> {
        let reason = if now >= self.began + self.budget.cap {
            Limit::Cap
        } else if now >= self.progressed + self.budget.stall {
            Limit::Stall
        } else {
            return None;
        };
        Some(GaveUp {
            what: self.budget.what.clone(),
            limit: reason,
            waited: now.duration_since(self.began),
            quiet: now.duration_since(self.progressed),
        })
    }
}

/// Which limit of a budget was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The wait as a whole took too long.
    Cap,
    /// Nothing moved for too long.
    Stall,
}

/// A wait that was given up.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "gave up after {}s waiting for {what} (nothing moved for {}s)",
    waited.as_secs(), quiet.as_secs()
)]
pub struct GaveUp {
    /// What was waited for.
    pub what: String,
    /// Which limit was reached.
    pub limit: Limit,
    /// How long the whole wait was.
    pub waited: Duration,
    /// How long no sensor had moved at its end.
    pub quiet: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn the_limit_that_comes_first_ends_the_wait() {
        let began = Instant::now();
        for (moved, now, want) in [
            (0, 19, None),
            (0, 20, Some(Limit::Stall)),
            (15, 34, None),
            (15, 35, Some(Limit::Stall)),
            (50, 59, None),
            (50, 60, Some(Limit::Cap)),
        ] {
            let mut watch = Watch::begin(Budget::new("it", s(60), s(20)), began);
            watch.progress(began + s(moved));
            let got = watch.expired(began + s(now)).map(|gave_up| gave_up.limit);
            assert_eq!(got, want, "moved at {moved}, asked at {now}");
            assert_eq!(watch.deadline() <= began + s(now), want.is_some(), "deadline at {now}");
        }
    }

    #[test]
    fn giving_up_names_the_wait_and_both_times() {
        let began = Instant::now();
        let mut watch = Watch::begin(Budget::new("\"login:\" on the console", s(60), s(20)), began);
        watch.progress(began + s(41));
        let text = watch.expired(began + s(61)).map(|gave_up| gave_up.to_string());
        assert_eq!(
            text.as_deref(),
            Some("gave up after 61s waiting for \"login:\" on the console (nothing moved for 20s)")
        );
    }

    #[test]
    fn a_factor_stays_between_one_and_forty() {
        for (measured, want) in [(0.2, 1.0), (7.5, 7.5), (900.0, 40.0), (f64::NAN, 10.0)] {
            let got = SpeedFactor::new(measured).get();
            assert!((got - want).abs() < f64::EPSILON, "{measured} became {got}");
        }
    }

    #[test]
    fn both_limits_are_scaled() {
        let scaled = Budget::new("it", s(6), s(2)).scaled(SpeedFactor::new(10.0));
        assert_eq!(scaled, Budget::new("it", s(60), s(20)));
    }
}
