//! Machines in QEMU, driven and watched; scenarios, verdicts, evidence.

pub mod accelerator;
pub mod budget;
pub mod command;
pub mod guest;
pub mod image;
pub mod machine;
pub mod screen;
