//! Finds the smallest memory with which a payload passes, by bisection.

use std::process::ExitCode;

use harness::classify::Class;
use harness::verdict::{Ending, Verdict};

/// The smallest difference in memory that matters, in MiB.
pub(super) const STEP: u64 = 32;
/// The memory with which no machine passes, in MiB.
const LEAST: u64 = 64;

/// A search between a memory that is enough and one that is too little.
#[derive(Debug)]
pub(super) struct Search {
    /// In steps.
    enough: u64,
    too_little: u64,
    /// The result for each memory in MiB, in the order in which they were tried.
    tried: Vec<(u64, Verdict)>,
}

impl Search {
    /// Begins with the memory of a machine, in MiB.
    pub(super) fn new(most: u64) -> Self {
        // One step above, so that the first attempt is the machine's own memory.
        Self { enough: most / STEP + 1, too_little: LEAST / STEP, tried: Vec::new() }
    }

    /// Returns the memory to try next, in MiB; none if the result is known.
    pub(super) fn next(&self) -> Option<u64> {
        if self.tried.is_empty() {
            return Some((self.enough - 1) * STEP);
        }
        let middle = u64::midpoint(self.enough, self.too_little);
        (middle > self.too_little && middle < self.enough).then_some(middle * STEP)
    }

    /// Records the result for a memory.
    pub(super) fn note(&mut self, memory: u64, verdict: Verdict) {
        if verdict.verdict == Ending::Passed {
            self.enough = memory / STEP;
        } else {
            self.too_little = memory / STEP;
        }
        self.tried.push((memory, verdict));
    }

    /// Renders the result for people, and returns whether it is good.
    ///
    /// It is good if a machine with less than enough memory is refused before anything happens to
    /// it.
    pub(super) fn result(&self) -> (String, ExitCode) {
        let row = |(memory, verdict): &(u64, Verdict)| {
            let said = match verdict.verdict {
                Ending::Passed => "passed".to_owned(),
                other => format!("{other}: {}", verdict.reason),
            };
            format!("{memory:>5} MiB  {said}")
        };
        let mut rows: Vec<_> = self.tried.iter().collect();
        rows.sort_by_key(|(memory, _)| *memory);
        let mut lines: Vec<_> = rows.into_iter().rev().map(row).collect();
        let at = |steps: u64| self.tried.iter().find(|(memory, _)| *memory == steps * STEP);
        let (floor, below) = (at(self.enough), at(self.too_little));
        let refused = below.is_none_or(|(_, below)| below.class == Some(Class::Refused));
        lines.push(match (floor, below) {
            (None, _) => "it does not pass with the most that was tried".to_owned(),
            (Some((floor, _)), _) if refused => {
                format!("smallest memory: {floor} MiB; with {STEP} MiB less it is refused")
            }
            (Some((floor, _)), _) => {
                format!("smallest memory: {floor} MiB; with {STEP} MiB less it is NOT refused, but fails")
            }
        });
        let good = floor.is_some() && refused;
        (lines.join("\n"), if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches with a payload that passes with so much memory and fails in this way with less.
    fn search(needs: u64, class: Class) -> (Vec<u64>, String) {
        let mut search = Search::new(1024);
        while let Some(memory) = search.next() {
            let verdict = if memory >= needs {
                Verdict::passed("it holds", Vec::new())
            } else {
                Verdict::failed(class, "too little", Vec::new())
            };
            search.note(memory, verdict);
        }
        let tried = search.tried.iter().map(|(memory, _)| *memory).collect();
        (tried, search.result().0.lines().last().unwrap_or_default().to_owned())
    }

    #[test]
    fn the_smallest_memory_is_found_by_halving() {
        let (tried, said) = search(300, Class::Refused);
        assert_eq!(tried, [1024, 544, 288, 416, 352, 320]);
        assert_eq!(said, "smallest memory: 320 MiB; with 32 MiB less it is refused");
    }

    #[test]
    fn a_death_in_the_middle_and_a_machine_that_is_too_small_are_told() {
        let (_, said) = search(300, Class::KernelPanic);
        assert_eq!(said, "smallest memory: 320 MiB; with 32 MiB less it is NOT refused, but fails");
        let (_, said) = search(4096, Class::Refused);
        assert_eq!(said, "it does not pass with the most that was tried");
    }
}
