//! Loads the modules of the deploy description.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::Path;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

use super::processes::{command, exists};
use super::report::Report;
use contract::deploy::Deploy;

/// Loads modules in their order, and reports those that do not load.
///
/// A module that does not load is not fatal here: if the disk or the network needed it, their
/// stages fail. `EEXIST` means loaded or built in; `ENODEV`, that the machine lacks the device of a
/// driver that was packed as a precaution; `ENOENT`, that another module which it builds on was not
/// loaded for that reason (`finit_module(2)`: a symbol is unknown).
///
/// The hardware watchdog is armed as soon as its driver is loaded, so that it watches over the
/// others. One that has been running since the jump must be armed: it would strike in the middle of
/// a deployment.
pub(super) fn load(report: &mut Report, deploy: &Deploy) -> anyhow::Result<()> {
    let mut watched = arm(report);
    for module in &deploy.modules {
        if let Err(error) = load_one(&Path::new("/").join(module)) {
            report.line(&format!("module {module} not loaded: {error:#}"));
        }
        watched = watched || arm(report);
    }
    if deploy.watchdog && !watched {
        bail!("the watchdog that runs since the jump cannot be fed: its driver finds no device");
    }
    index(report);
    Ok(())
}

/// Makes the indexes in which kmod finds what the kernel and scripts ask for later.
///
/// kmod only reads binary ones (depmod(8)), and busybox only the text that is packed.
fn index(report: &mut Report) {
    let Some(kmod) = ["/usr/bin/kmod", "/bin/kmod"].into_iter().find(|path| exists(path)) else {
        return;
    };
    // The program finds out from its name which tool it is.
    let depmod = command(Path::new(kmod)).arg0("depmod").arg("-a").output();
    let failed = match depmod {
        Ok(output) if output.status.success() => return,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            said.lines().last().unwrap_or_default().to_owned()
        }
        Err(error) => error.to_string(),
    };
    report.line(&format!("no drivers on demand: depmod: {failed}"));
}

/// Arms the watchdog and reports it; returns false if there is none yet.
fn arm(report: &mut Report) -> bool {
    let Some(watchdog) = report.timer.arm() else { return false };
    report.line(&format!("the watchdog {watchdog} is armed"));
    true
}

fn load_one(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let parameters = match path.file_stem().and_then(OsStr::to_str) {
        // It would create a first bond at once, with a name that may be needed (Linux,
        // `networking/bonding.rst`, `max_bonds`).
        Some("bonding") => c"max_bonds=0",
        // The kernel's command line only reaches what is built in.
        Some("watchdog") => c"stop_on_reboot=0",
        _ => c"",
    };
    match finit_module(file, parameters, ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST | Errno::ENODEV | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
