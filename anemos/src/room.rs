//! Measures the free room of file systems, as people know it from df(1).

use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Returns how many bytes a file in a folder can have, without what is reserved for root.
///
/// Filling that up breaks the running system.
pub(crate) fn free(folder: &Path) -> nix::Result<u64> {
    let found = statvfs(folder)?;
    Ok(found.blocks_available() * found.fragment_size())
}
