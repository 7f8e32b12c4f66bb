//! The system call `kexec_file_load(2)`, which no library offers.
#![expect(unsafe_code, reason = "system calls that no crate wraps")]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// `KEXEC_FILE_UNLOAD` of `linux/kexec.h`.
const UNLOAD: libc::c_ulong = 1;

/// Loads a kernel and an initramfs for the next `reboot(LINUX_REBOOT_CMD_KEXEC)`.
///
/// The kernel has copied everything when the call returns; an error leaves a kernel that was
/// loaded before unloaded or as it was.
pub(super) fn kexec_file_load(
    kernel: &File,
    initramfs: &File,
    command_line: &CStr,
) -> io::Result<()> {
    let length = command_line.to_bytes_with_nul().len();
    let no_flags: libc::c_ulong = 0;
    // SAFETY: both descriptors are borrowed for the whole call, and the pointer and the
    // length, which counts the final NUL, belong to one live CStr. The kernel copies all of
    // it before it returns.
    let status = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initramfs.as_raw_fd(),
            length,
            command_line.as_ptr(),
            no_flags,
        )
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unloads the loaded kernel; that there was none is no error.
pub(super) fn kexec_file_unload() -> io::Result<()> {
    let no_file: libc::c_int = -1;
    let nothing: libc::c_ulong = 0;
    // SAFETY: with this flag the kernel reads neither descriptors nor the command line
    // (`kexec_file_load(2)`), so no memory of ours is touched.
    let status = unsafe {
        libc::syscall(libc::SYS_kexec_file_load, no_file, no_file, nothing, nothing, UNLOAD)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
