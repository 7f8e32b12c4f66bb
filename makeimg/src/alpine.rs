//! What systems of Alpine need to boot, on machines and in disk images.

use crate::error::Problem;
use crate::project::{Project, Target};

/// Its kernels, by their names: others that begin so are firmware, headers or PAM.
pub(crate) const KERNELS: &[&str] =
    &["linux-lts", "linux-virt", "linux-edge", "linux-stable", "linux-rpi"];

/// Returns the parameter without which its initramfs does not load the driver of the root file system.
pub(crate) fn root_parameter(target: &Target, filesystem: &str) -> Option<String> {
    (*target == Target::Alpine).then(|| format!("rootfstype={filesystem}"))
}

/// Refuses a root file system that its initramfs has no driver for.
pub(crate) fn check(target: &Target, filesystem: &str) -> Result<(), Problem> {
    if *target != Target::Alpine || filesystem.starts_with("ext") {
        return Ok(());
    }
    let reason = format!("the initramfs of Alpine does not mount {filesystem}");
    Err(Problem::refused(reason, "use ext4 in the format"))
}

/// Tells whether a kernel is to be installed, so that something is to boot.
pub(crate) fn has_kernel(project: &Project) -> bool {
    project.packages.iter().any(|package| KERNELS.contains(&package.as_str()))
}
