//! Machines in QEMU, driven and watched; scenarios, verdicts, evidence.

pub mod accelerator;
pub mod budget;
pub mod chain;
pub mod classify;
pub mod command;
pub mod console;
pub mod evidence;
pub mod fault;
pub mod firmware;
pub mod fixture;
pub mod guest;
pub mod image;
pub mod machine;
pub mod progress;
mod qmp;
mod recent;
pub mod rehearsal;
pub mod report;
pub mod residue;
pub mod scenario;
pub mod screen;
pub mod server;
pub mod size;
pub mod ssh;
pub mod topology;
pub mod verdict;
pub mod write_log;
