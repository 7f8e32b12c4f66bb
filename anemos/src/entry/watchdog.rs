//! Keeps the hardware watchdog running through a jump, to reset a kernel that hangs at once.
//!
//! Drivers stop their watchdog when the kernel leaves (`watchdog_stop_on_reboot`). If it can no
//! longer be stopped (`nowayout`) and its driver is unbound first, it simply keeps running until
//! the driver finds it again in the deploy environment.
#![expect(unsafe_code, reason = "an ioctl that no crate wraps")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::libc::c_int;

use crate::facts::{WATCHDOGS, Watchdog};
use crate::plan::SHORTEST_WATCH;
use crate::report;

/// The requested timeout in seconds, for the new kernel and what comes before stage `modules`.
const WANTED: u32 = 180;
/// The minimum of the hardware's remaining seconds, if only those are known.
const SHORTEST_LEFT: u32 = SHORTEST_WATCH / 2;

nix::ioctl_readwrite!(set_timeout, b'W', 6, c_int);

/// A watchdog that runs without its driver.
#[derive(Debug)]
pub(super) struct Loose {
    driver: PathBuf,
    device: String,
}

/// Arms the watchdog and unbinds its driver; reports whether it succeeded.
pub(super) fn arm(watchdog: &Watchdog) -> Option<Loose> {
    let identity = &watchdog.identity;
    match let_loose(watchdog) {
        Ok((secs, loose)) => {
            report::step(&format!(
                "the watchdog {identity} is armed for {secs} s, through the jump"
            ));
            Some(loose)
        }
        Err(error) => {
            report::step(&format!("the watchdog {identity} does not watch the jump: {error:#}"));
            None
        }
    }
}

impl Loose {
    /// Binds it to its driver again, which stops it or makes the kernel feed it.
    pub(super) fn catch(&self) {
        let bound = fs::write(self.driver.join("bind"), &self.device);
        report::step(&match bound {
            Ok(()) => "the watchdog has its driver again".to_owned(),
            Err(error) => format!("the watchdog resets the machine soon: binding it: {error}"),
        });
    }
}

fn let_loose(watchdog: &Watchdog) -> anyhow::Result<(u32, Loose)> {
    let class = Path::new(WATCHDOGS).join(&watchdog.name);
    let driver = watchdog.device.join("driver").canonicalize().context("finding its driver")?;
    let unbind = driver.join("unbind");
    unbind.metadata().context("finding the way to take its driver from it")?;
    let device = watchdog.device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let path = Path::new("/dev").join(&watchdog.name);
    let mut file = match OpenOptions::new().write(true).open(&path) {
        Ok(file) => Some(file),
        // systemd feeds it (`RuntimeWatchdogSec=`), so it has the timeout that systemd has set.
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => None,
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    if let Some(file) = &file {
        let wanted = watchdog.max_timeout.map_or(WANTED, |max| max.min(WANTED));
        // If it cannot be changed, it waits for as long as it always does.
        let _unchanged = ask_for(file, wanted);
    }
    // Set this only now: some that are started with nowayout lock their registers for the next
    // kernel.
    let secs = granted(&class, watchdog.max_timeout).and_then(|secs| {
        fs::write(class.join("nowayout"), "1").context("having it run on")?;
        Ok(secs)
    });
    let secs = secs.inspect_err(|_| file.as_mut().into_iter().for_each(stop))?;
    drop(file);
    fs::write(&unbind, &device).context("taking its driver from it")?;
    Ok((secs, Loose { driver, device }))
}

/// Makes the watchdog stop when it is closed (Linux, `watchdog-api.rst`, "Magic Close feature").
fn stop(file: &mut File) {
    let _runs_on = file.write_all(b"V");
}

fn ask_for(file: &File, secs: u32) -> io::Result<()> {
    let mut secs = c_int::try_from(secs).map_err(io::Error::other)?;
    // SAFETY: the descriptor is borrowed for the call, which reads and writes one int.
    unsafe { set_timeout(file.as_raw_fd(), &raw mut secs) }?;
    Ok(())
}

/// Returns how many seconds the watchdog of the folder `class` waits, if that is enough.
fn granted(class: &Path, max_timeout: Option<u32>) -> anyhow::Result<u32> {
    let read = |name: &str| fs::read_to_string(class.join(name)).map(|it| it.trim().to_owned());
    let state = read("state").context("reading its state")?;
    if state != "active" {
        bail!("it is {state}");
    }
    let timeout: u32 = read("timeout").context("reading its time")?.parse().context("timeout")?;
    if timeout < SHORTEST_WATCH {
        bail!("it waits for {timeout} s only, and {SHORTEST_WATCH} s are needed");
    }
    if max_timeout.is_some() {
        return Ok(timeout);
    }
    // The driver may feed it by itself, for longer than the hardware waits.
    let left = read("timeleft").context("asking how long its hardware waits")?;
    let left: u32 = left.parse().context("timeleft")?;
    if left < SHORTEST_LEFT {
        bail!("its hardware waits for {left} s only");
    }
    Ok(timeout.min(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_trusted_that_runs_and_waits_long_enough() {
        for (state, timeout, left, max, want) in [
            ("active", "180", None, Some(2046), Ok(180)),
            ("active", "60", Some("3"), Some(614), Ok(60)),
            ("active", "180", Some("100"), None, Ok(100)),
            ("active", "180", Some("29"), None, Err("its hardware waits for 29 s only")),
            ("active", "180", None, None, Err("asking how long its hardware waits")),
            ("active", "30", None, Some(30), Err("it waits for 30 s only, and 60 s are needed")),
            ("inactive", "180", None, Some(2046), Err("it is inactive")),
        ] {
            let class = tempfile::tempdir().unwrap();
            let files = [("state", Some(state)), ("timeout", Some(timeout)), ("timeleft", left)];
            for (name, text) in files {
                if let Some(text) = text {
                    fs::write(class.path().join(name), format!("{text}\n")).unwrap();
                }
            }
            let granted = granted(class.path(), max).map_err(|error| error.to_string());
            assert_eq!(granted, want.map_err(str::to_owned), "{state} {timeout} {left:?} {max:?}");
        }
    }
}
