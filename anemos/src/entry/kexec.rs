//! Loads kernel and initramfs of the deploy environment for kexec, by either system call.

mod layout;
mod machine;
mod syscall;

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::Context;

use self::machine::Machine;
use super::next::Next;
use crate::report::Refused;

/// Makes the running kernel load another one into memory, with initramfs and command line.
///
/// Nothing runs it yet, and [`unload`] undoes it. The files are no longer needed afterwards.
pub(super) fn load_by_files(next: &Next<'_>) -> anyhow::Result<()> {
    let text = CString::new(next.command_line).context("reading the kernel command line")?;
    let (kernel, initramfs) = (open(next.kernel)?, open(next.initramfs)?);
    syscall::kexec_file_load(&kernel, &initramfs, &text)
        .map_err(|error| told(error, next.kernel))
        .with_context(|| describe(next))
}

/// Does the same, but lays out the memory of the other kernel itself.
///
/// The running kernel does not check a signature then.
pub(super) fn load_by_segments(next: &Next<'_>) -> anyhow::Result<()> {
    let kernel = fs::read(next.kernel).with_context(|| describe(next))?;
    let initramfs = syscall::Mapped::new(&open(next.initramfs)?)
        .with_context(|| format!("mapping {}", next.initramfs.display()))?;
    let machine = Machine::read(Path::new("/"))?;
    let size = initramfs.bytes().len() as u64;
    let layout = layout::lay_out(&kernel, size, next.command_line, &machine)?;
    let segments = [
        (layout.kernel_code(&kernel), layout.kernel),
        (initramfs.bytes(), layout.initramfs),
        (layout.setup_bytes.as_slice(), layout.setup),
    ];
    syscall::kexec_load(layout.entry, segments)
        .map_err(|error| told(error, next.kernel))
        .with_context(|| describe(next))
}

fn open(path: &Path) -> anyhow::Result<File> {
    File::open(path).with_context(|| format!("opening {}", path.display()))
}

fn describe(next: &Next<'_>) -> String {
    format!("loading {} with {}", next.kernel.display(), next.initramfs.display())
}

fn told(error: io::Error, kernel: &Path) -> anyhow::Error {
    match explain(&error, kernel) {
        Some(refusal) => anyhow::Error::new(refusal),
        None => anyhow::Error::new(error),
    }
}

/// Returns what those errors of both calls that users meet mean to them (`kexec_load(2)`).
fn explain(error: &io::Error, kernel: &Path) -> Option<Refused> {
    use nix::libc::{EADDRNOTAVAIL, EBUSY, EKEYREJECTED, ENOEXEC, ENOKEY, ENOMEM, ENOSYS, EPERM};
    let refusal = match error.raw_os_error()? {
        EPERM => Refused::new(
            "this kernel forbids kexec (lockdown, or kernel.kexec_load_disabled)",
            "the setting holds until the next boot; switch secure boot off or reboot first",
        ),
        ENOEXEC => Refused::new(
            format!("{} is not a kernel that this kernel can load", kernel.display()),
            "name the bzImage of a Linux kernel in [kernel] source",
        ),
        ENOKEY | EKEYREJECTED => Refused::new(
            format!("this kernel does not trust the signature of {}", kernel.display()),
            "use the running system's own kernel: [kernel] source = \"running\"",
        ),
        ENOSYS => Refused::new(
            "this kernel was built without that system call",
            "install a kernel with CONFIG_KEXEC_FILE, as distributions build them",
        ),
        ENOMEM | EADDRNOTAVAIL => Refused::new(
            "the kernel finds no room for the final initramfs",
            "stop services or use a smaller payload or base, then try again",
        ),
        EBUSY => Refused::new("another kexec is under way", "wait for it, then try again"),
        _ => return None,
    };
    Some(refusal)
}

/// Unloads a loaded kernel.
pub(crate) fn unload() -> anyhow::Result<()> {
    syscall::unload().context("unloading the loaded kernel")
}

#[cfg(test)]
mod tests {
    use super::*;

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
        8: /boot/vmlinuz is not a kernel that this kernel can load | name the bzImage of a Linux kernel in [kernel] source
        12: the kernel finds no room for the final initramfs | stop services or use a smaller payload or base, then try again
        16: another kexec is under way | wait for it, then try again
        38: this kernel was built without that system call | install a kernel with CONFIG_KEXEC_FILE, as distributions build them
        126: this kernel does not trust the signature of /boot/vmlinuz | use the running system's own kernel: [kernel] source = "running"
        5: -
        "#);
    }
}
