//! What is written about each link, the same for all formats; no text is made here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::{Address, Kind, Link, Neighbour, Network, Origin, Route, RouteKind, Rule};

/// A link with everything that is configured along with it.
///
/// What came by DHCP or by router advertisements is requested again, so only that fact is here.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// The link itself.
    pub(super) link: &'a Link,
    /// MAC address to set on it.
    pub(super) mac: Option<&'a str>,
    /// MTU to set on it.
    pub(super) mtu: Option<u32>,
    /// What it is a part of.
    pub(super) master: Option<&'a Link>,
    /// What is a part of it.
    pub(super) members: Vec<&'a Link>,
    /// VLANs over it.
    pub(super) vlans: Vec<&'a Link>,
    /// Whether an IPv4 address is requested by DHCP.
    pub(super) dhcp4: bool,
    /// Whether an IPv6 address is requested by DHCP.
    pub(super) dhcp6: bool,
    /// Whether router advertisements are accepted.
    pub(super) ra: bool,
    /// Second half of the addresses that are formed from advertised prefixes.
    ///
    /// Absent if it follows from the MAC address.
    pub(super) token: Option<Ipv6Addr>,
    /// Metric of the default route that comes by DHCP.
    pub(super) dhcp4_metric: Option<u32>,
    /// Static addresses.
    pub(super) addresses: Vec<&'a Address>,
    /// Static routes, with those to the link itself first, because gateways may need them.
    pub(super) routes: Vec<&'a Route>,
    /// Rules.
    pub(super) rules: Vec<&'a Rule>,
    /// Neighbours.
    pub(super) neighbours: Vec<&'a Neighbour>,
    /// Name servers that are not learned by DHCP.
    pub(super) resolvers: &'a [IpAddr],
    /// Their search list.
    pub(super) search: &'a [String],
}

impl Entry<'_> {
    /// Describes advertised addresses with other second halves, which no format can express.
    pub(super) fn other_tokens(&self) -> impl Iterator<Item = String> {
        let others = tokens(self.link).filter(|token| Some(*token) != self.token);
        others.map(|token| format!("second half {token} of an address of {}", self.link.name))
    }

    /// Returns what is left out by a format that cannot ignore single DHCP servers.
    pub(super) fn rejections(&self) -> impl Iterator<Item = String> {
        let servers = self.link.rejected_servers.iter();
        servers.map(|server| format!("rejection of the DHCP server {server} on {}", self.link.name))
    }
}

/// Returns an entry for each link, in the order of the network.
pub(super) fn entries(network: &Network) -> Vec<Entry<'_>> {
    let resolving = resolving_link(network);
    network.links.iter().map(|link| entry(network, link, resolving == Some(link))).collect()
}

/// Returns the entries in an order in which links can be created one after the other.
///
/// VRFs come before their members, bonds and bridges after them, VLANs after the link below them.
pub(super) fn in_order(network: &Network) -> Vec<Entry<'_>> {
    let mut left = entries(network);
    let mut done: Vec<Entry<'_>> = Vec::new();
    while !left.is_empty() {
        let is_done = |name: &str| done.iter().any(|entry| entry.link.name == name);
        let is_ready = |entry: &Entry<'_>| {
            let over = match &entry.link.kind {
                Kind::Vlan { over, .. } => is_done(over),
                Kind::Bond(_) | Kind::Bridge { .. } => {
                    entry.members.iter().all(|member| is_done(&member.name))
                }
                Kind::Hardware | Kind::Vrf { .. } => true,
            };
            let in_vrf = entry.master.is_none_or(|master| {
                !matches!(master.kind, Kind::Vrf { .. }) || is_done(&master.name)
            });
            over && in_vrf
        };
        // An entry that waits for itself, or for a link that is not there, comes last, as it
        // stands.
        let next = left.iter().position(is_ready).unwrap_or(0);
        done.push(left.remove(next));
    }
    done
}

fn entry<'a>(network: &'a Network, link: &'a Link, resolving: bool) -> Entry<'a> {
    let asks = |v4: bool| {
        let by_dhcp = |one: &Address| one.origin == Origin::Dhcp && one.address.is_ipv4() == v4;
        link.addresses.iter().any(by_dhcp)
    };
    let routes = || network.routes.iter().filter(|route| route.link == link.name);
    let advertised = link.addresses.iter().any(|one| one.origin == Origin::Ra)
        || routes().any(|route| route.origin == Origin::Ra);
    let here = |route: &&Route| {
        let home = || home(network, route.table).is_some_and(|home| home == link);
        route.origin.is_static() && (route.link == link.name || route.link.is_empty() && home())
    };
    let mut written: Vec<_> = network.routes.iter().filter(here).collect();
    written.sort_by_key(|route| route.gateway.is_some());
    let over = |other: &&Link| matches!(&other.kind, Kind::Vlan { over, .. } if *over == link.name);
    let leased = routes().find(|route| route.origin == Origin::Dhcp && route.prefix == 0);
    let (resolvers, search): (&[_], &[_]) =
        if resolving { (&network.resolvers, &network.search) } else { (&[], &[]) };
    Entry {
        link,
        mac: mac(network, link),
        mtu: (!matches!(link.kind, Kind::Vrf { .. })).then_some(link.mtu),
        master: find(network, link.master.as_deref()),
        members: (network.links.iter())
            .filter(|other| other.master.as_ref() == Some(&link.name))
            .collect(),
        vlans: network.links.iter().filter(over).collect(),
        dhcp4: asks(true),
        dhcp6: asks(false),
        ra: link.accepts_ra || advertised,
        token: tokens(link).next(),
        dhcp4_metric: leased.and_then(|route| route.metric),
        addresses: link.addresses.iter().filter(|one| one.origin.is_static()).collect(),
        routes: written,
        rules: (network.rules.iter())
            .filter(|rule| home(network, rule.table).is_some_and(|home| home == link))
            .collect(),
        neighbours: network.neighbours.iter().filter(|one| one.link == link.name).collect(),
        resolvers,
        search,
    }
}

fn find<'a>(network: &'a Network, name: Option<&str>) -> Option<&'a Link> {
    name.and_then(|name| network.links.iter().find(|link| link.name == name))
}

/// Returns the MAC address that a link does not have by itself.
///
/// The one of a virtual link has to be named, because systemd makes up others (`MACAddressPolicy=`,
/// systemd.link(5)), and providers let only known ones pass.
fn mac<'a>(network: &'a Network, link: &'a Link) -> Option<&'a str> {
    let used = |link: &'a Link| link.used_mac.as_deref().unwrap_or(&link.mac);
    let given = match &link.kind {
        // A bond passes its own on to its members.
        Kind::Hardware => {
            let master = find(network, link.master.as_deref());
            let bonded = master.is_some_and(|master| matches!(master.kind, Kind::Bond(_)));
            link.used_mac.as_deref().filter(|_| !bonded)
        }
        Kind::Vlan { over, .. } => {
            let parent = find(network, Some(over));
            Some(used(link)).filter(|mac| parent.is_none_or(|parent| used(parent) != *mac))
        }
        Kind::Bond(_) | Kind::Bridge { .. } => Some(used(link)),
        Kind::Vrf { .. } => None,
    };
    given.filter(|mac| !mac.is_empty())
}

/// Returns the link that an item of a table belongs to if the item names no link.
///
/// It is one with a route in that table, or else the first one with an address.
fn home(network: &Network, table: u32) -> Option<&Link> {
    let in_table = network.routes.iter().find_map(|route| {
        (route.table == table).then(|| find(network, Some(&route.link))).flatten()
    });
    in_table
        .or_else(|| network.links.iter().find(|link| !link.addresses.is_empty()))
        .or(network.links.first())
}

/// Returns the link that the name servers belong to.
///
/// It is the link of the default route, unless DHCP provides name servers along with it and may do
/// so.
fn resolving_link(network: &Network) -> Option<&Link> {
    let asks = |link: &Link| {
        !network.fixed_resolvers && link.addresses.iter().any(|one| one.origin == Origin::Dhcp)
    };
    let leads_out = |link: &Link| {
        network.routes.iter().any(|route| route.is_default() && route.link == link.name)
    };
    let link = (network.links.iter().find(|link| leads_out(link) && !asks(link)))
        .or_else(|| network.links.iter().find(|link| !link.addresses.is_empty()));
    link.filter(|link| !asks(link))
}

/// Returns second halves of advertised addresses that do not follow from the MAC address.
///
/// What follows from it is in RFC 4291, appendix A. The old system made the others up, by RFC 7217
/// for example, and a new system makes up different ones.
fn tokens(link: &Link) -> impl Iterator<Item = Ipv6Addr> {
    let own = eui64(link.used_mac.as_ref().unwrap_or(&link.mac));
    let advertised =
        link.addresses.iter().filter(|one| one.origin == Origin::Ra && one.prefix == 64);
    advertised.filter_map(move |one| match one.address {
        IpAddr::V6(six) => {
            let half = six.to_bits() & u128::from(u64::MAX);
            (Some(half) != own).then_some(Ipv6Addr::from_bits(half))
        }
        IpAddr::V4(_) => None,
    })
}

/// Returns the second half that follows from a MAC address.
fn eui64(mac: &str) -> Option<u128> {
    let bytes: Result<Vec<u8>, _> = mac.split(':').map(|it| u8::from_str_radix(it, 16)).collect();
    let bytes = bytes.ok()?;
    let (maker, card) = bytes.split_at_checked(3)?;
    let half: [u8; 8] = [maker, &[0xff, 0xfe], card].concat().try_into().ok()?;
    // The bit for "universally administered" is inverted.
    Some((u64::from_be_bytes(half) ^ (2 << 56)).into())
}

/// Describes a route whose gateway is of the other family, for formats that cannot express it.
pub(super) fn crossing_words(route: &Route) -> String {
    let (to, table) = (route.to(), route.table);
    format!("route to {to} of table {table}, by a gateway of the other family")
}

impl Entry<'_> {
    /// Returns routes that replace peers of addresses in formats without peers.
    pub(super) fn routes_to_peers(&self) -> Vec<Route> {
        let to_peer = |one: &&Address| {
            let peer = first(one.peer?, one.prefix);
            Some(Route::over(&self.link.name, peer, one.prefix))
        };
        self.addresses.iter().filter_map(to_peer).collect()
    }
}

/// Returns the first address of the prefix that an address is in.
fn first(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(four) => {
            let mask = u32::MAX.checked_shl(32 - prefix.min(32)).unwrap_or_default();
            Ipv4Addr::from_bits(four.to_bits() & mask).into()
        }
        IpAddr::V6(six) => {
            let mask = u128::MAX.checked_shl(128 - prefix.min(128)).unwrap_or_default();
            Ipv6Addr::from_bits(six.to_bits() & mask).into()
        }
    }
}

impl Address {
    /// Returns the length of the prefix that belongs to the address itself.
    ///
    /// The prefix of an address with a peer is the peer's.
    pub(super) fn own_prefix(&self) -> u8 {
        match (self.peer, self.address) {
            (None, _) => self.prefix,
            (Some(_), IpAddr::V4(_)) => 32,
            (Some(_), IpAddr::V6(_)) => 128,
        }
    }
}

impl Route {
    /// Returns whether the gateway is of another family than the destination.
    pub(super) fn crosses_families(&self) -> bool {
        self.gateway.is_some_and(|gateway| gateway.is_ipv4() != self.destination.is_ipv4())
    }

    /// Returns the destination with the length of its prefix.
    pub(super) fn to(&self) -> String {
        format!("{}/{}", self.destination, self.prefix)
    }

    /// Returns the kind as ip-route(8) writes it.
    pub(super) fn kind_word(&self) -> &'static str {
        match self.kind {
            RouteKind::Unicast => "unicast",
            RouteKind::Blackhole => "blackhole",
            RouteKind::Unreachable => "unreachable",
            RouteKind::Prohibit => "prohibit",
        }
    }
}
