//! Removes the boot entry that led here, which the firmware has used up.

use std::path::Path;

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::report::Report;
use contract::boot_entry::{VARIABLES, remove_our_entries};

/// Removes our entry, wherever the deployment leads: neither the old nor the new system wants it.
///
/// One that stays does no harm, since no boot order has it.
pub(super) fn remove(report: &mut Report) {
    if !Path::new(VARIABLES).exists() {
        return;
    }
    match removed() {
        Ok(names) => names.iter().for_each(|name| report.line(&format!("removed {name}"))),
        Err(error) => report.line(&format!("the boot entry stays: {error:#}")),
    }
}

fn removed() -> anyhow::Result<Vec<String>> {
    let (none, kind): (Option<&str>, _) = (None, Some("efivarfs"));
    match mount(kind, VARIABLES, kind, MsFlags::empty(), none) {
        // A kernel entered by kexec_load(2) may have no firmware behind it.
        Err(Errno::ENODEV | Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        mounted => mounted.context("mounting the variables of the firmware")?,
    }
    let removed = remove_our_entries(Path::new(VARIABLES)).context("removing the boot entry");
    umount2(VARIABLES, MntFlags::empty()).context("unmounting the variables of the firmware")?;
    removed
}
