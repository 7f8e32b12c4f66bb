//! The network of a machine as `ip` knows it: links, addresses, routes, resolvers.

pub mod files;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// DHCP on the first link named that gets an answer; of all physical links when none is.
    Dhcp {
        /// MAC addresses.
        macs: Vec<String>,
    },
    /// No network at all.
    #[default]
    None,
}

impl Address {
    /// Whether another address lies in the prefix of this one.
    pub fn covers(&self, other: IpAddr) -> bool {
        covers(self.address, self.prefix, other)
    }
}

impl Route {
    /// The default route by `gateway` over a link with these addresses.
    pub fn default_over(link: &str, gateway: IpAddr, addresses: &[Address]) -> Self {
        let destination: IpAddr = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut route = Self {
            link: link.to_owned(),
            destination,
            prefix: 0,
            gateway: Some(gateway),
            on_link: false,
            metric: None,
            source: None,
        };
        route.reach_gateway(addresses, &[]);
        route
    }

    /// Says that the gateway is on the link where neither an address of the link nor a route to
    /// the link itself says so, as with a /32 address or a peer; the kernel refuses it otherwise.
    pub fn reach_gateway(&mut self, addresses: &[Address], routes: &[Route]) {
        let Some(gateway) = self.gateway else { return };
        let link_local = matches!(gateway, IpAddr::V6(six) if six.is_unicast_link_local());
        let by_route = |route: &Route| {
            route.gateway.is_none()
                && route.link == self.link
                && covers(route.destination, route.prefix, gateway)
        };
        let reached = link_local
            || addresses.iter().any(|address| address.covers(gateway))
            || routes.iter().any(by_route);
        self.on_link |= !reached;
    }
}

/// Whether an address lies in a prefix.
fn covers(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let (one, two, width) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(two)) => (one.to_bits().into(), two.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(two)) => (one.to_bits(), two.to_bits(), 128),
        _ => return false,
    };
    let differing: u128 = one ^ two;
    let host_bits = u32::from(width - prefix.min(width));
    differing.checked_shr(host_bits).unwrap_or_default() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_on_the_link_where_nothing_else_reaches_it() {
        for (address, prefix, route, gateway, want) in [
            ("192.0.2.10", 24, None, "192.0.2.1", false),
            ("198.51.100.7", 32, None, "172.31.1.1", true),
            ("198.51.100.7", 32, Some(("172.31.1.1", 32)), "172.31.1.1", false),
            ("192.0.2.10", 0, None, "10.0.0.1", false),
            ("2001:db8::7", 64, None, "2001:db8::1", false),
            ("2001:db8::7", 128, None, "2001:db8:ffff::1", true),
            ("2001:db8::7", 128, None, "fe80::1", false),
            ("192.0.2.10", 24, None, "2001:db8::1", true),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let addresses = [Address { address, prefix, dynamic: false }];
            let routes: Vec<_> = route
                .map(|(destination, prefix): (&str, u8)| Route {
                    destination: destination.parse().unwrap(),
                    prefix,
                    gateway: None,
                    on_link: false,
                    ..Route::default_over("ens3", "0.0.0.0".parse().unwrap(), &[])
                })
                .into_iter()
                .collect();
            let mut route = Route::default_over("ens3", gateway.parse().unwrap(), &addresses);
            route.on_link = false;
            route.reach_gateway(&addresses, &routes);
            assert_eq!(route.on_link, want, "{address}/{prefix} via {gateway}");
        }
    }
}
