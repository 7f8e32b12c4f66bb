//! What a plan is made of.

use std::net::SocketAddr;

use contract::network::proof::Answer;
use contract::payload::Description;
use serde::Serialize;

use super::memory::Sizes;
use crate::config::Config;
use crate::contents::DriverMissing;
use crate::facts::{Facts, KernelImage, Modules};

/// All that a plan is made of.
#[derive(Debug)]
pub(crate) struct Inputs<'i> {
    pub(crate) facts: &'i Facts,
    pub(crate) config: &'i Config,
    pub(crate) purpose: Purpose,
    /// The payload, with the file name that the user gave.
    pub(crate) payload: Option<(&'i str, &'i Description)>,
    /// The kernel that the configuration asks for, where there is one.
    pub(crate) image: Option<KernelImage>,
    /// Its modules, where they are.
    pub(crate) modules: Option<Modules>,
    /// Sizes of the final initramfs, once its contents are known.
    pub(crate) sizes: Option<Sizes>,
    /// Modules that PID 1 loads, in order: paths from the root of the initramfs.
    pub(crate) load: Vec<String>,
    /// Drivers on the way to disks and links that are not collected.
    pub(crate) drivers_missing: Vec<DriverMissing>,
    /// Authorised keys that go along; lines that are none do not count.
    pub(crate) authorized_keys: KeyCount,
    /// Who answered in the running system, where it was asked.
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
    /// Those of them that let nobody in but for a command, or not any more.
    pub(crate) without_shell: usize,
}

/// What the plan is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Taking this machine over.
    Deploy,
    /// Writing a final initramfs, for this machine or another one.
    Build,
}
