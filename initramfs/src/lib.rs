//! What `anemos` and PID 1 of the deploy environment agree on, and PID 1 itself.

pub mod archive;
pub mod attempt;
pub mod base;
pub mod deploy;
pub mod disk;
pub mod firmware;
pub mod init;
pub mod listing;
pub mod manifest;
pub mod mount_table;
pub mod network;
pub mod paths;
pub mod payload;
pub mod stages;
