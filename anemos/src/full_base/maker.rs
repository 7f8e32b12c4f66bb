//! The program that makes a root file system.

use std::process::Child;

use initramfs::base;

/// A program that prints a root file system as a tarball.
pub(super) struct Maker {
    pub(super) name: &'static str,
    pub(super) child: Child,
    pub(super) content: base::Content,
}
