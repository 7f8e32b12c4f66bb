//! The last lines of a console, kept to show what was there when something ended.

use std::collections::VecDeque;

/// How many lines are kept.
pub(crate) const KEPT: usize = 12;

/// The last lines that are not blank.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(VecDeque<String>);

impl Recent {
    /// Takes one more line.
    pub(crate) fn remember(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line.to_owned());
    }

    /// Returns whether nothing was said.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the lines, in their order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Recent};

    #[test]
    fn the_last_lines_are_kept_and_blank_ones_are_not() {
        let mut recent = Recent::default();
        assert!(recent.is_empty());
        for number in 0..=KEPT {
            recent.remember(" ");
            recent.remember(&number.to_string());
        }
        let want: Vec<_> = (1..=KEPT).map(|number| number.to_string()).collect();
        assert_eq!(recent.lines(), want);
    }
}
