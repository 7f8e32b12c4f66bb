//! Links with their addresses.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::prefix::covers;

/// A link.
///
/// Hardware is recognised by its MAC address, because names may change; links that are made of
/// others are created anew.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// Name on the running system.
    pub name: String,
    /// MAC address, lower case with colons: for hardware the permanent one, which a new kernel
    /// sees.
    pub mac: String,
    /// MAC address in use, if it is a different one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_mac: Option<String>,
    /// The device of a hardware link, below `/sys/devices`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// MTU in bytes.
    pub mtu: u32,
    /// What it is made of.
    #[serde(default, skip_serializing_if = "Kind::is_hardware")]
    pub kind: Kind,
    /// Name of the bond, bridge or VRF that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// Whether router advertisements are accepted, by the kernel or by a program.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub accepts_ra: bool,
    /// DHCP servers that offer another network than this one.
    ///
    /// This one works, so the new system must not listen to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejected_servers: Vec<Ipv4Addr>,
    /// Addresses of global scope.
    pub addresses: Vec<Address>,
}

/// What a link is made of (ip-link(8)).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Kind {
    /// A device of the machine.
    #[default]
    Hardware,
    /// The frames of another link with a certain tag.
    Vlan {
        /// Name of the other link.
        over: String,
        /// The tag.
        id: u16,
        /// Whether the tags are those of 802.1ad.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        service: bool,
    },
    /// Several links that act as one.
    Bond(Bond),
    /// A switch.
    Bridge {
        /// Whether the spanning tree protocol is spoken.
        stp: bool,
        /// Seconds that a port waits before it forwards, times a hundred.
        forward_delay: u32,
        /// Whether it distinguishes VLANs.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        vlan_filtering: bool,
    },
    /// A routing domain of its own.
    Vrf {
        /// Its routing table.
        table: u32,
    },
}

/// How a bond works (Linux, `networking/bonding.rst`); the numbers are the kernel's.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bond {
    /// `balance-rr`, `active-backup`, `802.3ad`, …
    pub mode: String,
    /// Milliseconds between two checks of the carriers.
    pub miimon: u32,
    /// Milliseconds that a carrier must be present for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub up_delay: u32,
    /// Milliseconds that a carrier must be absent for.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub down_delay: u32,
    /// `layer2`, `layer3+4`, …; only for modes that spread the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transmit_hash: Option<String>,
    /// Whether LACP partners are asked to send every second; only for 802.3ad.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lacp_fast: bool,
    /// Name of the preferred link; only for active-backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// An address with its prefix.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix: u8,
    /// The other end, if there is one; the prefix is then that of the other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Origin::is_static")]
    pub origin: Origin,
    /// Seconds that it is valid for; absent if that is forever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_secs: Option<u32>,
}

/// Where an address or a route comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The configuration of the system.
    #[default]
    Static,
    /// A DHCP server.
    Dhcp,
    /// A router advertisement.
    Ra,
}

impl Kind {
    /// Returns whether it is a device of the machine.
    pub fn is_hardware(&self) -> bool {
        *self == Self::Hardware
    }
}

impl Origin {
    /// Returns whether it needs no DHCP server or router to get it again.
    pub fn is_static(&self) -> bool {
        *self == Self::Static
    }
}

impl Address {
    /// Returns an address of the system's configuration.
    pub fn fixed(address: IpAddr, prefix: u8) -> Self {
        Self { address, prefix, peer: None, origin: Origin::Static, valid_secs: None }
    }

    /// Returns whether another address lies in the prefix of this one.
    pub fn covers(&self, other: IpAddr) -> bool {
        covers(self.peer.unwrap_or(self.address), self.prefix, other)
    }
}
