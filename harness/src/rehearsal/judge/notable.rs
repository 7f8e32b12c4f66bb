//! What an init system said about units that did not start: kept however much follows.

use crate::classify::without_clock;

/// How many lines are kept; the first ones are nearest to the cause.
const KEPT: usize = 12;
/// How systemd begins such a line (`src/core/job.c`), and `OpenRC` (` * ERROR: `).
const MARKS: &[&str] = &["[ TIME ] ", "[FAILED] ", "[DEPEND] ", "[!!!!!!] ", "* ERROR: "];

/// The lines.
#[derive(Debug, Default)]
pub(super) struct Notable(Vec<String>);

impl Notable {
    /// Keeps the line if it is about a unit that did not start.
    pub(super) fn take(&mut self, line: &str) {
        let said = without_clock(line).trim();
        let is_one = MARKS.iter().any(|mark| said.starts_with(mark));
        if is_one && self.0.len() < KEPT && !self.0.iter().any(|known| known == line) {
            self.0.push(line.to_owned());
        }
    }

    /// Returns the lines in their order.
    pub(super) fn lines(&self) -> Vec<String> {
        self.0.clone()
    }

    /// Returns what caused an emergency: the device or unit that was named first.
    pub(super) fn cause(&self) -> Option<&str> {
        let waited = self.said(&["[ TIME ] "]).next();
        waited.or_else(|| self.said(&["[!!!!!!] ", "[FAILED] ", "[DEPEND] "]).next())
    }

    /// Returns what is said about each unit that failed by itself.
    pub(super) fn units(&self) -> impl Iterator<Item = &str> {
        self.said(&["[FAILED] ", "[ TIME ] ", "* ERROR: "])
    }

    fn said<'n>(&'n self, marks: &'n [&str]) -> impl Iterator<Item = &'n str> {
        let said = |line: &'n String| {
            let line = without_clock(line).trim();
            marks.iter().find_map(|mark| line.strip_prefix(mark)).map(str::trim)
        };
        self.0.iter().filter_map(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_kept_and_the_first_cause_is_named() {
        let mut notable = Notable::default();
        for line in [
            "[  OK  ] Started cron.service.",
            "[DEPEND] Dependency failed for srv.mount - /srv.",
            "[ TIME ] Timed out waiting for device dev-vdb1.device - /dev/vdb1.",
            "[FAILED] Failed to start apache2.service - The Apache HTTP Server.",
            "[FAILED] Failed to start apache2.service - The Apache HTTP Server.",
        ] {
            notable.take(line);
        }
        assert_eq!(notable.lines().len(), 3);
        let cause = "Timed out waiting for device dev-vdb1.device - /dev/vdb1.";
        assert_eq!(notable.cause(), Some(cause));
        let units: Vec<_> = notable.units().collect();
        assert_eq!(units, [cause, "Failed to start apache2.service - The Apache HTTP Server."]);
    }
}
