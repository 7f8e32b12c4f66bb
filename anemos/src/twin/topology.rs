//! Guesses the provider's network from the network of a machine.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use contract::network::{Kind, Link, Network, Origin, files};
use harness::topology::Topology;

/// The number of cards that a router can connect.
const MOST_CARDS: usize = 2;

/// Returns a router that provides what this network needs; none if nothing has an address.
pub(super) fn of(network: &Network) -> Option<Topology> {
    let cards: Vec<_> =
        network.links.iter().filter(|link| link.kind.is_hardware()).take(MOST_CARDS).collect();
    let addresses = outside_addresses(network);
    if cards.is_empty() || addresses.is_empty() {
        return None;
    }
    let provider = Provider { network, cards: &cards };
    Some(Topology {
        about: "The network of the original, as far as it tells of its provider.".to_owned(),
        addresses,
        cards: cards.len(),
        macs: cards.iter().map(|card| card.mac.clone()).collect(),
        router: provider.script(),
        later: None,
        machine: machine(network),
        name: "twin".to_owned(),
    })
}

/// Returns the addresses of the machine, beginning with those on a link with a default route.
fn outside_addresses(network: &Network) -> Vec<IpAddr> {
    let leads = |link: &&Link| {
        network.routes.iter().any(|route| route.is_default() && route.link == link.name)
    };
    let (first, others): (Vec<_>, Vec<_>) = network.links.iter().partition(leads);
    let all = first.into_iter().chain(others).flat_map(|link| &link.addresses);
    all.map(|address| address.address).collect()
}

/// The other side of a network.
struct Provider<'n> {
    network: &'n Network,
    cards: &'n [&'n Link],
}

impl Provider<'_> {
    fn script(&self) -> String {
        let mut script = String::new();
        let mut made = BTreeSet::new();
        for link in &self.network.links {
            if link.addresses.is_empty() {
                continue;
            }
            let segment = self.segment(link, &mut script, &mut made);
            self.serve(link, &segment, &mut script);
        }
        for resolver in &self.network.resolvers {
            let _infallible = writeln!(
                script,
                "ip address add {resolver} dev lo nodad 2>/dev/null || true\nresolve {resolver}"
            );
        }
        script
    }

    /// Returns the router's end of a link's parts, which the script creates.
    fn segment(&self, link: &Link, script: &mut String, made: &mut BTreeSet<String>) -> String {
        match &link.kind {
            Kind::Hardware => {
                let card = self.cards.iter().position(|card| card.name == link.name);
                format!("link{}", card.unwrap_or(0))
            }
            Kind::Vlan { over, id, .. } => {
                let below = self.link(over);
                let below = below.map(|below| self.segment(below, script, made));
                let below = below.unwrap_or_else(|| "link0".to_owned());
                let name = format!("{below}.{id}");
                if made.insert(name.clone()) {
                    let _infallible = writeln!(
                        script,
                        "ip link add link {below} name {name} up type vlan id {id}"
                    );
                }
                name
            }
            Kind::Bond(_) | Kind::Bridge { .. } | Kind::Vrf { .. } => {
                let parts: Vec<_> = self
                    .network
                    .links
                    .iter()
                    .filter(|part| part.master.as_ref() == Some(&link.name))
                    .collect();
                let ends: Vec<_> =
                    parts.iter().map(|part| self.segment(part, script, made)).collect();
                match ends.as_slice() {
                    [] => "link0".to_owned(),
                    [end] => end.clone(),
                    several => {
                        // One switch connects all of its ends.
                        let name = format!("trunk-{}", several.join("-"));
                        if made.insert(name.clone()) {
                            let _infallible = writeln!(script, "ip link add trunk up type bridge");
                            for end in several {
                                let _infallible =
                                    writeln!(script, "ip link set {end} master trunk");
                            }
                        }
                        "trunk".to_owned()
                    }
                }
            }
        }
    }

    fn link(&self, name: &str) -> Option<&Link> {
        self.network.links.iter().find(|link| link.name == name)
    }

    /// Makes the router the gateway of a link, and the server of its dynamic addresses.
    fn serve(&self, link: &Link, segment: &str, script: &mut String) {
        let routes = self.network.routes.iter().filter(|route| route.link == link.name);
        let gateways: BTreeSet<_> = routes.filter_map(|route| route.gateway).collect();
        for address in &link.addresses {
            let (own, prefix) = (address.address, address.prefix);
            let gateway = gateways.iter().find(|it| it.is_ipv4() == own.is_ipv4());
            match address.origin {
                Origin::Ra => {
                    let IpAddr::V6(own) = own else { continue };
                    let [one, two, three, four, ..] = own.segments();
                    let net = format!("{one:x}:{two:x}:{three:x}:{four:x}::");
                    let _infallible = writeln!(
                        script,
                        "ip address add {net}1/64 dev {segment} nodad\non {segment} --enable-ra \
                         --dhcp-range={net},ra-only,64,1h"
                    );
                }
                Origin::Dhcp if own.is_ipv4() => {
                    let server = gateway.copied().unwrap_or_else(|| neighbour_of(own));
                    let gateway = gateway.map(ToString::to_string).unwrap_or_default();
                    let resolver = self.network.resolvers.iter().find(|it| it.is_ipv4());
                    let resolver = resolver.map(ToString::to_string).unwrap_or_default();
                    let _infallible = writeln!(
                        script,
                        "ip address add {server}/{prefix} dev {segment}\ndhcp {segment} {own} \
                         '{gateway}' '{resolver}'"
                    );
                }
                Origin::Dhcp | Origin::Static => {
                    let width = if own.is_ipv4() { 32 } else { 128 };
                    let _infallible =
                        writeln!(script, "ip route replace {own}/{width} dev {segment}");
                }
            }
        }
        for gateway in gateways {
            let width = match gateway {
                IpAddr::V4(_) => 32,
                IpAddr::V6(six) if six.is_unicast_link_local() => 64,
                IpAddr::V6(_) => 128,
            };
            // An interface that gives out addresses has this one already.
            let _infallible = writeln!(
                script,
                "ip address add {gateway}/{width} dev {segment} nodad 2>/dev/null || true"
            );
        }
        let narrow = self.cards.iter().all(|card| card.mtu < 1500);
        if narrow && link.kind.is_hardware() {
            let _infallible = writeln!(script, "ip link set {segment} mtu {}", link.mtu);
        }
    }
}

/// Returns an address next to another one, for a server whose address is not known.
fn neighbour_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(four) => std::net::Ipv4Addr::from_bits(four.to_bits() ^ 1).into(),
        IpAddr::V6(six) => std::net::Ipv6Addr::from_bits(six.to_bits() ^ 1).into(),
    }
}

/// Writes the network for the old system, which configures it by systemd-networkd.
fn machine(network: &Network) -> String {
    let mut script = String::new();
    for (name, text) in files::for_networkd(network) {
        // Only matching cards with their names requires a reboot.
        if Path::new(&name).extension().is_some_and(|it| it == "link") {
            continue;
        }
        let _infallible = writeln!(script, "cat >{name} <<'END'\n{}\nEND", text.trim_end());
    }
    script
}
