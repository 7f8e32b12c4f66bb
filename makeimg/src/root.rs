//! The root folder of an image, which nothing done to it can leave by a symlink.
//!
//! Paths are resolved by openat2(2) as if this folder were `/`, so that a file for `/bin` lands in
//! the image's own `usr/bin`, and one for `/etc/mtab` never in the `/proc` of the host.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, fchownat, symlinkat, unlinkat};

/// The name of a file until it is complete.
const PARTIAL: &str = ".makeimg-partial";

/// The root folder of an image.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    folder: OwnedFd,
}

impl Root {
    /// Opens a root folder.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let folder = OwnedFd::from(File::open(path)?);
        Ok(Self { path: path.to_path_buf(), folder })
    }

    /// Returns its path on the host.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlag::O_CLOEXEC;
        let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        openat2(&self.folder, path, how)
    }

    /// Opens the folder that contains `path`, creating it if necessary, and returns the last name.
    fn parent(&self, path: &Path) -> io::Result<(OwnedFd, OsString)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut folder = PathBuf::from("/");
        let mut opened = self.resolve(&folder, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        for component in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(part) = component else { continue };
            folder.push(part);
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
            opened = match self.resolve(&folder, flags) {
                Err(Errno::ENOENT) => {
                    mkdirat(&opened, part, Mode::from_bits_truncate(0o755))?;
                    // The umask may have removed bits.
                    let made = self.resolve(&folder, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
                    fchmod(&made, Mode::from_bits_truncate(0o755))?;
                    self.resolve(&folder, flags)?
                }
                other => other?,
            };
        }
        Ok((opened, name.to_owned()))
    }

    /// Makes a folder and its parents, if they are missing.
    pub(crate) fn folder(&self, path: &str) -> io::Result<()> {
        self.parent(&Path::new(path).join("x")).map(drop)
    }

    /// Returns the content of a file, following symlinks inside the root; `None` if there is none.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let opened = match self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        File::from(opened).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Returns whether the path exists; a dangling symlink does, too.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW).is_ok()
    }

    /// Returns the sorted names in a folder; none if there is no such folder.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let opened = self.resolve(Path::new(path), OFlag::O_RDONLY | OFlag::O_DIRECTORY);
        let listed = opened.ok().and_then(|folder| nix::dir::Dir::from_fd(folder).ok());
        let entries = listed.into_iter().flat_map(nix::dir::Dir::into_iter).flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| name != "." && name != "..").collect();
        names.sort();
        names
    }

    /// Puts a file in place in one step, owned by root; what had that name is replaced.
    pub(crate) fn place(&self, path: &Path, from: &mut dyn Read, mode: u32) -> io::Result<()> {
        let (folder, name) = self.parent(path)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW;
        let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(Mode::S_IRUSR);
        let mut partial = File::from(openat2(&folder, PARTIAL, how)?);
        let written = io::copy(from, &mut partial).and_then(|_size| {
            fchown(&partial, Some(Uid::from_raw(0)), Some(Gid::from_raw(0)))?;
            fchmod(&partial, Mode::from_bits_truncate(mode))?;
            Ok(renameat(&folder, PARTIAL, &folder, name.as_os_str())?)
        });
        if written.is_err() {
            // What matters is why it could not be written.
            let _gone = unlinkat(&folder, PARTIAL, UnlinkatFlags::NoRemoveDir);
        }
        written
    }

    /// Makes a symlink, owned by root; what had that name is replaced.
    pub(crate) fn symlink(&self, path: &Path, target: &OsStr) -> io::Result<()> {
        let (folder, name) = self.parent(path)?;
        let _none_yet = unlinkat(&folder, PARTIAL, UnlinkatFlags::NoRemoveDir);
        symlinkat(target, &folder, PARTIAL)?;
        let nobody_else = (Some(Uid::from_raw(0)), Some(Gid::from_raw(0)));
        let (user, group) = nobody_else;
        fchownat(&folder, PARTIAL, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        Ok(renameat(&folder, PARTIAL, &folder, name.as_os_str())?)
    }

    /// Replaces the content of an existing file, without changing its mode and owner.
    pub(crate) fn rewrite(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::from(self.resolve(path, OFlag::O_WRONLY | OFlag::O_TRUNC)?);
        file.write_all(bytes)
    }

    /// Sets mode and owner of a path; a symlink is not followed, and has no mode.
    pub(crate) fn set(
        &self,
        path: &Path,
        mode: Option<u32>,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        let found = self.stat(path)?;
        let (folder, name) = self.parent(path)?;
        if let Some((user, group)) = owner {
            let (user, group) = (Some(Uid::from_raw(user)), Some(Gid::from_raw(group)));
            fchownat(&folder, name.as_os_str(), user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        }
        let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
        if kind != SFlag::S_IFLNK {
            // Changing the owner has removed set-user-ID.
            let mode = Mode::from_bits_truncate(mode.unwrap_or(found.st_mode) & 0o7777);
            fchmodat(&folder, name.as_os_str(), mode, FchmodatFlags::FollowSymlink)?;
        }
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        let opened = self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        Ok(fstatat(&opened, "", AtFlags::AT_EMPTY_PATH)?)
    }

    /// Gives a path another name in the same folder.
    pub(crate) fn rename(&self, path: &Path, to: &str) -> io::Result<()> {
        let (folder, name) = self.parent(path)?;
        Ok(renameat(&folder, name.as_os_str(), &folder, to)?)
    }

    /// Removes a file or a symlink.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        let (folder, name) = self.parent(path)?;
        Ok(unlinkat(&folder, name.as_os_str(), UnlinkatFlags::NoRemoveDir)?)
    }

    /// Removes a folder if it is empty; it is not an error if it is not, or if it is missing.
    pub(crate) fn remove_empty(&self, path: &Path) -> io::Result<()> {
        if !self.has(path) {
            return Ok(());
        }
        let (folder, name) = self.parent(path)?;
        match unlinkat(&folder, name.as_os_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOTEMPTY | Errno::ENOTDIR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the size of a file in bytes, if it exists, following symlinks inside the root.
    pub(crate) fn size(&self, path: &Path) -> Option<u64> {
        let opened = self.resolve(path, OFlag::O_PATH).ok()?;
        let found = fstatat(&opened, "", AtFlags::AT_EMPTY_PATH).ok()?;
        u64::try_from(found.st_size).ok()
    }

    /// Returns where a symlink points, if it is one.
    pub(crate) fn link(&self, path: &Path) -> Option<OsString> {
        let (folder, name) = self.parent(path).ok()?;
        readlinkat(&folder, name.as_os_str()).ok()
    }
}

/// Returns the bytes that the files below a folder take, counting hard links once.
pub(crate) fn taken(folder: &Path) -> io::Result<u64> {
    let (mut bytes, mut seen, mut folders) = (0, BTreeSet::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let found = entry.metadata()?;
            if found.is_dir() {
                folders.push(entry.path());
            }
            if found.is_dir() || found.nlink() < 2 || seen.insert((found.dev(), found.ino())) {
                bytes += found.blocks() * 512;
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symlink_of_the_image_leads_nowhere_else() {
        let outside = tempfile::tempdir().expect("a folder");
        let image = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(image.path().join("usr/bin")).expect("a folder");
        let link = |from: &Path, to: &str| {
            std::os::unix::fs::symlink(from, image.path().join(to)).expect("a symlink");
        };
        link(Path::new("usr/bin"), "bin");
        link(Path::new("/usr/bin"), "absolute");
        link(Path::new("../../../../usr/bin"), "upwards");
        link(outside.path(), "away");
        let root = Root::open(image.path()).expect("a root");
        for name in ["bin/a", "absolute/b", "upwards/c"] {
            root.place(Path::new(name), &mut &b"x"[..], 0o755).expect("a file");
        }
        let error = root.place(Path::new("away/d"), &mut &b"x"[..], 0o755);
        assert!(error.is_err(), "a folder of the host has no place in the image");
        assert_eq!(root.names("/usr/bin"), ["a", "b", "c"]);
        assert_eq!(fs::read_dir(outside.path()).expect("a folder").count(), 0);
    }

    #[test]
    fn what_had_the_name_is_replaced_and_not_followed() {
        let image = tempfile::tempdir().expect("a folder");
        let root = Root::open(image.path()).expect("a root");
        root.place(Path::new("etc/real"), &mut &b"old"[..], 0o600).expect("a file");
        root.symlink(Path::new("etc/link"), OsStr::new("real")).expect("a symlink");
        root.place(Path::new("etc/link"), &mut &b"new"[..], 0o640).expect("a file");
        let read = |path: &str| root.read(Path::new(path)).expect("a file").unwrap_or_default();
        assert_eq!((read("etc/real"), read("etc/link")), (b"old".to_vec(), b"new".to_vec()));
        assert_eq!(root.stat(Path::new("etc/link")).expect("a file").st_mode & 0o7777, 0o640);
        assert_eq!(root.names("/etc"), ["link", "real"], "nothing partial is left");
    }
}
