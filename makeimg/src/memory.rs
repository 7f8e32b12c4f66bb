//! Measures the room in a folder, which may be in memory.

use std::fs;
use std::path::Path;

use contract::memory::Memory;
use nix::sys::statfs::{FsType, statfs};
use nix::sys::statvfs::statvfs;

/// File systems without a disk, such as that of an initramfs (statfs(2), `linux/magic.h`).
const IN_MEMORY: [FsType; 2] = [FsType(0x0102_1994), FsType(0x8584_58f6)];

/// Returns the bytes that there is room for; zero if nobody knows.
///
/// They are the free bytes of the file system or, if that is in memory, the bytes that the kernel
/// could give (`MemAvailable` of proc(5)).
pub(crate) fn available(folder: &Path) -> u64 {
    let bytes =
        |found: nix::sys::statvfs::Statvfs| found.blocks_available() * found.fragment_size();
    let of_disk = statvfs(folder).map(bytes).unwrap_or_default();
    let Ok(found) = statfs(folder) else { return 0 };
    if !IN_MEMORY.contains(&found.filesystem_type()) {
        return of_disk;
    }
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of_memory = Memory::parse(&text).map_or(0, |memory| memory.available);
    // A ramfs has no limit and reports zero blocks.
    if of_disk == 0 { of_memory } else { of_memory.min(of_disk) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_on_a_disk_has_the_room_of_the_disk() {
        assert!(available(Path::new("/")) > 0);
        assert_eq!(available(Path::new("/nonexistent")), 0);
    }
}
