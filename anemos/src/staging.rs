//! The folder in which a deployment is staged before the jump, and how to undo all of it.

mod undo;

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::amount::{mib, mib_down};
use crate::facts;
use crate::places::{LOCK, STAGED, UNDO_LOG};
use crate::report::Refused;
use crate::room;

pub(crate) use self::undo::UndoLog;

const INITRAMFS: &str = "initramfs";

/// The right to stage something or to undo it, which only one process has at a time.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "it is held, not read")] File);

impl Lock {
    /// Takes the lock, or refuses because two at once would undo each other's changes.
    pub(crate) fn take() -> anyhow::Result<Self> {
        Self::of(Path::new(LOCK))
    }

    fn of(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let file = File::options().write(true).create(true).truncate(false).open(path);
        let file = file.with_context(|| format!("opening {shown}"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                let reason = "another anemos is staging something, or taking it back";
                Err(Refused::new(reason, "wait for its end, or end it").into())
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {shown}"))
            }
        }
    }
}

/// Returns whether the next boot, or executing a loaded kernel, leads elsewhere.
///
/// Check this again with the lock held.
pub(crate) fn is_anything_staged() -> bool {
    Path::new(UNDO_LOG).exists() || facts::is_kernel_loaded()
}

/// Refuses a final initramfs of `bytes` if there is no room, before any of it is written.
///
/// Afterwards `copied` bytes go to another folder, which may be on the same file system.
pub(crate) fn check_room(bytes: u64, copied: Option<(&Path, u64)>) -> anyhow::Result<()> {
    // The folder is made later, on the same file system as its parent.
    let parent = Path::new(STAGED).ancestors().find(|folder| folder.exists());
    let parent = parent.unwrap_or(Path::new("/"));
    let device = |folder: &Path| folder.metadata().ok().map(|found| found.dev());
    let copied = copied.filter(|(folder, _)| device(folder) == device(parent));
    let needs = bytes + copied.map_or(0, |(_, bytes)| bytes);
    let free = room::free(parent).with_context(|| format!("looking at {}", parent.display()))?;
    Ok(enough(parent, needs, free)?)
}

fn enough(parent: &Path, needs: u64, free: u64) -> Result<(), Refused> {
    if needs <= free {
        return Ok(());
    }
    let (needs, free, parent) = (mib(needs), mib_down(free), parent.display());
    let reason = format!("staging needs {needs} below {parent}, where {free} are free");
    Err(Refused::new(reason, "make room there, or use a smaller payload or base"))
}

/// Makes the folder and returns the path of the final initramfs in it.
pub(crate) fn prepare() -> anyhow::Result<PathBuf> {
    let describe = || format!("making {STAGED}");
    DirBuilder::new().recursive(true).mode(0o700).create(STAGED).with_context(describe)?;
    Ok(Path::new(STAGED).join(INITRAMFS))
}

/// Opens the record of changes outside the folder.
pub(crate) fn undo_log() -> anyhow::Result<UndoLog> {
    UndoLog::open(Path::new(UNDO_LOG))
}

/// Removes the final initramfs, once it has been copied to where it will be booted from.
pub(crate) fn drop_initramfs() -> anyhow::Result<()> {
    let path = Path::new(STAGED).join(INITRAMFS);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
}

/// Undoes the changes elsewhere and removes the folder; returns what it did.
pub(crate) fn clear() -> anyhow::Result<Vec<String>> {
    let mut did = undo_log()?.undo()?;
    match fs::remove_dir_all(STAGED) {
        Ok(()) => did.push(format!("removed {STAGED}")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("removing {STAGED}")),
    }
    Ok(did)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_stages_or_takes_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("lock");
        let held = Lock::of(&path).unwrap();
        let said = Lock::of(&path).unwrap_err().to_string();
        assert_eq!(said, "another anemos is staging something, or taking it back");
        drop(held);
        Lock::of(&path).unwrap();
    }

    #[test]
    fn what_has_no_room_is_refused_with_the_numbers() {
        let parent = Path::new("/var/lib");
        for (needs, free, want) in [
            (40 << 20, 40 << 20, ""),
            (0, 0, ""),
            (40 << 20, (9 << 20) + 1, "staging needs 40 MiB below /var/lib, where 9 MiB are free"),
        ] {
            let said = enough(parent, needs, free).err().map(|refusal| refusal.to_string());
            assert_eq!(said.unwrap_or_default(), want, "{needs} {free}");
        }
    }

    #[test]
    fn room_is_looked_for_where_the_folder_will_be() {
        let most = u64::MAX - 1;
        for (bytes, copied, fits) in [
            (0, None, true),
            (most, None, false),
            (0, Some(("/var/lib", most)), false),
            (0, Some(("/proc", most)), true),
        ] {
            let copied = copied.map(|(folder, bytes)| (Path::new(folder), bytes));
            let said = check_room(bytes, copied).err().map(|error| error.to_string());
            let said = said.unwrap_or_default();
            let begins = "staging needs 17592186044416 MiB below /";
            assert!(fits == said.is_empty(), "{bytes} {copied:?}: {said}");
            assert!(fits || said.starts_with(begins), "{said}");
        }
    }
}
