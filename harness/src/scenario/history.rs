//! How long scenarios took the last time, so that the longest start first.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::Scenario;
use super::run::Outcome;
use crate::verdict::Ending;

/// Seconds by the name of the scenario.
#[derive(Debug)]
pub struct History {
    file: PathBuf,
    seconds: BTreeMap<String, f64>,
}

impl History {
    /// Reads the history; without it every order is as good as another.
    pub fn read(cache: &Path) -> Self {
        let file = cache.join("durations.json");
        let text = fs::read_to_string(&file).unwrap_or_default();
        Self { file, seconds: serde_json::from_str(&text).unwrap_or_default() }
    }

    /// Puts the longest first, but those that never ran before all of them.
    pub fn longest_first(&self, mut scenarios: Vec<Scenario>) -> Vec<Scenario> {
        let seconds = |scenario: &Scenario| {
            self.seconds.get(&scenario.name).copied().unwrap_or(f64::INFINITY)
        };
        scenarios.sort_by(|one, other| seconds(other).total_cmp(&seconds(one)));
        scenarios
    }

    /// Remembers what passed; the next run can do without, so it may be lost.
    pub fn remember(&mut self, outcomes: &[Outcome]) {
        let passed = outcomes.iter().filter(|outcome| outcome.verdict == Ending::Passed);
        self.seconds.extend(passed.map(|outcome| (outcome.name.clone(), outcome.seconds)));
        if let Ok(text) = serde_json::to_string_pretty(&self.seconds) {
            drop(fs::write(&self.file, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::outcomes;

    #[test]
    fn the_longest_starts_first_and_the_unknown_before_it() {
        let cache = tempfile::tempdir().unwrap();
        let mut history = History::read(cache.path());
        let mut passed = outcomes()[..1].to_vec();
        passed.push(Outcome { name: "boot/slow".to_owned(), seconds: 99.0, ..passed[0].clone() });
        history.remember(&passed);
        let history = History::read(cache.path());
        let scenario = |name: &str| Scenario {
            name: name.to_owned(),
            ..Scenario::parse("claim = 'It.'\npayload = 'p'\nexpect = { exit = 0 }\n").unwrap()
        };
        let all = ["boot/minimal", "boot/new", "boot/slow"].map(scenario).to_vec();
        let names: Vec<_> = history.longest_first(all).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["boot/new", "boot/slow", "boot/minimal"]);
    }
}
