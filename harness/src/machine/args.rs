//! The arguments of QEMU for a machine.
