//! Mounts what the deploy environment lives on.

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

struct Mount {
    target: &'static str,
    fstype: &'static str,
    flags: MsFlags,
    data: Option<&'static str>,
}

const NO_SUID_DEV_EXEC: MsFlags =
    MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV).union(MsFlags::MS_NOEXEC);

/// In mount order: a later entry may lie below an earlier one.
const MOUNTS: &[Mount] = &[
    Mount { target: "/proc", fstype: "proc", flags: NO_SUID_DEV_EXEC, data: None },
    Mount { target: "/sys", fstype: "sysfs", flags: NO_SUID_DEV_EXEC, data: None },
    Mount { target: "/dev", fstype: "devtmpfs", flags: MsFlags::MS_NOSUID, data: None },
    Mount { target: "/dev/pts", fstype: "devpts", flags: NO_SUID_DEV_EXEC, data: None },
    Mount {
        target: "/dev/shm",
        fstype: "tmpfs",
        flags: MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV),
        data: Some("mode=1777"),
    },
    Mount { target: "/run", fstype: "tmpfs", flags: NO_SUID_DEV_EXEC, data: Some("mode=755") },
    Mount { target: "/tmp", fstype: "tmpfs", flags: MsFlags::MS_NOSUID, data: Some("mode=1777") },
];

/// Mounts the table; what is mounted already, as some kernels do with `/dev`, is fine.
pub(super) fn mount_all() -> anyhow::Result<()> {
    for Mount { target, fstype, flags, data } in MOUNTS {
        std::fs::create_dir_all(target).with_context(|| format!("making {target}"))?;
        match mount(Some(*fstype), *target, Some(*fstype), *flags, *data) {
            Ok(()) | Err(Errno::EBUSY) => {}
            Err(errno) => return Err(errno).with_context(|| format!("mounting {target}")),
        }
    }
    Ok(())
}

/// The targets of the table, which stay mounted to the end.
pub(super) fn is_ours(target: &str) -> bool {
    target == "/" || MOUNTS.iter().any(|mount| mount.target == target)
}
