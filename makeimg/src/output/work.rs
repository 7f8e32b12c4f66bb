//! The folder beside the result that a build works in until the result gets its name.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, umount2};

use crate::error::{Problem, file};
use crate::step::Watch;

/// A locked folder of our own.
#[derive(Debug)]
pub(crate) struct Work {
    output: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl Work {
    /// Makes the folder inside an existing one; what a killed build has left is removed first.
    pub(crate) fn create(
        output: &Path,
        imgname: &str,
        watch: &mut dyn Watch,
    ) -> Result<Self, Problem> {
        let folder = output.join(format!(".{imgname}.makeimg"));
        let shown = folder.display().to_string();
        let making = || file(format!("making {shown}"));
        let lock = File::create(lock(&folder)).map_err(making())?;
        if lock.try_lock().is_err() {
            let reason = format!("another build of {imgname} is at work in {}", output.display());
            return Err(Problem::refused(reason, "wait for it, or name another folder by -o"));
        }
        let work = Self { output: output.into(), folder, _lock: lock };
        if work.folder.exists() {
            watch.line(&format!("removing {}, which a build has left", work.folder.display()));
            work.remove_folder().map_err(making())?;
        }
        DirBuilder::new().mode(0o700).create(&work.folder).map_err(making())?;
        fs::create_dir(work.root()).map_err(making())?;
        fs::set_permissions(work.root(), Permissions::from_mode(0o755)).map_err(making())?;
        Ok(work)
    }

    /// Returns the folder of the result.
    pub(crate) fn output(&self) -> &Path {
        &self.output
    }

    /// Returns the root folder of the image.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Returns a path in the folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Unmounts what is mounted below the folder, the last mount first, and logs it.
    pub(crate) fn unmount(&self, watch: &mut dyn Watch) -> Result<(), Problem> {
        for mounted in self.mounted()?.iter().rev() {
            watch.line(&format!("unmounting {}", mounted.display()));
            umount2(mounted, MntFlags::UMOUNT_NOFOLLOW)
                .map_err(file(format!("unmounting {}", mounted.display())))?;
        }
        Ok(())
    }

    fn mounted(&self) -> Result<Vec<PathBuf>, Problem> {
        let reading = || file("reading /proc/self/mountinfo");
        let table = fs::read_to_string("/proc/self/mountinfo").map_err(reading())?;
        let folder = fs::canonicalize(&self.folder).map_err(reading())?;
        let points = table.lines().filter_map(|line| line.split(' ').nth(4));
        let points = points.map(|point| PathBuf::from(unescaped(point)));
        Ok(points.filter(|point| point.starts_with(&folder)).collect())
    }

    /// Removes the folder with all that is in it, unless something is still mounted there.
    pub(crate) fn remove(self, watch: &mut dyn Watch) -> Result<(), Problem> {
        self.unmount(watch)?;
        let removed = self.remove_folder().and_then(|()| fs::remove_file(lock(&self.folder)));
        removed.map_err(file(format!("removing {}", self.folder.display())))
    }

    fn remove_folder(&self) -> io::Result<()> {
        if !self.mounted().is_ok_and(|mounted| mounted.is_empty()) {
            return Err(io::Error::other("something is mounted in it"));
        }
        fs::remove_dir_all(&self.folder)
    }

    /// Leaves the folder, and reports where it is.
    pub(crate) fn keep(self, watch: &mut dyn Watch) {
        watch.line(&format!("kept: {}", self.folder.display()));
    }
}

/// Returns the lock file, which is beside the folder because the folder comes and goes.
fn lock(folder: &Path) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Decodes a mount point, in which the kernel writes blanks and the like as three octal digits.
fn unescaped(point: &str) -> String {
    let known = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    known.iter().fold(point.to_owned(), |text, (from, to)| text.replace(from, to))
}
