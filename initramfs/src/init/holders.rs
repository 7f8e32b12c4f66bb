//! The layers between the selected disk and its file systems: LVM, dm-crypt, md, swap.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::processes::{command, exists};
use super::report::Report;
use super::written::Selected;

/// It is read after the base's own configuration (lvm.conf(5), `lvmlocal.conf`).
const LVM: &str = "/etc/lvm/lvmlocal.conf";

/// The commands that take apart what a `deploy` has assembled, from the outside to the inside.
const RELEASES: [&[&str]; 5] = [
    &["swapoff", "-a"],
    &["lvm", "vgchange", "-an"],
    &["dmsetup", "remove_all"],
    &["mdadm", "--stop", "--scan"],
    &["losetup", "-D"],
];

/// Hides all disks from LVM but those that may be written.
///
/// What LVM activates on another disk would not be bound by the protection of that disk.
pub(super) fn hide_others(disk: &Selected) -> anyhow::Result<()> {
    let describe = || format!("writing {LVM}");
    fs::create_dir_all("/etc/lvm").with_context(describe)?;
    fs::write(LVM, filter(&disk.devices())).with_context(describe)
}

/// Returns the filter, which accepts layers above the disk: others cannot be assembled from them.
fn filter(devices: &[&str]) -> String {
    let mut patterns: Vec<_> =
        devices.iter().map(|device| format!("\"a|^{device}(p?[0-9]+)?$|\"")).collect();
    patterns.push("\"a|^/dev/(md|mapper/|dm-)|\", \"r|.*|\"".to_owned());
    format!("devices {{ global_filter = [ {} ] }}\n", patterns.join(", "))
}

/// Takes apart what an earlier run of `deploy` has assembled, so that another one can begin.
///
/// It does so as far as the tools exist; the disk is then not in use by anything.
pub(super) fn release(report: &mut Report) {
    for words in RELEASES {
        let [tool, arguments @ ..] = words else { continue };
        let folders = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];
        let paths = folders.map(|folder| format!("{folder}/{tool}"));
        let Some(path) = paths.iter().find(|path| exists(path)) else { continue };
        match command(Path::new(path)).args(arguments).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.lines().last().unwrap_or_default();
                report.line(&format!("{}: {last}", words.join(" ")));
            }
            Err(error) => report.line(&format!("{}: {error}", words.join(" "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn lvm_sees_the_selected_disks_their_partitions_and_what_is_above_them() {
        insta::assert_snapshot!(filter(&["/dev/vda", "/dev/nvme0n1"]), @r#"devices { global_filter = [ "a|^/dev/vda(p?[0-9]+)?$|", "a|^/dev/nvme0n1(p?[0-9]+)?$|", "a|^/dev/(md|mapper/|dm-)|", "r|.*|" ] }"#);
    }
}
