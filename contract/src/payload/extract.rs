//! Writes the members of a payload below one folder, never outside of it.
//!
//! Earlier checks make this safe: a name is relative and without `..`, and everything above it is a
//! folder that was created here. Files are created, never opened, so no link is followed.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown, symlink,
};
use std::path::{Path, PathBuf};

use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;

use crate::payload::PayloadError;
use crate::payload::members::{Body, Member, Sink};
use crate::payload::tree::show;

/// Unpacks below a folder.
pub(super) struct Extractor {
    root: PathBuf,
    keep_owners: bool,
    /// Folders get modes and times at the end, because a read-only one must be filled before.
    folders: Vec<Member>,
}

impl Extractor {
    /// Creates the folder; if it exists, it must be empty.
    pub(super) fn create(root: &Path) -> Result<Self, PayloadError> {
        let context = || format!("making the folder {}", root.display());
        let failure = |source| PayloadError::Io { context: context(), source };
        fs::create_dir_all(root).map_err(failure)?;
        if fs::read_dir(root).map_err(failure)?.next().is_some() {
            return Err(failure(io::ErrorKind::DirectoryNotEmpty.into()));
        }
        let keep_owners = nix::unistd::geteuid().is_root();
        Ok(Self { root: root.to_owned(), keep_owners, folders: Vec::new() })
    }

    /// Moves what lies in the top folder one level up, links included as they are.
    fn strip(&self, top: &[u8]) -> io::Result<()> {
        // The folder may hold something of its own name, and may be read-only.
        let aside = self.root.join(".anemos-top");
        fs::rename(self.path(top), &aside)?;
        fs::set_permissions(&aside, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&aside)? {
            let entry = entry?;
            move_up(&entry.path(), &self.root.join(entry.file_name()))?;
        }
        fs::remove_dir(&aside)
    }

    fn path(&self, name: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(name))
    }

    fn write(&self, member: &Member, content: &mut dyn Read) -> io::Result<()> {
        let path = self.path(&member.name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match &member.body {
            Body::Folder => {
                let made = DirBuilder::new().mode(0o700).create(&path);
                // An earlier member may have created it; the checks ensure that it is a folder.
                return made.or_else(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => Ok(()),
                    _ => Err(error),
                });
            }
            Body::HardLink(target) => return fs::hard_link(self.path(target), &path),
            Body::Link(target) => symlink(OsStr::from_bytes(target), &path)?,
            Body::File { size } => {
                let mut file =
                    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
                if io::copy(content, &mut file)? != *size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
        self.dress(member)
    }

    /// Sets owner, mode and time, in an order in which none undoes another.
    fn dress(&self, member: &Member) -> io::Result<()> {
        let path = self.path(&member.name);
        if self.keep_owners {
            let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
            lchown(&path, Some(id(member.owner.0)?), Some(id(member.owner.1)?))?;
        }
        if !matches!(member.body, Body::Link(_)) {
            fs::set_permissions(&path, Permissions::from_mode(member.mode))?;
        }
        let time = TimeSpec::new(i64::try_from(member.modified).unwrap_or(i64::MAX), 0);
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, &path, &time, &time, flags)?;
        Ok(())
    }
}

impl Sink for Extractor {
    fn take(&mut self, member: &Member, content: &mut dyn Read) -> Result<(), PayloadError> {
        self.write(member, content).map_err(|source| failure(&member.name, source))?;
        if matches!(member.body, Body::Folder) {
            let Member { mode, owner, modified, .. } = *member;
            let name = member.name.clone();
            self.folders.push(Member { name, mode, owner, modified, body: Body::Folder });
        }
        Ok(())
    }

    /// Gives the folders their modes and times, then moves the content of the top folder up.
    fn finish(&mut self, top: Option<&[u8]>) -> Result<(), PayloadError> {
        // Innermost first: once a folder has lost its permissions, nothing below it can be reached.
        self.folders.sort_by(|a, b| b.name.cmp(&a.name));
        for folder in &self.folders {
            self.dress(folder).map_err(|source| failure(&folder.name, source))?;
        }
        match top {
            Some(top) => self.strip(top).map_err(|source| failure(top, source)),
            None => Ok(()),
        }
    }
}

/// Renames; a folder whose mode forbids that becomes writable for the moment.
fn move_up(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let mode = fs::symlink_metadata(from)?.permissions();
            fs::set_permissions(from, Permissions::from_mode(0o700))?;
            fs::rename(from, to)?;
            fs::set_permissions(to, mode)
        }
        other => other,
    }
}

fn failure(name: &[u8], source: io::Error) -> PayloadError {
    PayloadError::Io { context: format!("unpacking member {}", show(name)), source }
}
