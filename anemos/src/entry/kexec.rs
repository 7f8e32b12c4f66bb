//! Enters the deploy environment by kexec: loads kernel and initramfs, then executes them.

mod syscall;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::Context;
use initramfs::mount_table::unescape;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::sync;

use crate::report::Refusal;

/// Says whether a kernel is loaded (Linux, `kernel/ksysfs.c`).
const LOADED: &str = "/sys/kernel/kexec_loaded";

/// Loads a kernel with its initramfs and command line into memory. Nothing runs it yet, and
/// [`unload`] takes it back. The files are no longer needed afterwards.
pub(crate) fn load(kernel: &Path, initramfs: &Path, command_line: &str) -> anyhow::Result<()> {
    let open =
        |path: &Path| File::open(path).with_context(|| format!("opening {}", path.display()));
    let text = CString::new(command_line).context("reading the kernel command line")?;
    let (kernel_file, initramfs_file) = (open(kernel)?, open(initramfs)?);
    syscall::kexec_file_load(&kernel_file, &initramfs_file, &text)
        .map_err(|error| match explain(&error, kernel) {
            Some(refusal) => anyhow::Error::new(refusal),
            None => anyhow::Error::new(error),
        })
        .with_context(|| format!("loading {} with {}", kernel.display(), initramfs.display()))
}

/// What the errors of `kexec_file_load(2)` that users meet mean for them.
fn explain(error: &io::Error, kernel: &Path) -> Option<Refusal> {
    use nix::libc::{EADDRNOTAVAIL, EBUSY, EKEYREJECTED, ENOEXEC, ENOKEY, ENOMEM, ENOSYS, EPERM};
    let refusal = match error.raw_os_error()? {
        EPERM => Refusal::new(
            "this kernel forbids kexec (lockdown, or kernel.kexec_load_disabled)",
            "the setting holds until the next boot; switch secure boot off or reboot first",
        ),
        ENOEXEC => Refusal::new(
            format!("{} is no kernel that this kernel can load", kernel.display()),
            "name the bzImage of a Linux kernel in [kernel] source",
        ),
        ENOKEY | EKEYREJECTED => Refusal::new(
            format!("this kernel does not trust the signature of {}", kernel.display()),
            "use the running system's own kernel: [kernel] source = \"running\"",
        ),
        ENOSYS => Refusal::new(
            "this kernel was built without kexec_file_load",
            "install a kernel with CONFIG_KEXEC_FILE, as distributions build them",
        ),
        ENOMEM | EADDRNOTAVAIL => Refusal::new(
            "the kernel finds no room for the final initramfs",
            "stop services or use a smaller payload or base, then try again",
        ),
        EBUSY => Refusal::new("another kexec is under way", "wait for it, then try again"),
        _ => return None,
    };
    Some(refusal)
}

/// Whether a kernel is loaded now.
pub(crate) fn is_loaded() -> bool {
    fs::read_to_string(LOADED).is_ok_and(|text| text.trim() == "1")
}

/// Takes a loaded kernel back.
pub(crate) fn unload() -> anyhow::Result<()> {
    syscall::kexec_file_unload().context("unloading the loaded kernel")
}

/// Executes the loaded kernel. Returns only with an error; file systems may be read-only then.
///
/// The old system must be bootable again until the deploy environment writes, so everything
/// is written back and made read-only first. The kernel shuts the devices down itself.
pub(crate) fn execute() -> anyhow::Result<()> {
    sync();
    let table = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    for target in writable_targets(&table) {
        let none: Option<&str> = None;
        // A busy one follows below; whatever stays writable is at least written back.
        let _busy =
            mount(none, target.as_str(), none, MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY, none);
    }
    // Emergency remount: read-only even where files are open for writing
    // (Linux, admin-guide/sysrq). Without it, the journals are replayed at the next boot.
    let _without_sysrq = fs::write("/proc/sysrq-trigger", "u");
    sync();
    let Err(errno) = reboot(RebootMode::RB_KEXEC);
    let failure = anyhow::Error::new(errno).context("executing the loaded kernel");
    Err(failure.context("file systems are read-only now; reboot, the old system is intact"))
}

/// Mount points of writable file systems on block devices, the last mounted first.
fn writable_targets(table: &str) -> Vec<String> {
    let fields = |line: &str| -> Option<String> {
        let mut fields = line.split_whitespace();
        let (device, target, _, options) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let writable = options.split(',').any(|option| option == "rw");
        (device.starts_with("/dev/") && writable).then(|| unescape(target))
    };
    table.lines().rev().filter_map(fields).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writable_disks_are_remounted() {
        let table = "/dev/vda1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n\
                     /dev/vdb /mnt/my\\040data xfs rw 0 0\n/dev/sr0 /cdrom iso9660 ro 0 0\n";
        assert_eq!(writable_targets(table), ["/mnt/my data", "/"]);
    }

    #[test]
    fn known_errors_of_the_kernel_are_refusals_with_a_way_out() {
        let texts: Vec<_> = [1, 8, 12, 16, 38, 126, 5]
            .map(|errno| {
                let error = io::Error::from_raw_os_error(errno);
                explain(&error, Path::new("/boot/vmlinuz")).map_or_else(
                    || format!("{errno}: -"),
                    |refusal| format!("{errno}: {refusal} | {}", refusal.hint()),
                )
            })
            .to_vec();
        insta::assert_snapshot!(texts.join("\n"), @r#"
        1: this kernel forbids kexec (lockdown, or kernel.kexec_load_disabled) | the setting holds until the next boot; switch secure boot off or reboot first
        8: /boot/vmlinuz is no kernel that this kernel can load | name the bzImage of a Linux kernel in [kernel] source
        12: the kernel finds no room for the final initramfs | stop services or use a smaller payload or base, then try again
        16: another kexec is under way | wait for it, then try again
        38: this kernel was built without kexec_file_load | install a kernel with CONFIG_KEXEC_FILE, as distributions build them
        126: this kernel does not trust the signature of /boot/vmlinuz | use the running system's own kernel: [kernel] source = "running"
        5: -
        "#);
    }
}
