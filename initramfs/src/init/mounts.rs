//! Mounts the file systems that the deploy environment needs.

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

struct Mount {
    target: &'static str,
    fstype: &'static str,
    flags: MsFlags,
    data: Option<&'static str>,
    need: Need,
}

/// What to do if the kernel does not know a file system.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Need {
    /// Nothing works without it.
    Always,
    /// Some programs look for it, but can do without it.
    IfKnown,
}

const NO_SUID_EXEC: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NOEXEC);
const NO_SUID_DEV: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
const NO_SUID_DEV_EXEC: MsFlags = NO_SUID_DEV.union(MsFlags::MS_NOEXEC);

/// In mount order: a later entry may lie below an earlier one.
///
/// Flags and options are those of systemd (`src/shared/mount-setup.c`, `units/dev-mqueue.mount`,
/// `units/tmp.mount`), unless a comment says otherwise.
///
/// Not here: securityfs, because packages that find `AppArmor` there load their profiles, which
/// would then confine programs of this system; `binfmt_misc`, because what a package registers
/// applies to this kernel, not to the new system; hugetlbfs, which nobody asks for.
const MOUNTS: &[Mount] = &[
    always("/proc", "proc", NO_SUID_DEV_EXEC, None),
    always("/sys", "sysfs", NO_SUID_DEV_EXEC, None),
    always("/dev", "devtmpfs", MsFlags::MS_NOSUID, None),
    // With `nodev`, no terminal could be opened by its name. Group 5 is `tty` in every
    // distribution. A chroot may have `/dev/ptmx` as a link to `pts/ptmx`, which nobody may open by
    // default (Linux, `Documentation/filesystems/devpts.rst`).
    always("/dev/pts", "devpts", NO_SUID_EXEC, Some("mode=620,gid=5,ptmxmode=666")),
    always("/dev/shm", "tmpfs", NO_SUID_DEV, Some("mode=1777")),
    if_known("/dev/mqueue", "mqueue", NO_SUID_DEV_EXEC, None),
    // Programs are executed there.
    always("/run", "tmpfs", NO_SUID_DEV, Some("mode=755")),
    // Device nodes work there, unlike with systemd: a root file system may be built there.
    always("/tmp", "tmpfs", MsFlags::MS_NOSUID, Some("mode=1777")),
    if_known("/sys/fs/cgroup", "cgroup2", NO_SUID_DEV_EXEC, Some("nsdelegate")),
];

const fn always(
    target: &'static str,
    fstype: &'static str,
    flags: MsFlags,
    data: Option<&'static str>,
) -> Mount {
    Mount { target, fstype, flags, data, need: Need::Always }
}

const fn if_known(
    target: &'static str,
    fstype: &'static str,
    flags: MsFlags,
    data: Option<&'static str>,
) -> Mount {
    Mount { target, fstype, flags, data, need: Need::IfKnown }
}

/// Mounts the table; what is already mounted, as `/dev` is by some kernels, is fine.
pub(super) fn mount_all() -> anyhow::Result<()> {
    for entry in MOUNTS {
        match mount_one(entry) {
            Err(_) if entry.need == Need::IfKnown => {}
            done => done?,
        }
    }
    Ok(())
}

fn mount_one(entry: &Mount) -> anyhow::Result<()> {
    let Mount { target, fstype, flags, data, .. } = entry;
    std::fs::create_dir_all(target).with_context(|| format!("making {target}"))?;
    match mount(Some(*fstype), *target, Some(*fstype), *flags, *data) {
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("mounting {target}")),
    }
}

/// Returns whether a target is in the table, so stays mounted to the end.
pub(super) fn is_ours(target: &str) -> bool {
    target == "/" || MOUNTS.iter().any(|mount| mount.target == target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_below_another_mount_comes_after_it() {
        for (number, entry) in MOUNTS.iter().enumerate() {
            let late = MOUNTS.iter().skip(number + 1);
            let above = late.filter(|late| entry.target.starts_with(&format!("{}/", late.target)));
            assert_eq!(above.count(), 0, "{} is mounted too early", entry.target);
        }
    }
}
