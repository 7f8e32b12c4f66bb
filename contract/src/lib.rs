//! What the running system, the deploy environment and payloads agree on.

pub mod attempt;
pub mod boot_entry;
pub mod deploy;
pub mod disk;
pub mod environment;
pub mod firmware;
pub mod memory;
pub mod mount_table;
pub mod network;
pub mod paths;
pub mod payload;
pub mod quote;
pub mod stages;
