//! The network of a machine as `ip` knows it: links, addresses, routes, resolvers.

pub mod files;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The network of the running system, or what is to be restored of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// Physical links, each with its addresses.
    pub links: Vec<Link>,
    /// Unicast routes of the main table that the kernel did not make by itself.
    pub routes: Vec<Route>,
    /// Name servers, best first; never a local stub.
    pub resolvers: Vec<IpAddr>,
    /// Search list of the resolver.
    #[serde(default)]
    pub search: Vec<String>,
}

/// A link; found again by its MAC address, because names may change.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Link {
    /// Name on the running system.
    pub name: String,
    /// MAC address, lower case with colons.
    pub mac: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Addresses of global scope.
    pub addresses: Vec<Address>,
}

/// An address with its prefix.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Address {
    /// The address.
    pub address: IpAddr,
    /// Length of its prefix in bits.
    pub prefix: u8,
    /// Whether it has a lifetime, so came by DHCP or a router advertisement.
    pub dynamic: bool,
}

/// A route of the main table.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// Name of its link on the running system.
    pub link: String,
    /// Destination; the unspecified address with prefix 0 is the default route of its family.
    pub destination: IpAddr,
    /// Length of the destination's prefix in bits.
    pub prefix: u8,
    /// Next hop; absent when the destination is on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Whether the gateway is on the link though no prefix says so.
    #[serde(default)]
    pub on_link: bool,
    /// Metric, where it is not the family's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
}

/// How the deploy environment gets its network.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum Restore {
    /// Exactly these links, addresses and routes.
    Static(Network),
    /// DHCP on the links named; on every physical link when none is.
    Dhcp {
        /// MAC addresses.
        macs: Vec<String>,
    },
    /// No network at all.
    #[default]
    None,
}
