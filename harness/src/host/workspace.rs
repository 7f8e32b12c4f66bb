//! The folder in which a run keeps what must not outlive it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

const LOCK: &str = "lock";

/// A locked folder that is removed when dropped, or by the next run if we are killed.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
    _lock: File,
}

impl Workspace {
    /// Makes one below `runs`, after removing those whose runs are dead.
    pub fn create(runs: &Path) -> io::Result<Self> {
        fs::create_dir_all(runs)?;
        remove_leftovers(runs)?;
        let folder = tempfile::Builder::new().prefix("run-").tempdir_in(runs)?.keep();
        // It is locked before it has its name, so that nobody finds it unlocked.
        let lock = File::create(folder.join("lock.new"))?;
        lock.lock()?;
        fs::rename(folder.join("lock.new"), folder.join(LOCK))?;
        Ok(Self { folder, _lock: lock })
    }

    /// Returns a path inside.
    pub fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Returns the folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Workspace {
    /// The next run removes whatever cannot be removed now.
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// Removes the folders that nobody holds; one without a lock file is being made, or removed.
fn remove_leftovers(runs: &Path) -> io::Result<()> {
    for entry in fs::read_dir(runs)? {
        let folder = entry?.path();
        let Ok(lock) = File::open(folder.join(LOCK)) else { continue };
        match lock.try_lock() {
            Ok(()) => fs::remove_dir_all(&folder)?,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_gone_with_its_run() {
        let runs = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(runs.path()).unwrap();
        fs::write(workspace.join("overlay"), "x").unwrap();
        let folder = workspace.folder().to_owned();
        drop(workspace);
        assert!(!folder.exists());
    }

    #[test]
    fn the_next_run_removes_what_a_killed_one_left_and_spares_what_runs() {
        let runs = tempfile::tempdir().unwrap();
        let running = Workspace::create(runs.path()).unwrap();
        let dead = runs.path().join("run-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        let next = Workspace::create(runs.path()).unwrap();
        assert!(!dead.exists(), "the dead run's folder is still there");
        assert!(running.folder().exists() && next.folder().exists());
    }
}
