//! Routes, rules and neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::link::{Address, Origin};
use super::prefix::{Prefix, covers};

/// The table that is consulted last (ip-route(8)).
pub const MAIN_TABLE: u32 = 254;

/// A route that the kernel did not add by itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Route {
    /// Name of its link on the running system; empty where packets go nowhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub link: String,
    /// What happens to packets.
    #[serde(default, skip_serializing_if = "RouteKind::is_unicast")]
    pub kind: RouteKind,
    /// Destination; the unspecified address with prefix 0 is the default route of its family.
    pub destination: IpAddr,
    /// Length of the destination's prefix in bits.
    pub prefix: u8,
    /// Next hop, possibly of the other family; absent when the destination is on the link itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// Whether the gateway is on the link although no prefix says so.
    #[serde(default)]
    pub on_link: bool,
    /// Metric, if it is not the family's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<u32>,
    /// Preferred source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Its table.
    #[serde(default = "main_table", skip_serializing_if = "is_main_table")]
    pub table: u32,
    /// MTU of the path in bytes, if it is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Origin::is_static")]
    pub origin: Origin,
}

/// What happens to packets (ip-route(8)).
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RouteKind {
    /// They are forwarded.
    #[default]
    Unicast,
    /// They are dropped.
    Blackhole,
    /// They are dropped, and the sender learns that there is no route.
    Unreachable,
    /// They are dropped, and the sender learns that this is prohibited.
    Prohibit,
}

/// A rule that says which packets are routed by which table (ip-rule(8)).
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Whether it is an IPv6 rule.
    pub v6: bool,
    /// The lower it is, the earlier the rule applies.
    pub priority: u32,
    /// The table.
    pub table: u32,
    /// Sources that it applies to; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Prefix>,
    /// Destinations that it applies to; all if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Prefix>,
    /// Name of the link that packets arrive on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incoming: Option<String>,
    /// Name of the link that packets leave by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<String>,
    /// Firewall mark of the packets, with its mask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<(u32, u32)>,
    /// Whether it applies to all other packets instead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inverted: bool,
}

/// A neighbour whose MAC address was set by hand (ip-neighbour(8)).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Neighbour {
    /// Name of the link that it is on.
    pub link: String,
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address.
    pub mac: String,
}

fn main_table() -> u32 {
    MAIN_TABLE
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_main_table(table: &u32) -> bool {
    *table == MAIN_TABLE
}

impl RouteKind {
    /// Returns whether packets are forwarded.
    pub fn is_unicast(&self) -> bool {
        *self == Self::Unicast
    }
}

impl Route {
    /// Returns a route of the main table over a link, without a gateway.
    pub fn over(link: &str, destination: IpAddr, prefix: u8) -> Self {
        Self {
            link: link.to_owned(),
            kind: RouteKind::Unicast,
            destination,
            prefix,
            gateway: None,
            on_link: false,
            metric: None,
            source: None,
            table: MAIN_TABLE,
            mtu: None,
            origin: Origin::Static,
        }
    }

    /// Returns the default route via `gateway` over a link with these addresses.
    pub fn default_over(link: &str, gateway: IpAddr, addresses: &[Address]) -> Self {
        let destination: IpAddr = match gateway {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let mut route = Self { gateway: Some(gateway), ..Self::over(link, destination, 0) };
        route.reach_gateway(addresses, &[]);
        route
    }

    /// Returns whether it is the default route of the main table, for packets to be forwarded.
    pub fn is_default(&self) -> bool {
        self.prefix == 0 && self.table == MAIN_TABLE && self.kind.is_unicast()
    }

    /// Sets `on_link` if no address of the link and no route to the link itself covers the gateway.
    ///
    /// That is so with a /32 address or a peer, and the kernel refuses such a route otherwise.
    pub fn reach_gateway(&mut self, addresses: &[Address], routes: &[Self]) {
        let Some(gateway) = self.gateway else { return };
        let link_local = matches!(gateway, IpAddr::V6(six) if six.is_unicast_link_local());
        let by_route = |route: &Self| {
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
            let addresses = [Address::fixed(address.parse().unwrap(), prefix)];
            let routes: Vec<_> = route
                .map(|(destination, prefix): (&str, u8)| {
                    Route::over("ens3", destination.parse().unwrap(), prefix)
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
