//! The initramfs of the deploy environment: its archives, the content of the base, and PID 1.

pub mod archive;
pub mod base;
pub mod init;
pub mod listing;
pub mod manifest;
