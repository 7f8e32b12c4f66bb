//! The network of a machine as `ip` knows it: links, addresses, routes, rules, resolvers.

pub mod capture;
mod compare;
pub mod files;
mod link;
mod prefix;
pub mod proof;
mod route;

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use self::compare::Difference;
pub use self::link::{Address, Bond, Kind, Link, Origin};
pub use self::prefix::Prefix;
pub use self::route::{MAIN_TABLE, Neighbour, Route, RouteKind, Rule};

/// The network of the running system, or what is to be restored of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// Links, each with its addresses, in an order in which they can be made: hardware, then bonds,
    /// bridges and VRFs, then VLANs, each after the link that it is over.
    pub links: Vec<Link>,
    /// Routes of all tables that the kernel did not make by itself.
    pub routes: Vec<Route>,
    /// Rules beside those that every system has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Neighbours whose MAC addresses were given by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// Name servers, best first; never a local stub.
    pub resolvers: Vec<IpAddr>,
    /// Search list of the resolver.
    #[serde(default)]
    pub search: Vec<String>,
    /// Whether the name servers are these, whatever DHCP servers say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_resolvers: bool,
}

impl Network {
    /// The same network without links that are of no use: those without addresses on them, on what
    /// they are a part of, on their own parts, or on what is over them.
    #[must_use]
    pub fn in_use(&self) -> Self {
        let mut used: BTreeSet<&str> = BTreeSet::new();
        // What comes later may be made of what comes earlier, and the other way round.
        for _ in &self.links {
            for link in &self.links {
                let name = link.name.as_str();
                let part = link.master.as_ref().is_some_and(|one| used.contains(one.as_str()));
                let below = self.links.iter().any(|other| {
                    let is_over = matches!(&other.kind, Kind::Vlan { over, .. } if over == name);
                    is_over && used.contains(other.name.as_str())
                });
                let has_part = self.links.iter().any(|other| {
                    other.master.as_deref() == Some(name) && used.contains(other.name.as_str())
                });
                if !link.addresses.is_empty() || part || below || has_part {
                    used.insert(name);
                }
            }
        }
        let links = self.links.iter().filter(|link| used.contains(link.name.as_str()));
        Self { links: links.cloned().collect(), ..self.clone() }
    }
}

/// How the deploy environment gets its network.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "mode")]
pub enum Restore {
    /// Exactly these links, addresses and routes.
    Static(Network),
    /// DHCP on the first link named that gets an answer; of all physical links when none is.
    Dhcp {
        /// MAC addresses.
        macs: Vec<String>,
    },
    /// No network at all.
    #[default]
    None,
}
