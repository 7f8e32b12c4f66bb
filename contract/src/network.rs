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

/// The network of the running system, or the part of it to be restored.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Network {
    /// Links, each with its addresses, in an order in which they can be created.
    ///
    /// Hardware comes first, then bonds, bridges and VRFs, then VLANs, each after the link below
    /// it.
    pub links: Vec<Link>,
    /// Routes of all tables that the kernel did not add by itself.
    pub routes: Vec<Route>,
    /// Rules other than those that every system has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// Neighbours whose MAC addresses were set by hand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// Name servers, best first; never a local stub.
    pub resolvers: Vec<IpAddr>,
    /// Search list of the resolver.
    #[serde(default)]
    pub search: Vec<String>,
    /// Whether these name servers are used whatever DHCP servers say.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fixed_resolvers: bool,
}

impl Network {
    /// Returns the same network without links that are of no use.
    ///
    /// A link is of use if it has addresses, or if the link that it is a part of, one of its own
    /// parts, or a VLAN over it is of use.
    #[must_use]
    pub fn in_use(&self) -> Self {
        let mut used: BTreeSet<&str> = BTreeSet::new();
        // A later link may be made of an earlier one, and the other way round.
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
    /// DHCP on the first of these links that gets an answer; on all physical links if none is
    /// named.
    Dhcp {
        /// MAC addresses.
        macs: Vec<String>,
    },
    /// No network at all.
    #[default]
    None,
}
