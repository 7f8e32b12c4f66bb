//! What a rehearsal proves on its way, with its report at the end.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::known::Known;
use super::report::Report;
use contract::deploy::Deploy;

/// Reports how a rehearsal ended.
pub(super) fn tell(report: &mut Report, known: &Known) {
    match (&report.failed, &known.error) {
        (_, None) => {
            let proved = known.proved.iter().filter_map(|line| Some(line.split_once(": ")?.0));
            let proved = proved.collect::<Vec<_>>().join(", ");
            report.line(&format!("rehearsal passed: {proved}; nothing but its report is written"));
        }
        (Some((stage, reason)), Some(_)) => {
            report.line(&format!("rehearsal failed: stage {stage}: {reason}"));
        }
        (None, Some(reason)) => report.line(&format!("rehearsal failed: {reason}")),
    }
}

/// Describes how many of the modules are present: loaded, or built into this kernel.
pub(super) fn modules(deploy: &Deploy) -> String {
    let table = fs::read_to_string("/proc/modules").unwrap_or_default();
    let loaded = loaded(&table, &deploy.modules);
    let all = deploy.modules.len();
    format!("{loaded} of {all} are loaded; the others have no device here, or the log names them")
}

/// Counts the files among `modules` whose module is in the table of the kernel (`proc(5)`).
///
/// The table has `_` for `-`.
fn loaded(table: &str, modules: &[String]) -> usize {
    let names: BTreeSet<_> = table.lines().filter_map(|line| line.split(' ').next()).collect();
    let name = |file: &String| {
        let name = Path::new(file).file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('.').next().unwrap_or_default().replace('-', "_")
    };
    modules.iter().filter(|file| names.contains(name(file).as_str())).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_the_names_of_their_files() {
        let table = "virtio_blk 20480 3 - Live 0x0\next4 1000000 1 - Live 0x0\n";
        let files = ["usr/lib/modules/6.1/virtio-blk.ko", "usr/lib/modules/6.1/xfs.ko", "ext4.ko"];
        assert_eq!(loaded(table, &files.map(str::to_owned)), 2);
    }
}
