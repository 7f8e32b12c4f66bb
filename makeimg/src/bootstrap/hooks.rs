//! Notices what fails while packages are installed, although the tool goes on.
//!
//! pacman(8) reports a hook or a script of a package that fails, and ends with status 0.

use std::time::Duration;

use crate::stage::{Step, Watch};

/// What pacman says of a program that ended with another status than 0.
const FAILED: &str = "error: command failed to execute correctly";

/// Passes on what a tool says, and remembers what failed.
pub(super) struct Hooks<'a> {
    watch: &'a mut dyn Watch,
    /// What pacman was doing when it said something last.
    doing: Option<String>,
    failed: Vec<String>,
}

impl<'a> Hooks<'a> {
    /// Listens on behalf of `watch`.
    pub(super) fn listening(watch: &'a mut dyn Watch) -> Self {
        Self { watch, doing: None, failed: Vec::new() }
    }

    /// Reports what failed, once more at the end, and returns it.
    pub(super) fn failed(self) -> Vec<String> {
        for failed in &self.failed {
            self.watch.line(&format!("warning: this failed, and pacman went on: {failed}"));
        }
        self.failed
    }
}

impl Watch for Hooks<'_> {
    fn begins(&mut self, step: Step) {
        self.watch.begins(step);
    }

    fn ended(&mut self, step: Step, took: Duration, failure: Option<&str>) {
        self.watch.ended(step, took, failure);
    }

    fn line(&mut self, line: &str) {
        if line.starts_with(FAILED) {
            self.failed.push(self.doing.clone().unwrap_or_else(|| "a script".to_owned()));
        } else if let Some(doing) = doing(line) {
            self.doing = Some(doing.to_owned());
        }
        self.watch.line(line);
    }
}

/// Reads `(3/7) Updating linux initcpios...`, or `installing linux...`.
fn doing(line: &str) -> Option<&str> {
    let digits = |text: &str| text.trim().bytes().all(|byte| byte.is_ascii_digit());
    let counted = line.strip_prefix('(').and_then(|rest| {
        let (count, doing) = rest.split_once(") ")?;
        count.split('/').all(digits).then_some(doing)
    });
    let doing = counted.or_else(|| line.starts_with("installing ").then_some(line))?;
    Some(doing.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::tests::Said;

    #[test]
    fn a_hook_that_fails_is_remembered_by_what_it_does() {
        let mut said = Said::default();
        let mut hooks = Hooks::listening(&mut said);
        for line in [
            "installing linux...",
            ":: Running post-transaction hooks...",
            "(1/12) Creating system user accounts...",
            "( 2/12) Updating linux initcpios...",
            "==> ERROR: no module",
            "error: command failed to execute correctly",
            "(3/12) Reloading (nothing)...",
        ] {
            hooks.line(line);
        }
        assert_eq!(hooks.failed(), ["Updating linux initcpios"]);
        let last = said.0.last().unwrap();
        assert_eq!(last, "warning: this failed, and pacman went on: Updating linux initcpios");
    }
}
