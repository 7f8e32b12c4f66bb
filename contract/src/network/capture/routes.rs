//! Reads routes from netlink messages.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteType,
    RouteVia,
};

use super::LOST_DEFAULT;
use crate::network::{Address, Kind, Link, MAIN_TABLE, Origin, Route, RouteKind};

/// The table of a system's own addresses (ip-route(8)).
const LOCAL_TABLE: u8 = 255;

/// Reads routes over these links, or to nowhere, in an order in which they can be added.
pub(super) fn read(
    messages: &[RouteMessage],
    names: &BTreeMap<u32, String>,
    links: &[Link],
    left_out: &mut Vec<String>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    for message in messages {
        let mut read = route(message, names, left_out);
        if let Some(route) = &mut read
            && message.header.protocol == RouteProtocol::Boot
        {
            route.origin = brought_along(route, links);
        }
        routes.extend(read);
    }
    // A gateway can only be used once there is a route to it.
    routes.sort_by_key(|route| route.gateway.is_some());
    let direct = routes.clone();
    for route in &mut routes {
        // The prefix of an address with a peer is the peer's, and the peer may be the gateway.
        let link = links.iter().find(|link| link.name == route.link);
        let addresses: &[Address] = link.map_or(&[], |link| &link.addresses);
        route.reach_gateway(addresses, &direct);
    }
    routes
}

/// Describes the main table's default routes over links that cannot be recreated.
pub(super) fn lost_defaults(
    messages: &[RouteMessage],
    kept: &BTreeMap<u32, String>,
    all: &BTreeMap<u32, String>,
) -> Vec<String> {
    let lost = |message: &&RouteMessage| {
        let header = &message.header;
        let named = message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(*table),
            _ => None,
        });
        header.destination_prefix_length == 0
            && named.unwrap_or(header.table.into()) == MAIN_TABLE
            && header.kind == RouteType::Unicast
    };
    let over = |message: &RouteMessage| {
        message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
    };
    let links = messages.iter().filter(lost).filter_map(over);
    let names = links.filter(|index| !kept.contains_key(index)).filter_map(|it| all.get(&it));
    names.map(|name| format!("{LOST_DEFAULT}{name}")).collect()
}

/// Infers where a route comes from that nobody signed.
///
/// dhclient, the kernel's own client and others add the default route and the one to its gateway as
/// anybody would, not in a table of their own.
fn brought_along(route: &Route, links: &[Link]) -> Origin {
    let Some(link) = links.iter().find(|link| link.name == route.link) else {
        return Origin::Static;
    };
    let domain = links.iter().find(|other| link.master.as_ref() == Some(&other.name));
    let table = match domain.map(|domain| &domain.kind) {
        Some(Kind::Vrf { table }) => *table,
        _ => MAIN_TABLE,
    };
    let to_one = route.prefix == if route.destination.is_ipv4() { 32 } else { 128 };
    let may_be_brought = route.prefix == 0 || (to_one && route.gateway.is_none());
    let same_family = |one: &&Address| one.address.is_ipv4() == route.destination.is_ipv4();
    (link.addresses.iter().filter(same_family).map(|address| address.origin))
        .find(|origin| may_be_brought && route.table == table && !origin.is_static())
        .unwrap_or_default()
}

/// Reads a route that the kernel did not add by itself.
///
/// Of several next hops it takes the first: one way out is enough for a deployment.
fn route(
    message: &RouteMessage,
    names: &BTreeMap<u32, String>,
    left_out: &mut Vec<String>,
) -> Option<Route> {
    let header = &message.header;
    let by_itself = matches!(header.protocol, RouteProtocol::Kernel | RouteProtocol::IcmpRedirect)
        || header.flags.contains(RouteFlags::Cloned)
        || header.table == LOCAL_TABLE;
    if by_itself {
        return None;
    }
    let to = destination(message);
    let kind = match header.kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw | RouteType::Local => {
            let word = if header.kind == RouteType::Throw { "throw" } else { "local" };
            left_out.push(format!("the {word} route to {to}"));
            return None;
        }
        _ => return None,
    };
    // Without its source prefix it would be another route.
    if header.source_prefix_length > 0 {
        left_out.push(format!("the route to {to} from a prefix"));
        return None;
    }
    let hops = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => Some(hops.as_slice()),
        _ => None,
    });
    let first = hops.unwrap_or_default().first();
    let attributes = first.map_or(&[][..], |hop| &hop.attributes);
    let route = route_by(message, kind, names, attributes, first.map(|hop| hop.interface_index))?;
    if hops.is_some_and(|hops| hops.len() > 1) {
        left_out.push(format!("every next hop but the first of the route to {to}"));
    }
    Some(route)
}

/// Describes the prefix that a route leads to.
fn destination(message: &RouteMessage) -> String {
    let named = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(address) => ip(address),
        _ => None,
    });
    let any: IpAddr = match message.header.address_family {
        AddressFamily::Inet6 => Ipv6Addr::UNSPECIFIED.into(),
        _ => Ipv4Addr::UNSPECIFIED.into(),
    };
    format!("{}/{}", named.unwrap_or(any), message.header.destination_prefix_length)
}

/// Reads a route with the next hop that `hop` describes.
fn route_by(
    message: &RouteMessage,
    kind: RouteKind,
    names: &BTreeMap<u32, String>,
    hop: &[RouteAttribute],
    mut link: Option<u32>,
) -> Option<Route> {
    let v6 = message.header.address_family == AddressFamily::Inet6;
    let any = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut route = Route {
        kind,
        on_link: message.header.flags.contains(RouteFlags::Onlink),
        table: message.header.table.into(),
        origin: origin(message.header.protocol),
        ..Route::over("", any, message.header.destination_prefix_length)
    };
    for attribute in message.attributes.iter().chain(hop) {
        match attribute {
            RouteAttribute::Destination(address) => route.destination = ip(address)?,
            RouteAttribute::Gateway(address) => route.gateway = ip(address),
            RouteAttribute::Via(RouteVia::Inet6(address)) => {
                route.gateway = Some((*address).into());
            }
            RouteAttribute::PrefSource(address) => route.source = ip(address),
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::Priority(metric) => route.metric = unusual(*metric, v6),
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    if kind.is_unicast() {
        names.get(&link?)?.clone_into(&mut route.link);
    }
    Some(route)
}

fn origin(protocol: RouteProtocol) -> Origin {
    match protocol {
        RouteProtocol::Ra => Origin::Ra,
        RouteProtocol::Dhcp => Origin::Dhcp,
        _ => Origin::Static,
    }
}

fn unusual(metric: u32, v6: bool) -> Option<u32> {
    let usual = if v6 { 1024 } else { 0 };
    (metric != usual).then_some(metric)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}
