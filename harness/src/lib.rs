//! Machines in QEMU, driven and watched; scenarios, verdicts, evidence.
