//! Records changes to the running system before each one is made.
//!
//! The machine may stop at any moment: undoing the record restores the files as they were, byte for
//! byte.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use contract::mount_table::targets;
use serde::{Deserialize, Serialize};

use crate::command;
use crate::files::{if_there, read_if_there};
use crate::grub_environment;
use crate::report::Refused;

/// A change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    /// A folder that did not exist, with everything that is put into it.
    Folder { path: PathBuf, mount: PathBuf },
    /// A file, or a variable of the firmware, that was written.
    File { path: PathBuf, mount: PathBuf, before: Option<Vec<u8>>, after: Vec<u8> },
    /// The one-time entry of EXTLINUX in this folder, set by `program`.
    BootOnce { program: PathBuf, folder: PathBuf },
}

/// The record, with the file that stores it.
#[derive(Debug)]
pub(crate) struct UndoLog {
    file: PathBuf,
    changes: Vec<Change>,
}

impl UndoLog {
    /// Reads the record of an earlier run, or begins one.
    pub(super) fn open(file: &Path) -> anyhow::Result<Self> {
        let changes = match read_if_there(file)? {
            Some(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("reading {}", file.display()))?,
            None => Vec::new(),
        };
        Ok(Self { file: file.to_owned(), changes })
    }

    /// Makes a folder that only root can enter, and that is removed again with all its contents.
    pub(crate) fn make_folder(&mut self, path: &Path) -> anyhow::Result<()> {
        if path.exists() {
            bail!("{} is there already, and is not ours to remove", path.display());
        }
        self.record(Change::Folder { path: path.to_owned(), mount: mount_point(path) })?;
        let describe = || format!("making {}", path.display());
        DirBuilder::new().mode(0o700).create(path).with_context(describe)
    }

    /// Writes a file in place, whatever its contents were before.
    pub(crate) fn write(&mut self, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
        let before = read_if_there(path)?;
        let (mount, after) = (mount_point(path), bytes.to_vec());
        self.record(Change::File { path: path.to_owned(), mount, before, after })?;
        write(path, bytes).with_context(|| format!("writing {}", path.display()))
    }

    /// Makes EXTLINUX boot an entry once; it must not boot anything once yet (extlinux(1)).
    pub(crate) fn boot_once(
        &mut self,
        program: &Path,
        folder: &Path,
        entry: &str,
    ) -> anyhow::Result<()> {
        let (program, folder) = (program.to_owned(), folder.to_owned());
        self.record(Change::BootOnce { program: program.clone(), folder: folder.clone() })?;
        let once = format!("--once={entry}");
        command::output(&program, [OsStr::new(&once), folder.as_os_str()])?;
        Ok(())
    }

    /// Restores everything, beginning with the last change.
    ///
    /// Returns what it did, and what it left alone because somebody else has changed it since.
    pub(crate) fn undo(&mut self) -> anyhow::Result<Vec<String>> {
        let mut did = Vec::new();
        while let Some(change) = self.changes.last().cloned() {
            did.push(change.undo()?);
            self.changes.pop();
            self.keep()?;
        }
        Ok(did)
    }

    fn record(&mut self, change: Change) -> anyhow::Result<()> {
        self.changes.push(change);
        self.keep()
    }

    fn keep(&self) -> anyhow::Result<()> {
        let describe = || format!("writing {}", self.file.display());
        if self.changes.is_empty() {
            return if_there(fs::remove_file(&self.file)).with_context(describe);
        }
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let mut new = tempfile::NamedTempFile::new_in(folder).with_context(describe)?;
        serde_json::to_writer(&mut new, &self.changes).with_context(describe)?;
        new.as_file().sync_all().with_context(describe)?;
        new.persist(&self.file).with_context(describe)?;
        File::open(folder).and_then(|folder| folder.sync_all()).with_context(describe)
    }
}

impl Change {
    fn undo(self) -> anyhow::Result<String> {
        match self {
            Self::Folder { path, mount } => {
                let shown = path.display();
                check_mounted(&path, &mount)?;
                if_there(fs::remove_dir_all(&path)).with_context(|| format!("removing {shown}"))?;
                Ok(format!("removed {shown}"))
            }
            Self::BootOnce { program, folder } => {
                command::output(&program, [OsStr::new("--clear-once"), folder.as_os_str()])?;
                Ok(format!("EXTLINUX in {} boots nothing else once", folder.display()))
            }
            Self::File { path, mount, before, after } => {
                check_mounted(&path, &mount)?;
                let now = read_if_there(&path)?;
                let shown = path.display();
                let wanted = match (now, before) {
                    (now, before) if now == before => return Ok(format!("{shown} is as it was")),
                    // It may be incomplete because of a full file system or a reset.
                    (Some(now), before) if after.starts_with(&now) => before,
                    // GRUB has reset the entry already, and others may have written there since.
                    (Some(now), Some(before)) if grub_environment::is_block(&before) => {
                        Some(grub_environment::take_back(&now, &before))
                    }
                    // A variable for the next boot disappears after that boot.
                    (None, Some(_)) => return Ok(format!("{shown} is gone already")),
                    _ => return Ok(format!("{shown} was changed by others and is left alone")),
                };
                let describe = || format!("putting {shown} back");
                match wanted {
                    Some(bytes) => write(&path, &bytes).with_context(describe)?,
                    None => fs::remove_file(&path).with_context(describe)?,
                }
                Ok(format!("put {shown} back"))
            }
        }
    }
}

/// Returns the mount point that a file is or will be below: the longest one, the last made.
fn mount_point(path: &Path) -> PathBuf {
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let above = targets(&table).map(PathBuf::from).filter(|point| path.starts_with(point));
    above.max_by_key(|point| point.as_os_str().len()).unwrap_or_default()
}

/// Refuses an unmounted file system, whose files look as if they were gone.
fn check_mounted(path: &Path, mount: &Path) -> anyhow::Result<()> {
    if mount_point(path) == mount {
        return Ok(());
    }
    let reason =
        format!("{} is to be put back, but {} is not mounted", path.display(), mount.display());
    Err(Refused::new(reason, "mount it, then run `anemos reset` again").into())
}

/// Writes a file by one call, and in place.
///
/// Variables of the firmware require the former (`Documentation/filesystems/efivarfs.rst`), and
/// GRUB requires the latter for its own file.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Truncated after writing, because a power cut in between must not leave an empty file.
    let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if path.starts_with("/sys") {
        return Ok(());
    }
    file.set_len(bytes.len() as u64)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_as_before_byte_for_byte() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::write(at("there"), "before, and longer").unwrap();
        let mut log = UndoLog::open(&at("undo.json")).unwrap();
        log.make_folder(&at("folder")).unwrap();
        fs::write(at("folder/kernel"), "k").unwrap();
        log.write(&at("there"), b"after").unwrap();
        log.write(&at("new"), b"new").unwrap();
        assert_eq!(fs::read(at("there")).unwrap(), b"after");
        // Another run finds the record.
        let did = UndoLog::open(&at("undo.json")).unwrap().undo().unwrap();
        assert_eq!(did.len(), 3);
        assert_eq!(fs::read(at("there")).unwrap(), b"before, and longer");
        let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn a_file_that_was_written_in_part_is_put_back() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("custom.cfg");
        fs::write(&path, "theirs\n").unwrap();
        let mut log = UndoLog::open(&place.path().join("undo.json")).unwrap();
        log.write(&path, b"theirs\nours\n").unwrap();
        fs::write(&path, "theirs\nou").unwrap();
        log.undo().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"theirs\n");
    }

    #[test]
    fn what_others_wrote_since_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("custom.cfg");
        let mut log = UndoLog::open(&place.path().join("undo.json")).unwrap();
        log.write(&path, b"ours").unwrap();
        fs::write(&path, "theirs").unwrap();
        let did = log.undo().unwrap();
        assert!(did[0].ends_with("was changed by others and is left alone"), "{did:?}");
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    #[test]
    fn what_is_not_mounted_is_not_taken_for_gone() {
        let place = tempfile::tempdir().unwrap();
        let (path, file) = (place.path().join("grubenv"), place.path().join("undo.json"));
        let mut log = UndoLog::open(&file).unwrap();
        log.write(&path, b"ours").unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let here = serde_json::to_string(&mount_point(&path)).unwrap();
        fs::write(&file, text.replace(&format!("\"mount\":{here}"), "\"mount\":\"/boot\""))
            .unwrap();
        let mut log = UndoLog::open(&file).unwrap();
        let error = log.undo().unwrap_err().to_string();
        assert!(error.ends_with("grubenv is to be put back, but /boot is not mounted"), "{error}");
        assert!(file.exists() && path.exists());
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_taken() {
        let place = tempfile::tempdir().unwrap();
        let mut log = UndoLog::open(&place.path().join("undo.json")).unwrap();
        let error = log.make_folder(place.path()).unwrap_err().to_string();
        assert!(error.ends_with("is there already, and is not ours to remove"), "{error}");
        assert_eq!(log.undo().unwrap(), [""; 0]);
    }
}
