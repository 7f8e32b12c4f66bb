//! The inputs of a plan.

use std::net::SocketAddr;

use contract::network::proof::Answer;
use contract::payload::Description;
use serde::Serialize;

use super::memory::Sizes;
use crate::config::Config;
use crate::contents::DriverMissing;
use crate::facts::{Facts, KernelImage, Modules};

/// All inputs of a plan.
#[derive(Debug)]
pub(crate) struct Inputs<'i> {
    pub(crate) facts: &'i Facts,
    pub(crate) config: &'i Config,
    pub(crate) purpose: Purpose,
    /// The payload, with the file name that the user gave.
    pub(crate) payload: Option<(&'i str, &'i Description)>,
    /// The kernel that the configuration asks for, if there is one.
    pub(crate) image: Option<KernelImage>,
    /// Its modules, if they exist.
    pub(crate) modules: Option<Modules>,
    /// Sizes of the final initramfs, once its contents are known.
    pub(crate) sizes: Option<Sizes>,
    /// Modules that PID 1 loads, in order: paths from the root of the initramfs.
    pub(crate) load: Vec<String>,
    /// Drivers on the way to disks and links that are not collected.
    pub(crate) drivers_missing: Vec<DriverMissing>,
    /// The number of authorised keys that are taken along, without invalid lines.
    pub(crate) authorized_keys: KeyCount,
    /// Who answered in the running system, if that was tested.
    pub(crate) answers: Option<&'i [Answer]>,
    /// Addresses of the server that the payload comes from.
    pub(crate) origins: &'i [SocketAddr],
    /// Seconds since 1970; the same for the same payload, so that builds can be compared.
    pub(crate) written_at: u64,
}

/// How many authorised keys there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyCount {
    pub(crate) all: usize,
    /// How many of them only let people in for a command, or have expired.
    pub(crate) without_shell: usize,
}

/// The purpose of a plan.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Take this machine over.
    Deploy,
    /// Write a final initramfs, for this machine or another one.
    Build,
}
