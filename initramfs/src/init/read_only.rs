//! Makes the kernel refuse writes to a block device, or accept them again.
#![expect(unsafe_code, reason = "an ioctl that no crate wraps")]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use nix::libc::c_int;

/// `BLKROSET`, Linux `include/uapi/linux/fs.h`.
const BLKROSET: (u8, u8) = (0x12, 93);

nix::ioctl_write_ptr_bad!(blkroset, nix::request_code_none!(BLKROSET.0, BLKROSET.1), c_int);

/// Makes a device read-only for everyone; root could undo it, but not by mistake.
pub(super) fn set(device: &str) -> io::Result<()> {
    write_flag(device, 1)
}

/// Makes a device writable again.
pub(super) fn lift(device: &str) -> io::Result<()> {
    write_flag(device, 0)
}

fn write_flag(device: &str, read_only: c_int) -> io::Result<()> {
    let device = File::open(device)?;
    // SAFETY: the descriptor is open, and the kernel reads one int from the address.
    unsafe { blkroset(device.as_raw_fd(), &raw const read_only) }?;
    Ok(())
}
