//! Describes networks as statements, so that two of them can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};

use super::{Address, Bond, Kind, Link, Network, Origin, Route, RouteKind, Rule};

/// A statement that is true of only one of two networks.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Difference {
    /// It is true of the first one.
    Missing(String),
    /// It is true of the second one.
    Added(String),
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(statement) => write!(f, "missing: {statement}"),
            Self::Added(statement) => write!(f, "added: {statement}"),
        }
    }
}

impl Network {
    /// Returns all statements about this network, a line for each field.
    ///
    /// Two networks with the same lines are the same.
    pub fn statements(&self) -> Vec<String> {
        let mut all = Vec::new();
        for link in &self.links {
            all.extend(of_link(link));
        }
        all.extend(self.routes.iter().map(of_route));
        all.extend(self.rules.iter().map(of_rule));
        for neighbour in &self.neighbours {
            let (address, link) = (neighbour.address, &neighbour.link);
            all.push(format!("neighbour {address} on {link}: {}", neighbour.mac));
        }
        let resolvers = self.resolvers.iter().enumerate();
        all.extend(
            resolvers.map(|(number, address)| format!("resolver {}: {address}", number + 1)),
        );
        if !self.search.is_empty() {
            all.push(format!("search list: {}", self.search.join(" ")));
        }
        all
    }

    /// Returns the differences from another network.
    ///
    /// Links are the same if their hardware is, whatever their names.
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let one: BTreeSet<_> = self.statements().into_iter().collect();
        let two: BTreeSet<_> = other.named_as(self).statements().into_iter().collect();
        let missing = one.difference(&two).cloned().map(Difference::Missing);
        missing.chain(two.difference(&one).cloned().map(Difference::Added)).collect()
    }

    /// Returns the same network as if everything in it were static.
    #[must_use]
    pub fn as_if_static(&self) -> Self {
        let mut network = self.clone();
        for link in &mut network.links {
            link.accepts_ra = false;
            for address in &mut link.addresses {
                (address.origin, address.valid_secs) = (Origin::Static, None);
            }
        }
        for route in &mut network.routes {
            route.origin = Origin::Static;
        }
        network
    }

    /// Returns the same network with the names that links with the same hardware have in `other`.
    #[must_use]
    pub fn named_as(&self, other: &Self) -> Self {
        let mut names = BTreeMap::new();
        for link in self.links.iter().filter(|link| link.kind.is_hardware()) {
            if let Some(same) = other.hardware(&link.mac) {
                names.insert(link.name.clone(), same.name.clone());
            }
        }
        self.renamed(&names)
    }

    /// Returns the same network with other link names.
    #[must_use]
    pub fn renamed(&self, names: &BTreeMap<String, String>) -> Self {
        let new = |name: &mut String| {
            if let Some(other) = names.get(name) {
                name.clone_from(other);
            }
        };
        let mut network = self.clone();
        for link in &mut network.links {
            new(&mut link.name);
            link.master.as_mut().map(new);
            match &mut link.kind {
                Kind::Vlan { over, .. } => new(over),
                Kind::Bond(bond) => {
                    bond.primary.as_mut().map(new);
                }
                Kind::Hardware | Kind::Bridge { .. } | Kind::Vrf { .. } => {}
            }
        }
        network.routes.iter_mut().for_each(|route| new(&mut route.link));
        network.neighbours.iter_mut().for_each(|neighbour| new(&mut neighbour.link));
        for rule in &mut network.rules {
            rule.incoming.as_mut().map(new);
            rule.outgoing.as_mut().map(new);
        }
        network
    }

    /// Returns the hardware link with a MAC address.
    pub fn hardware(&self, mac: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.kind.is_hardware() && link.mac == mac)
    }
}

fn of_link(link: &Link) -> Vec<String> {
    let name = &link.name;
    let mut all = vec![
        format!("link {name}: {}", link.kind),
        format!("link {name}: MAC address {}", link.mac),
        format!("link {name}: MTU {}", link.mtu),
    ];
    all.extend(link.used_mac.iter().map(|mac| format!("link {name}: MAC address in use {mac}")));
    all.extend(link.master.iter().map(|master| format!("link {name}: a part of {master}")));
    if link.accepts_ra {
        all.push(format!("link {name}: accepts router advertisements"));
    }
    all.extend(link.addresses.iter().map(|address| of_address(name, address)));
    all
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Hardware => write!(f, "hardware"),
            Self::Vlan { over, id, service } => {
                let protocol = if *service { " (802.1ad)" } else { "" };
                write!(f, "VLAN {id}{protocol} over {over}")
            }
            Self::Bond(bond) => {
                let Bond { mode, miimon, up_delay, down_delay, .. } = bond;
                write!(f, "bond, mode {mode}, miimon {miimon} ms")?;
                write!(f, ", delays {up_delay} and {down_delay} ms")?;
                let lacp = if bond.lacp_fast { ", fast LACP" } else { "" };
                let hash = said(", by ", bond.transmit_hash.as_ref());
                write!(f, "{hash}{lacp}{}", said(", preferring ", bond.primary.as_ref()))
            }
            Self::Bridge { stp, forward_delay, vlan_filtering } => {
                let stp = if *stp { "with" } else { "without" };
                let filtering = if *vlan_filtering { ", telling VLANs apart" } else { "" };
                write!(f, "bridge {stp} spanning tree, forward delay {forward_delay} cs{filtering}")
            }
            Self::Vrf { table } => write!(f, "VRF of table {table}"),
        }
    }
}

fn of_address(link: &str, one: &Address) -> String {
    let origin = of_origin(one.origin);
    format!("address {}/{} on {link}{}{origin}", one.address, one.prefix, said(" to ", one.peer))
}

fn of_origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Static => "",
        Origin::Dhcp => " by DHCP",
        Origin::Ra => " by router advertisement",
    }
}

fn of_route(route: &Route) -> String {
    let kind = match route.kind {
        RouteKind::Unicast => "route",
        RouteKind::Blackhole => "blackhole",
        RouteKind::Unreachable => "unreachable route",
        RouteKind::Prohibit => "prohibited route",
    };
    let mut text = format!("{kind} {}/{}", route.destination, route.prefix);
    text += &said(" by ", route.gateway);
    if !route.link.is_empty() {
        text += " on ";
        text += &route.link;
    }
    text += if route.on_link { ", gateway on the link" } else { "" };
    text += &said(", metric ", route.metric);
    text += &said(", from ", route.source);
    text += &said(", MTU ", route.mtu);
    if route.table != super::MAIN_TABLE {
        text += ", table ";
        text += &route.table.to_string();
    }
    text + of_origin(route.origin)
}

fn of_rule(rule: &Rule) -> String {
    let family = if rule.v6 { "IPv6" } else { "IPv4" };
    let mut text = format!("{family} rule {}:", rule.priority);
    text += if rule.inverted { " not" } else { "" };
    for (word, prefix) in [("from", rule.from), ("to", rule.to)] {
        text += &said(
            &format!(" {word} "),
            prefix.map(|one| format!("{}/{}", one.address, one.prefix)),
        );
    }
    text += &said(" coming by ", rule.incoming.as_ref());
    text += &said(" bound to ", rule.outgoing.as_ref());
    text += &said(" with mark ", rule.mark.map(|(mark, mask)| format!("{mark:#x}/{mask:#x}")));
    text + &format!(" by table {}", rule.table)
}

/// Formats a detail, if there is one.
fn said(before: &str, detail: Option<impl Display>) -> String {
    detail.map_or_else(String::new, |detail| format!("{before}{detail}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(name: &str, mtu: u32) -> Network {
        let link = Link {
            name: name.to_owned(),
            mac: "52:54:00:00:00:01".to_owned(),
            mtu,
            addresses: vec![Address::fixed("192.0.2.7".parse().unwrap(), 24)],
            ..Link::default()
        };
        let addresses = link.addresses.clone();
        let gateway = "192.0.2.1".parse().unwrap();
        Network {
            links: vec![link],
            routes: vec![Route::default_over(name, gateway, &addresses)],
            ..Network::default()
        }
    }

    #[test]
    fn a_domain_is_in_use_where_a_part_of_it_is() {
        let mut network = network("ens3", 1500);
        let domain =
            Link { name: "red".to_owned(), kind: Kind::Vrf { table: 10 }, ..Link::default() };
        network.links[0].addresses = vec![Address::fixed([192, 0, 2, 7].into(), 24)];
        network.links[0].master = Some(domain.name.clone());
        network.links.push(domain);
        network.links.push(Link { name: "ens9".to_owned(), ..Link::default() });
        let used = network.in_use();
        assert_eq!(used.links.iter().map(|it| &it.name).collect::<Vec<_>>(), ["ens3", "red"]);
    }

    #[test]
    fn a_link_of_another_name_is_the_same_where_its_hardware_is() {
        assert_eq!(network("ens3", 1500).differences(&network("eth0", 1500)), []);
    }

    #[test]
    fn every_difference_is_told_in_both_directions() {
        let mut other = network("eth0", 1400);
        other.routes.clear();
        other.search.push("example.org".to_owned());
        let told: Vec<_> =
            network("ens3", 1500).differences(&other).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        missing: link ens3: MTU 1500
        missing: route 0.0.0.0/0 by 192.0.2.1 on ens3
        added: link ens3: MTU 1400
        added: search list: example.org
        ");
    }
}
