//! The commands, one per file.

pub(crate) mod base;
pub(crate) mod build;
pub(crate) mod conformance;
pub(crate) mod deploy;
pub(crate) mod facts;
pub(crate) mod fixture;
pub(crate) mod inspect;
pub(crate) mod makeimg;
pub(crate) mod pack;
pub(crate) mod plan;
pub(crate) mod reset;
pub(crate) mod retry;
pub(crate) mod serve_guest;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod write_network;
