//! Finds the programs that a build needs, before it begins.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::Problem;

/// The Debian packages that hold the programs we call.
const PACKAGES: &[(&str, &str)] = &[
    ("bzip2", "bzip2"),
    ("compress", "ncompress"),
    ("debootstrap", "debootstrap"),
    ("debugfs", "e2fsprogs"),
    ("gzip", "gzip"),
    ("lzip", "lzip"),
    ("lzop", "lzop"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.btrfs", "btrfs-progs"),
    ("mkfs.fat", "dosfstools"),
    ("mkfs.vfat", "dosfstools"),
    ("mkfs.xfs", "xfsprogs"),
    ("mmdebstrap", "mmdebstrap"),
    ("mount", "mount"),
    ("newuidmap", "uidmap"),
    ("pacman-conf", "pacman-package-manager"),
    ("pacman-key", "makepkg"),
    ("pacstrap", "arch-install-scripts"),
    ("patch", "patch"),
    ("sfdisk", "fdisk"),
    ("sh", "dash"),
    ("tar", "tar"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// What Debian 12 has no package of, and the way to it.
const ELSEWHERE: &[(&str, &str)] = &[(
    "apk",
    "take a base initramfs with apk (`anemos base build --distribution alpine`, or `--add` with \
     Alpine's package apk-tools and its libraries); on a workstation, put apk into PATH",
)];

/// Finds a program in a `PATH`.
pub(crate) fn find_in(path: Option<&OsStr>, program: &str) -> Option<PathBuf> {
    let runs = |file: &Path| {
        file.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let folders = env::split_paths(path?);
    folders.map(|folder| folder.join(program)).find(|file| runs(file))
}

/// Folders that the `PATH` of root alone has.
const ADMINISTRATOR: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Returns our own `PATH`, with the folders of root's at its end where they are missing.
///
/// The tools of distributions take it for granted that root calls them.
pub(crate) fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = env::split_paths(&path).collect();
    for folder in ADMINISTRATOR.map(PathBuf::from) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    // No folder that came out of a PATH has a colon in it.
    env::join_paths(folders).unwrap_or(path)
}

/// Finds a program in our own `PATH`, or in the folders that only root's has.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    find_in(Some(&path()), program)
}

/// Finds a program, or says which package has it.
pub(crate) fn require(program: &str, why: &str) -> Result<PathBuf, Problem> {
    find(program).ok_or_else(|| {
        if let Some((_, hint)) = ELSEWHERE.iter().find(|(name, _)| *name == program) {
            return Problem::refused(format!("{program} is missing, which {why} needs"), *hint);
        }
        let known = PACKAGES.iter().find(|(name, _)| *name == program);
        let hint = known.map_or_else(
            || format!("install {program}, and have it in PATH"),
            |(_, package)| format!("install the Debian package {package}, or have it in PATH"),
        );
        Problem::refused(format!("{program} is missing, which {why} needs"), hint)
    })
}
