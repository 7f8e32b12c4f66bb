//! The system calls `kexec_file_load(2)` and `kexec_load(2)`, which no library offers.
#![expect(unsafe_code, reason = "system calls that no crate wraps")]

use std::ffi::{CStr, c_void};
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// `KEXEC_FILE_UNLOAD` of `linux/kexec.h`.
const UNLOAD: libc::c_ulong = 1;

/// Loads a kernel and an initramfs for the next `reboot(LINUX_REBOOT_CMD_KEXEC)`.
///
/// The kernel has copied everything when the call returns. After an error, a kernel that was loaded
/// before is unloaded or unchanged.
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

/// Loads segments for the next `reboot(LINUX_REBOOT_CMD_KEXEC)`, which jumps to `entry`.
///
/// Each segment consists of the bytes to copy, and the pages that they are copied to. The kernel
/// has copied everything when the call returns.
pub(super) fn kexec_load(entry: u64, segments: [(&[u8], Range<u64>); 3]) -> io::Result<()> {
    let default_flags: libc::c_ulong = 0;
    let segments = segments.map(|(bytes, place)| Segment {
        buffer: bytes.as_ptr(),
        buffer_size: bytes.len(),
        place: place.start,
        size: place.end - place.start,
    });
    // SAFETY: the array lives for the whole call, its length is passed with it, and each of its
    // segments points to borrowed bytes of the length beside it. The kernel only reads them, and
    // has copied all of them before it returns.
    let status = unsafe {
        libc::syscall(libc::SYS_kexec_load, entry, segments.len(), segments.as_ptr(), default_flags)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unloads the loaded kernel, however it was loaded; it is not an error if there is none.
pub(super) fn unload() -> io::Result<()> {
    match kexec_file_unload() {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => kexec_load_nothing(),
        unloaded => unloaded,
    }
}

fn kexec_file_unload() -> io::Result<()> {
    let no_file: libc::c_int = -1;
    let nothing: libc::c_ulong = 0;
    // SAFETY: with this flag the kernel reads neither descriptors nor the command line
    // (`kexec_file_load(2)`), so no memory of ours is touched.
    let status = unsafe {
        libc::syscall(libc::SYS_kexec_file_load, no_file, no_file, nothing, nothing, UNLOAD)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Unloads what is loaded, by loading no segments (`kexec_load(2)`).
fn kexec_load_nothing() -> io::Result<()> {
    let nothing: libc::c_ulong = 0;
    // SAFETY: with no segments the kernel reads no memory of ours.
    let status = unsafe { libc::syscall(libc::SYS_kexec_load, nothing, nothing, nothing, nothing) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `struct kexec_segment` of `linux/kexec.h`.
#[repr(C)]
struct Segment {
    buffer: *const u8,
    buffer_size: usize,
    place: u64,
    size: u64,
}

/// A file whose bytes are read when they are needed, and not into our own memory.
#[derive(Debug)]
pub(super) struct Mapped {
    start: NonNull<c_void>,
    length: NonZeroUsize,
}

impl Mapped {
    /// Maps a file that nobody shortens meanwhile: it belongs to root, and only root can open it.
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let length = usize::try_from(file.metadata()?.len()).ok().and_then(NonZeroUsize::new);
        let length = length.ok_or_else(|| io::Error::other("it is empty"))?;
        // SAFETY: a new private mapping at a place of the kernel's choice overlaps nothing.
        let start =
            unsafe { mmap(None, length, ProtFlags::PROT_READ, MapFlags::MAP_PRIVATE, file, 0) };
        Ok(Self { start: start?, length })
    }

    /// Returns the bytes of the file.
    pub(super) fn bytes(&self) -> &[u8] {
        let start = self.start.cast::<u8>().as_ptr();
        // SAFETY: the mapping is readable, as long as said, and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(start, self.length.get()) }
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no borrow of its bytes is left.
        let _cannot_matter = unsafe { munmap(self.start, self.length.get()) };
    }
}
