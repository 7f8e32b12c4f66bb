//! Finds the programs that a build needs, before it begins.

use std::path::PathBuf;

use crate::error::Problem;
use crate::path;

/// The Debian packages of the programs we call.
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

/// Programs that Debian 12 has no package of, and how to get them.
const ELSEWHERE: &[(&str, &str)] = &[(
    "apk",
    "take a base initramfs with apk (`anemos base build --distribution alpine`, or `--add` with \
     Alpine's package apk-tools and its libraries); on a workstation, put apk into PATH",
)];

/// Finds a program, or reports which package contains it.
pub(crate) fn require(program: &str, why: &str) -> Result<PathBuf, Problem> {
    path::find(program).ok_or_else(|| {
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
