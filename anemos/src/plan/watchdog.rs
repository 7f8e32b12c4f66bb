//! Decides whether the hardware watchdog watches over the jump itself.

use serde::Serialize;

use super::entry::Rung;
use crate::facts::{Device, Watchdog};
use crate::modules;

/// The shortest time in seconds in which the deploy environment certainly loads its driver.
pub(crate) const SHORTEST: u32 = 60;

/// The watchdog of the jump.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PlannedWatchdog {
    /// It is armed before the jump, and the deploy environment takes it over.
    Armed(Watchdog),
    /// There is none, for this reason.
    None(String),
}

/// What the decision depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    pub(super) watchdog: Option<&'q Watchdog>,
    pub(super) ladder: &'q [Rung],
    /// Modules that PID 1 loads; empty if they are not known yet.
    pub(super) load: &'q [String],
    /// Whether the deploy environment has the running kernel.
    pub(super) running: bool,
}

impl Question<'_> {
    pub(super) fn answer(&self) -> PlannedWatchdog {
        match self.decide() {
            Ok(watchdog) => PlannedWatchdog::Armed(watchdog.clone()),
            Err(why) => PlannedWatchdog::None(why),
        }
    }

    fn decide(&self) -> Result<&Watchdog, String> {
        if self.ladder.is_empty() {
            return Err("there is no jump".to_owned());
        }
        let watchdog = self.watchdog.ok_or("the running system has no driver of one")?;
        let identity = &watchdog.identity;
        if self.ladder.iter().all(|rung| rung.boots()) {
            return Err(format!("a reboot stops the {identity}"));
        }
        if let Some(max) = watchdog.max_timeout.filter(|max| *max < SHORTEST) {
            return Err(format!("the {identity} waits for {max} s at most"));
        }
        // If nobody fed it, it would reset the machine in the middle of the deployment.
        if let Some(device) = watchdog.devices.iter().find(|device| !self.drives(device)) {
            let driver = device.module.as_ref().unwrap_or(&device.driver);
            return Err(format!("the deploy environment lacks {driver} for the {identity}"));
        }
        Ok(watchdog)
    }

    fn drives(&self, device: &Device) -> bool {
        match &device.module {
            None => self.running,
            Some(module) => {
                self.load.is_empty() || self.load.iter().any(|file| modules::names(file, module))
            }
        }
    }
}

impl PlannedWatchdog {
    /// Returns the watchdog to arm.
    pub(crate) fn armed(&self) -> Option<&Watchdog> {
        match self {
            Self::Armed(watchdog) => Some(watchdog),
            Self::None(_) => None,
        }
    }

    /// Renders it for people.
    pub(super) fn line(&self) -> String {
        match self {
            Self::Armed(watchdog) => format!("{}, armed before the jump", watchdog.identity),
            Self::None(why) => {
                format!("none: {why}; a kernel that hangs needs the power button")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::i6300esb;

    #[test]
    fn a_watchdog_is_armed_when_it_waits_long_enough_for_the_driver_that_takes_it_over() {
        let watchdog = i6300esb();
        let short = Watchdog { max_timeout: Some(59), ..watchdog.clone() };
        let silent = Watchdog { max_timeout: None, ..watchdog.clone() };
        let built_in = Device { module: None, ..watchdog.devices[0].clone() };
        let built_in = Watchdog { devices: vec![built_in], ..watchdog.clone() };
        let load = ["usr/lib/modules/6.1/kernel/drivers/watchdog/i6300esb.ko".to_owned()];
        let other = ["usr/lib/modules/6.1/kernel/drivers/net/virtio_net.ko".to_owned()];
        let kexec = [Rung::KexecLoad, Rung::Grub];
        let question = |watchdog| Question { watchdog, ladder: &kexec, load: &load, running: true };
        let given = question(Some(&watchdog));
        let lacks = "the deploy environment lacks";
        for (name, question, want) in [
            ("its module is loaded", question(Some(&watchdog)), Ok(&watchdog)),
            ("its limit is not known", question(Some(&silent)), Ok(&silent)),
            ("its driver is built in", question(Some(&built_in)), Ok(&built_in)),
            ("modules are not collected", Question { load: &[], ..given }, Ok(&watchdog)),
            ("none", question(None), Err("the running system has no driver of one")),
            ("no way in", Question { ladder: &[], ..given }, Err("there is no jump")),
            ("too short", question(Some(&short)), Err("the i6300ESB timer waits for 59 s at most")),
            (
                "not loaded",
                Question { load: &other, ..question(Some(&watchdog)) },
                Err(&*format!("{lacks} i6300esb for the i6300ESB timer")),
            ),
            (
                "built into another kernel",
                Question { running: false, ..question(Some(&built_in)) },
                Err(&*format!("{lacks} i6300ESB timer for the i6300ESB timer")),
            ),
            (
                "no jump",
                Question { ladder: &[Rung::Grub], ..question(Some(&watchdog)) },
                Err("a reboot stops the i6300ESB timer"),
            ),
        ] {
            assert_eq!(question.decide(), want.map_err(str::to_owned), "{name}");
        }
    }

    #[test]
    fn a_plan_names_the_watchdog_or_says_what_its_lack_means() {
        insta::assert_snapshot!(PlannedWatchdog::Armed(i6300esb()).line(), @"i6300ESB timer, armed before the jump");
        insta::assert_snapshot!(PlannedWatchdog::None("a reboot stops it".into()).line(), @"none: a reboot stops it; a kernel that hangs needs the power button");
    }
}
