//! Notices what fails while packages are installed, even if the tool carries on.
//!
//! pacman(8) reports it if a hook or a script of a package fails, but exits with status 0. apk(8)
//! carries on, too, but exits with another status.

use std::time::Duration;

use crate::step::{Step, Watch};

/// What pacman prints if a program exits with a status other than 0.
const FAILED: &str = "error: command failed to execute correctly";

/// Passes on what a tool says, and remembers what failed.
pub(super) struct Hooks<'a> {
    watch: &'a mut dyn Watch,
    /// What pacman was doing, according to its last message.
    doing: Option<String>,
    failed: Vec<String>,
    /// What apk calls errors.
    errors: Vec<String>,
}

impl<'a> Hooks<'a> {
    /// Listens on behalf of `watch`.
    pub(super) fn listening(watch: &'a mut dyn Watch) -> Self {
        Self { watch, doing: None, failed: Vec::new(), errors: Vec::new() }
    }

    /// Drops apk's errors if all of them come from the trigger of GRUB, which makes a menu.
    ///
    /// The trigger cannot do that in a folder that is not on a disk, and another menu takes its
    /// place. apk calls it again in the new system.
    pub(super) fn only_lacks_a_menu(&mut self) -> bool {
        let only = !self.errors.is_empty() && self.errors.iter().all(|error| is_of_menu(error));
        if only {
            self.failed.push("the menu of GRUB".to_owned());
        }
        only
    }

    /// Reports everything that failed once more at the end, and returns it.
    pub(super) fn failed(self) -> Vec<String> {
        for failed in &self.failed {
            self.watch
                .line(&format!("warning: this failed, and the installation went on: {failed}"));
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
        } else if line.starts_with("ERROR: ") {
            self.errors.push(line.to_owned());
        } else if let Some(doing) = doing(line) {
            self.doing = Some(doing.to_owned());
        }
        self.watch.line(line);
    }
}

/// Returns whether an error comes from the trigger of GRUB.
///
/// apk 3 prints `ERROR: lib/apk/exec/grub-2.06-r0.trigger: exited with error 1`, apk 2.14 `ERROR:
/// grub-2.06-r0.trigger: script exited with error 1`.
fn is_of_menu(error: &str) -> bool {
    let script = error.trim_start_matches("ERROR: ").split(": ").next().unwrap_or_default();
    let name = script.rsplit('/').next().unwrap_or_default();
    name.starts_with("grub-") && name.ends_with(".trigger")
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
    use crate::step::tests::Said;

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
        assert_eq!(
            last,
            "warning: this failed, and the installation went on: Updating linux initcpios"
        );
    }

    #[test]
    fn only_the_trigger_of_grub_may_fail() {
        let grub = "ERROR: lib/apk/exec/grub-2.06-r0.trigger: exited with error 1";
        for (lines, want) in [
            (&[grub][..], true),
            (&["ERROR: grub-2.12-r5.trigger: script exited with error 1"], true),
            (&[grub, "ERROR: lib/apk/exec/mkinitfs-3.13.0-r0.trigger: exited with error 1"], false),
            (&[grub, "ERROR: nginx-1.22.1-r0: v2 package integrity error"], false),
            (&["ERROR: lib/apk/exec/grub-2.06-r0.post-install: exited with error 1"], false),
            (&["1 error; 93.5 MiB in 44 packages"], false),
        ] {
            let mut said = Said::default();
            let mut hooks = Hooks::listening(&mut said);
            for line in lines {
                hooks.line(line);
            }
            assert_eq!(hooks.only_lacks_a_menu(), want, "{lines:?}");
        }
    }
}
