//! The deploy description: everything that PID 1 must know about one deployment.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::attempt::{Mode, Place};
use crate::disk::DiskIdentity;
use crate::firmware::Firmware;
use crate::network::proof::Subject;
use crate::network::{Network, Restore};

/// The deploy description, which `anemos` writes into the final initramfs for PID 1.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Deploy {
    /// Version of the `anemos` that wrote it.
    pub version: String,
    /// Host name of the running system.
    pub hostname: String,
    /// Its machine-id(5); absent if it has none, or if the machine was not examined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Platform firmware; absent if the machine was not examined, so that PID 1 has to look.
    pub firmware: Option<Firmware>,
    /// Machine architecture, as in `uname -m`.
    pub arch: String,
    /// The console people look at, e.g. `ttyS0,115200`.
    ///
    /// Absent if the machine was not examined, so that PID 1 has to look.
    pub console: Option<String>,
    /// The selected disk.
    pub disk: DiskIdentity,
    /// Other disks that `deploy` may write to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also_write: Vec<DiskIdentity>,
    /// Ports on which the running system's sshd listens; empty if it was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_ports: Vec<u16>,
    /// What the deploy environment does about its network.
    pub restore: Restore,
    /// The network of the running system, for the new system.
    ///
    /// Absent if the machine was not examined; then the answers of DHCP count.
    pub network: Option<Network>,
    /// Whether the payload is useless without a network.
    #[serde(default = "yes")]
    pub needs_network: bool,
    /// Who answered in the running system, so must answer again.
    ///
    /// Absent if the machine was not examined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<Vec<Subject>>,
    /// Addresses of the server that provides the payload.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<SocketAddr>,
    /// Modules to load, in order: paths from the root of the initramfs.
    pub modules: Vec<String>,
    /// The payload.
    pub payload: PayloadMember,
    /// How far the attempt goes.
    #[serde(default, skip_serializing_if = "Mode::is_deployment")]
    pub mode: Mode,
    /// Whether a watchdog has been running since the jump, so must be fed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub watchdog: bool,
    /// When the attempt began, in seconds since 1970; absent if it is only built, not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<u64>,
    /// Where a report for the old system may be written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Place>,
    /// What happens to a machine if the deployment fails after its disk was written.
    #[serde(default)]
    pub after_commit: AfterCommit,
    /// Seconds that `deploy` may take.
    pub deploy_limit_secs: u64,
    /// Seconds since 1970 when this was written; the clock must not be earlier.
    pub written_at: u64,
}

fn yes() -> bool {
    true
}

/// What happens to a machine if the deployment fails after its disk was written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AfterCommit {
    /// It waits for people to log in.
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
    /// Bytes that it may take at most when unpacked.
    pub unpacked_limit: u64,
}
