//! The ways into the deploy environment; so far kexec.

pub(crate) mod kexec;
