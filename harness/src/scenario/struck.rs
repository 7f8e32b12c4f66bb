//! Whether the faults of a scenario struck where it says.

use serde::Deserialize;

use crate::fault::{Fault, Kind, Moment, Struck};
use crate::machine::setup::Setup;
use crate::size::Size;

/// How far the machine must have come when the first fault strikes.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Place {
    /// The stage that runs.
    pub stage: Option<String>,
    /// At least as much must have been written.
    pub from: Option<Size>,
    /// At most as much may have been written.
    pub to: Option<Size>,
}

/// What reports of the deploy environment may add to what is counted as written, or take from it.
const SLACK: u64 = 256 << 10;

/// Returns what differs between where the first fault struck and where it had to.
///
/// A machine that ended before the moment came was never struck, so its result says nothing about
/// the fault.
pub(super) fn differences(
    machine: &Setup,
    wanted: Option<&Place>,
    struck: Option<&Struck>,
) -> Vec<String> {
    // A slow disk lets another fault strike at the right moment.
    let all: Vec<_> = machine.faults.iter().filter(|fault| fault.at != Moment::Start).collect();
    let counts = |fault: &&&Fault| all.len() == 1 || fault.kind != Kind::SlowDisk;
    let mut later = all.iter().filter(counts).copied();
    let (first, second) = (later.next(), later.next());
    if first.is_none() && wanted.is_none() {
        return Vec::new();
    }
    let Some(struck) = struck else {
        let what = first.map_or_else(|| "no fault".to_owned(), Fault::to_string);
        return vec![format!("{what}: it never struck")];
    };
    // Which of several comes first is for the scenario to say.
    let own = first.filter(|_| second.is_none()).and_then(|fault| place(&fault.at));
    wanted.cloned().or(own).map(|place| place.misses(struck)).unwrap_or_default()
}

/// Returns the place that a moment names.
fn place(moment: &Moment) -> Option<Place> {
    let nowhere = Place { stage: None, from: None, to: None };
    match moment {
        Moment::Stage(name) => Some(Place { stage: Some(name.clone()), ..nowhere }),
        Moment::Written(size) => Some(Place { from: Some(*size), ..nowhere }),
        Moment::Jump => Some(Place { to: Some(Size::of_bytes(0)), ..nowhere }),
        Moment::Start | Moment::Drawn(_) => None,
    }
}

impl Place {
    fn misses(&self, struck: &Struck) -> Vec<String> {
        let mut lines = Vec::new();
        if self.stage.is_some() && self.stage != struck.stage {
            let name = |stage: &Option<String>| stage.clone().unwrap_or_else(|| "none".to_owned());
            let (found, wanted) = (name(&struck.stage), name(&self.stage));
            lines.push(format!("the fault struck in stage {found}, not {wanted}"));
        }
        let written = struck.written;
        if let Some(from) = self.from.filter(|from| written + SLACK < from.bytes()) {
            lines.push(format!("the fault struck after {written} bytes, not {from} or more"));
        }
        if let Some(to) = self.to.filter(|to| written > to.bytes() + SLACK) {
            lines.push(format!("the fault struck after {written} bytes, not {to} or less"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(moments: &[&str]) -> Setup {
        let fault =
            |at: &&str| Fault { kind: Kind::Kill, at: Moment::try_from((*at).to_owned()).unwrap() };
        Setup { faults: moments.iter().map(fault).collect(), ..Setup::default() }
    }

    fn place(text: &str) -> Option<Place> {
        (!text.is_empty()).then(|| toml::from_str(text).unwrap())
    }

    #[test]
    fn a_fault_must_strike_at_its_moment_or_where_the_scenario_says() {
        let struck = |stage: &str, written| {
            Some(Struck { at: 1.0, stage: (!stage.is_empty()).then(|| stage.into()), written })
        };
        let never = "kill at stage deploy: it never struck";
        for (moments, wanted, found, want) in [
            (&[][..], "", None, vec![]),
            (&["start"], "", None, vec![]),
            (&["stage deploy"], "", None, vec![never]),
            (&["stage deploy"], "", struck("deploy", 0), vec![]),
            (
                &["stage deploy"],
                "",
                struck("settle", 0),
                vec!["the fault struck in stage settle, not deploy"],
            ),
            (&["written 8M"], "", struck("deploy", 9 << 20), vec![]),
            (
                &["written 8M"],
                "",
                struck("deploy", 1 << 20),
                vec!["the fault struck after 1048576 bytes, not 8M or more"],
            ),
            (&["written 8M"], "to = '16M'", struck("deploy", 9 << 20), vec![]),
            (
                &["written 8M"],
                "to = '16M'",
                struck("deploy", 128 << 20),
                vec!["the fault struck after 134217728 bytes, not 16M or less"],
            ),
            (&["jump"], "", struck("", 0), vec![]),
            (
                &["jump"],
                "",
                struck("deploy", 1 << 20),
                vec!["the fault struck after 1048576 bytes, not 0 or less"],
            ),
            (&["seed 7"], "", None, vec!["kill at seed 7: it never struck"]),
            (&["seed 7"], "", struck("network", 0), vec![]),
            (&["jump", "stage deploy"], "", struck("deploy", 0), vec![]),
            (&[], "stage = 'deploy'", None, vec!["no fault: it never struck"]),
        ] {
            let found = differences(&machine(moments), place(wanted).as_ref(), found.as_ref());
            assert_eq!(found, want, "{moments:?} {wanted}");
        }
    }
}
