//! Boots a tiny guest to see whether, and how fast, an accelerator boots a kernel.

use std::path::Path;
use std::time::Duration;

use super::init;
use crate::budget::Budget;
use crate::guest::{Guest, GuestError, Waited, What};
use crate::machine::{Accelerator, Boot, Machine};

/// Returns how long `kernel` takes until a program runs.
pub(super) async fn boot(
    accelerator: Accelerator,
    kernel: &Path,
    limit: Duration,
) -> Result<Duration, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let initramfs = folder.path().join("initramfs");
    std::fs::write(&initramfs, init::archive()).map_err(|error| error.to_string())?;
    let boot = Boot::Direct {
        kernel: kernel.to_path_buf(),
        initramfs: Some(initramfs),
        command_line: "console=ttyS0 panic=-1".to_owned(),
    };
    let machine = Machine::new().memory_mib(256).boot(boot).accelerator(accelerator);
    let what = format!("{:?} on the console of {}", init::SAID, kernel.display());
    run(
        &machine,
        Budget::new(what, limit, limit),
        |what| matches!(what, What::Line(line) if line.contains(init::SAID)),
    )
    .await
}

/// Returns how long the firmware takes to print something.
pub(super) async fn firmware(
    accelerator: Accelerator,
    limit: Duration,
) -> Result<Duration, String> {
    let machine = Machine::new().memory_mib(128).accelerator(accelerator);
    run(&machine, Budget::new("a word of the firmware", limit, limit), |what| {
        matches!(what, What::Firmware(_))
    })
    .await
}

async fn run(
    machine: &Machine,
    budget: Budget,
    met: impl Fn(&What) -> bool,
) -> Result<Duration, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let started = Guest::start(machine, folder.path(), "probe").await;
    let mut guest = started.map_err(|error| describe(&error))?;
    let waited = guest.wait(budget, |seen| met(&seen.what).then_some(seen.at)).await;
    guest.quit().await;
    match waited {
        Waited::Met(at) => Ok(at),
        Waited::GaveUp(gave_up) => Err(gave_up.to_string()),
        Waited::Ended(ended) => Err(format!("QEMU ended: {}", ended.stderr)),
    }
}

/// Describes an error without the command line, which is long and says nothing here.
fn describe(error: &GuestError) -> String {
    match error {
        GuestError::EndedAtOnce { stderr, .. } => format!("QEMU ended at once: {stderr}"),
        other => other.to_string(),
    }
}
