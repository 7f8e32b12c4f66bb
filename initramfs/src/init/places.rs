//! Makes files and folders that udev, systemd and systemd-tmpfiles would make elsewhere.
//!
//! initramfs/README.md lists what package scripts expect, and who provides it elsewhere.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::report::Report;

/// Folders with their permission bits, which are also set on existing ones.
const FOLDERS: &[(&str, u32)] = &[
    // The root that the kernel unpacks an initramfs to may be writable for all (tmpfs(5), `mode`).
    ("/", 0o755),
    // systemd, `tmpfiles.d/var.conf`.
    ("/var", 0o755),
    ("/var/cache", 0o755),
    ("/var/lib", 0o755),
    ("/var/log", 0o755),
    ("/var/spool", 0o755),
    // systemd, `tmpfiles.d/tmp.conf`.
    ("/var/tmp", 0o1777),
    // Debian's systemd mounts a file system with this mode; `tmpfiles.d/legacy.conf` has 0755.
    ("/run/lock", 0o1777),
];

/// Links with their targets, unless these are missing; whatever exists already stays.
const LINKS: &[(&str, &str)] = &[
    // systemd, `src/shared/dev-setup.c`; udev did the same before.
    ("/dev/core", "/proc/kcore"),
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    // systemd, `tmpfiles.d/etc.conf`: older mount and mkfs look there.
    ("/etc/mtab", "/proc/self/mounts"),
    // systemd, `tmpfiles.d/var.conf` and `legacy.conf`.
    ("/var/run", "/run"),
    ("/var/lock", "/run/lock"),
    // Where modprobe(8) looks for what we pack below `/usr`, in a base whose `/lib` does not lead
    // there.
    ("/lib/modules", "/usr/lib/modules"),
];

/// Files for a base that has none of its own (passwd(5), group(5)).
const FILES: &[(&str, &str)] = &[
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("/etc/group", "root:x:0:\ntty:x:5:\ndisk:x:6:\n"),
];

/// Makes the tables; what cannot be made is reported, because most programs do without it.
pub(super) fn make(report: &mut Report) {
    for (path, error) in make_below(Path::new("/")) {
        report.line(&format!("{path} cannot be made: {error}"));
    }
}

fn make_below(root: &Path) -> Vec<(&'static str, io::Error)> {
    let inside = |path: &str| root.join(path.trim_start_matches('/'));
    let folders = FOLDERS.iter().map(|(path, mode)| (*path, folder(&inside(path), *mode)));
    let links =
        LINKS.iter().map(|(path, target)| (*path, link(&inside(path), target, &inside(target))));
    let files = FILES.iter().map(|(path, text)| (*path, file(&inside(path), text)));
    let all = folders.chain(links).chain(files);
    all.filter_map(|(path, made)| Some((path, made.err()?))).collect()
}

/// Makes a folder, then sets its mode, because the umask takes bits from a new one (mkdir(2)).
fn folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

fn link(path: &Path, target: &str, place: &Path) -> io::Result<()> {
    if fs::symlink_metadata(place).is_err() {
        return Ok(());
    }
    above(path)?;
    match symlink(target, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn file(path: &Path, text: &str) -> io::Result<()> {
    above(path)?;
    if fs::symlink_metadata(path).is_ok() { Ok(()) } else { fs::write(path, text) }
}

fn above(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_base_gets_all_of_the_tables() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("proc/self/fd")).unwrap();
        fs::write(path("proc/self/fd/0"), "").unwrap();
        assert!(make_below(root.path()).is_empty());
        assert_eq!(fs::metadata(path("var/tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert_eq!(fs::metadata(root.path()).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(path("dev/stdin")).unwrap(), Path::new("/proc/self/fd/0"));
        assert!(fs::symlink_metadata(path("lib/modules")).is_err(), "a link to nowhere");
        assert!(fs::read_to_string(path("etc/group")).unwrap().contains("tty:x:5:"));
    }

    #[test]
    fn what_a_base_has_stays_but_for_the_modes_of_folders() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("var/run")).unwrap();
        fs::create_dir_all(path("var/tmp")).unwrap();
        fs::create_dir_all(path("lib")).unwrap();
        fs::create_dir_all(path("usr/lib/modules")).unwrap();
        fs::create_dir(path("etc")).unwrap();
        fs::write(path("etc/passwd"), "own").unwrap();
        symlink("../elsewhere", path("etc/mtab")).unwrap();
        assert!(make_below(root.path()).is_empty());
        assert!(path("var/run").symlink_metadata().unwrap().is_dir());
        assert_eq!(fs::metadata(path("var/tmp")).unwrap().permissions().mode() & 0o7777, 0o1777);
        assert_eq!(fs::read_to_string(path("etc/passwd")).unwrap(), "own");
        assert_eq!(fs::read_link(path("lib/modules")).unwrap(), Path::new("/usr/lib/modules"));
        assert_eq!(fs::read_link(path("etc/mtab")).unwrap(), Path::new("../elsewhere"));
    }

    #[test]
    fn what_cannot_be_made_is_named_and_the_rest_is_made() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("var"), "a file").unwrap();
        let failed: Vec<_> = make_below(root.path()).into_iter().map(|(path, _)| path).collect();
        assert!(failed.contains(&"/var/tmp") && !failed.contains(&"/dev/fd"), "{failed:?}");
        assert!(root.path().join("run/lock").is_dir());
    }
}
