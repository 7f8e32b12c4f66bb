//! The stages of a deployment with the console lines that announce them (a contract).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A step of PID 1, in the order of the variants.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Checks manifest and canary.
    VerifyInitramfs,
    /// Mounts the file systems that the deploy environment needs.
    Mount,
    /// Loads the modules of the deploy description, in its order.
    Modules,
    /// Waits for the selected disk and verifies its identity.
    Disks,
    /// Restores links, addresses, routes and resolvers.
    Network,
    /// Checks the digest of the payload.
    VerifyPayload,
    /// Unpacks the payload.
    Unpack,
    /// Runs `deploy`.
    Deploy,
    /// Writes back all data and unmounts.
    Settle,
    /// Reboots.
    Reboot,
}

impl Stage {
    /// Returns the word that stands for the stage on the console.
    pub fn name(self) -> &'static str {
        match self {
            Self::VerifyInitramfs => "verify-initramfs",
            Self::Mount => "mount",
            Self::Modules => "modules",
            Self::Disks => "disks",
            Self::Network => "network",
            Self::VerifyPayload => "verify-payload",
            Self::Unpack => "unpack",
            Self::Deploy => "deploy",
            Self::Settle => "settle",
            Self::Reboot => "reboot",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// How a deployment ended, as the last line on the console says it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The payload is on the disk.
    Deployed,
    /// Nothing was written; the old system boots again.
    Returned,
    /// The disk was written, and the deployment failed.
    Rescue,
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Deployed => "deployed",
            Self::Returned => "returned",
            Self::Rescue => "rescue",
        })
    }
}
