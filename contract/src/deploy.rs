//! The deploy description: everything that PID 1 must know about one deployment.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::attempt::{Mode, Place};
use crate::disk::DiskIdentity;
use crate::firmware::Firmware;
use crate::network::proof::Subject;
use crate::network::{Network, Restore};

/// Written by `anemos` into the final initramfs, read by PID 1.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deploy {
    /// Version of the `anemos` that wrote it.
    pub version: String,
    /// Host name of the running system.
    pub hostname: String,
    /// Its machine-id(5); absent when it has none, or when the machine was not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Platform firmware; absent when the machine was not looked at, and PID 1 has to.
    pub firmware: Option<Firmware>,
    /// Machine architecture, as in `uname -m`.
    pub arch: String,
    /// The console people look at, e.g. `ttyS0,115200`; absent when the machine was not looked
    /// at, and PID 1 has to.
    pub console: Option<String>,
    /// The selected disk.
    pub disk: DiskIdentity,
    /// Other disks that `deploy` may write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_write: Vec<DiskIdentity>,
    /// Ports that the running system's sshd listens at; empty when it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_ports: Vec<u16>,
    /// What the deploy environment does about its network.
    pub restore: Restore,
    /// The network of the running system, for the new system; absent when the machine was not
    /// looked at, and what DHCP says holds.
    pub network: Option<Network>,
    /// Whether the payload is of no use without a network.
    #[serde(default = "yes")]
    pub needs_network: bool,
    /// Who answered in the running system, and so must answer again; absent when the machine was
    /// not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Vec<Subject>>,
    /// Addresses of the server that the payload comes from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<SocketAddr>,
    /// Modules to load, in order: paths from the root of the initramfs.
    pub modules: Vec<String>,
    /// The payload.
    pub payload: PayloadMember,
    /// How far it goes.
    #[serde(default, skip_serializing_if = "Mode::is_deployment")]
    pub mode: Mode,
    /// Whether a watchdog runs since the jump, and must be fed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watchdog: bool,
    /// When the attempt began, in seconds since 1970; absent in what is only built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<u64>,
    /// Where a report for the old system may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Place>,
    /// What becomes of a machine whose disk was written when the deployment fails.
    #[serde(default)]
    pub after_commit: AfterCommit,
    /// Seconds that `deploy` may take.
    pub deploy_limit_secs: u64,
    /// Seconds since 1970 at the moment of writing; the clock must not be earlier.
    pub written_at: u64,
}

fn yes() -> bool {
    true
}

/// What becomes of a machine whose disk was written when the deployment fails.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterCommit {
    /// It waits for people, who can log in.
    #[default]
    Rescue,
    /// It boots whatever is on the disk.
    Reboot,
    /// It is switched off.
    PowerOff,
}

/// The payload as it lies in the initramfs.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PayloadMember {
    /// File name that the user gave, for messages.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 in lower-case hexadecimal digits.
    pub sha256: String,
    /// Bytes that unpacking it may use at most.
    pub unpacked_limit: u64,
}
