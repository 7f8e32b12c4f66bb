//! The memory that a payload takes: how much it is, and how to get some back for people.

use std::fs;
use std::path::Path;

use super::report::Report;
use contract::memory::Memory;
use contract::mount_table::targets;
use contract::paths;

/// Bytes that an SSH server, a shell and what is typed there need.
const PEOPLE: u64 = 48 << 20;

/// The peak of memory in use, files in the deploy environment included.
#[derive(Debug, Default)]
pub(super) struct Peak {
    total: u64,
    used: u64,
}

impl Peak {
    /// Updates the peak.
    pub(super) fn look(&mut self) {
        if let Some(memory) = look() {
            self.note(memory);
        }
    }

    fn note(&mut self, Memory { total, available }: Memory) {
        self.total = total;
        self.used = self.used.max(total.saturating_sub(available));
    }

    /// Describes the peak for people; `None` if it was never measured.
    pub(super) fn describe(&self, name: &str) -> Option<String> {
        (self.total > 0).then(|| {
            let (used, total) = (mib(self.used), mib(self.total));
            format!("memory: at most {used} of {total} were in use during `{name}`")
        })
    }
}

/// Removes what `deploy` had unpacked or written into memory if hardly any is left.
///
/// Files there are never swapped out, and without memory nobody could log in (Linux,
/// `filesystems/ramfs-rootfs-initramfs.rst`).
pub(super) fn make_room(report: &mut Report) {
    let available = || look().map_or(u64::MAX, |memory| memory.available);
    let Ok(mounts) = fs::read_to_string("/proc/self/mounts") else { return };
    for folder in [paths::NEW_ROOT, paths::WORK] {
        // What is mounted is not in memory.
        if available() >= PEOPLE || has_mounts(folder, &mounts) {
            continue;
        }
        let removed = match fs::remove_dir_all(folder).and_then(|()| fs::create_dir(folder)) {
            Ok(()) => format!("{folder} is emptied: there was no memory left to log in with"),
            Err(error) => format!("emptying {folder}, to have memory to log in with: {error}"),
        };
        report.line(&removed);
    }
}

/// Returns whether something is mounted on or below a folder, by `proc_mounts(5)`.
fn has_mounts(folder: &str, table: &str) -> bool {
    targets(table).any(|target| Path::new(&target).starts_with(folder))
}

fn look() -> Option<Memory> {
    Memory::parse(&fs::read_to_string("/proc/meminfo").ok()?)
}

/// Formats a number of bytes for people.
pub(super) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_something_mounted_below_is_left_alone() {
        let table = "rootfs / rootfs rw 0 0\n/dev/vda2 /anemos/root/my\\040boot ext4 rw 0 0\n\
                     tmpfs /anemos/workshop tmpfs rw 0 0\n";
        for (folder, want) in
            [("/anemos/root", true), ("/anemos/root/my boot", true), ("/anemos/work", false)]
        {
            assert_eq!(has_mounts(folder, table), want, "{folder}");
        }
    }

    #[test]
    fn what_is_not_available_is_in_use_and_the_most_counts() {
        let mut peak = Peak::default();
        for available in [512, 256, 384] {
            peak.note(Memory { total: 768 << 20, available: available << 20 });
        }
        let want = "memory: at most 512 MiB of 768 MiB were in use during `makeimg`";
        assert_eq!(peak.describe("makeimg").as_deref(), Some(want));
        assert_eq!(Peak::default().describe("makeimg"), None);
    }
}
