//! Links, addresses and routes, asked of the kernel by rtnetlink.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::Context;
use futures::TryStreamExt;
use initramfs::network::{Address, Link, Origin, Route};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
    RouteVia,
};
use rtnetlink::{Handle, RouteMessageBuilder};

/// The part of a network that the kernel knows.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Interfaces {
    pub(super) links: Vec<Link>,
    pub(super) routes: Vec<Route>,
    /// Links that are no hardware but have addresses.
    pub(super) others: Vec<String>,
}

/// What the kernel answered.
#[derive(Debug, Default)]
struct Answers {
    links: Vec<LinkMessage>,
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
}

pub(super) fn read(root: &Path) -> anyhow::Result<Interfaces> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answers = runtime.context("starting a runtime")?.block_on(ask());
    let answers = answers.context("asking the kernel for links, addresses and routes")?;
    let class = root.join("sys/class/net");
    Ok(interfaces(&answers, |name| class.join(name).join("device").exists()))
}

async fn ask() -> anyhow::Result<Answers> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let answers = Answers {
        links: handle.link().get().execute().try_collect().await?,
        addresses: handle.address().get().execute().try_collect().await?,
        routes: routes_of_both_families(&handle).await?,
    };
    connection.abort();
    Ok(answers)
}

async fn routes_of_both_families(handle: &Handle) -> anyhow::Result<Vec<RouteMessage>> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut routes: Vec<_> = handle.route().get(v4).execute().try_collect().await?;
    // A kernel without IPv6 answers with an error, which says that it has no such routes.
    if let Ok(more) = handle.route().get(v6).execute().try_collect::<Vec<_>>().await {
        routes.extend(more);
    }
    Ok(routes)
}

/// Puts together what belongs together; `is_hardware` tells physical links by their name.
fn interfaces(answers: &Answers, is_hardware: impl Fn(&str) -> bool) -> Interfaces {
    let mut interfaces = Interfaces::default();
    let mut names = BTreeMap::new();
    for message in &answers.links {
        let index = message.header.index;
        let addresses = addresses_of(&answers.addresses, index);
        let Some(link) = link(message, addresses) else { continue };
        if is_hardware(&link.name) {
            names.insert(index, link.name.clone());
            interfaces.links.push(link);
        } else if !link.addresses.is_empty() {
            interfaces.others.push(link.name);
        }
    }
    interfaces.routes =
        answers.routes.iter().filter_map(|message| route(message, &names)).collect();
    // A gateway can only be used once the route to itself is there.
    interfaces.routes.sort_by_key(|route| route.gateway.is_some());
    let direct = interfaces.routes.clone();
    for route in &mut interfaces.routes {
        // Of an address with a peer only the address is kept, and its gateway may be the peer.
        let link = interfaces.links.iter().find(|link| link.name == route.link);
        let addresses: &[Address] = link.map_or(&[], |link| &link.addresses);
        route.reach_gateway(addresses, &direct);
        if route.origin.is_static() {
            route.origin = brought_along(route, addresses);
        }
    }
    interfaces
}

/// Says where a route comes from that nobody signed: dhclient, the kernel's own client and others
/// add the default route and those to the link itself as anybody would.
fn brought_along(route: &Route, addresses: &[Address]) -> Origin {
    let same_family = |one: &&Address| one.address.is_ipv4() == route.destination.is_ipv4();
    let may_be_brought = route.prefix == 0 || route.gateway.is_none();
    (addresses.iter().filter(same_family).map(|address| address.origin))
        .find(|origin| may_be_brought && !origin.is_static())
        .unwrap_or_default()
}

fn link(message: &LinkMessage, addresses: Vec<Address>) -> Option<Link> {
    let (mut name, mut mac, mut permanent, mut mtu) = (None, None, None, 1500);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => mac = Some(bytes),
            LinkAttribute::PermAddress(bytes) => permanent = Some(bytes),
            LinkAttribute::Mtu(bytes) => mtu = *bytes,
            _ => {}
        }
    }
    // A new kernel sees the address that is burnt in, not one that was set since.
    let mac = permanent.or(mac).map(|bytes| mac_text(bytes)).unwrap_or_default();
    Some(Link { name: name?, mac, mtu, addresses, ..Link::default() })
}

fn mac_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn addresses_of(messages: &[AddressMessage], index: u32) -> Vec<Address> {
    messages.iter().filter(|message| message.header.index == index).filter_map(address).collect()
}

/// Reads an address of global scope; temporary ones of IPv6 are made anew by each system.
fn address(message: &AddressMessage) -> Option<Address> {
    let header = &message.header;
    // The bit means "secondary" for IPv4 and "temporary" for IPv6.
    let temporary = header.family == AddressFamily::Inet6
        && header.flags.contains(AddressHeaderFlags::Secondary);
    if header.scope != AddressScope::Universe || temporary {
        return None;
    }
    let (mut local, mut peer) = (None, None);
    let mut dynamic = !header.flags.contains(AddressHeaderFlags::Permanent);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => peer = Some(*address),
            AddressAttribute::CacheInfo(times) => dynamic = times.ifa_valid != u32::MAX,
            _ => {}
        }
    }
    let origin = match (dynamic, header.family) {
        (false, _) => Origin::Static,
        (true, AddressFamily::Inet6) => Origin::Ra,
        (true, _) => Origin::Dhcp,
    };
    Some(Address { origin, ..Address::fixed(local.or(peer)?, header.prefix_len) })
}

/// Reads a unicast route of the main table that the kernel did not make by itself.
///
/// Of several next hops the first is taken: one way out is enough for a deployment.
fn route(message: &RouteMessage, names: &BTreeMap<u32, String>) -> Option<Route> {
    let header = &message.header;
    let table = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    let wanted = table.unwrap_or(header.table.into()) == u32::from(RouteHeader::RT_TABLE_MAIN)
        && header.kind == RouteType::Unicast
        && !matches!(header.protocol, RouteProtocol::Kernel | RouteProtocol::IcmpRedirect);
    if !wanted {
        return None;
    }
    let first_hop = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.first(),
        _ => None,
    });
    match first_hop {
        Some(hop) => route_by(message, names, &hop.attributes, Some(hop.interface_index)),
        None => route_by(message, names, &[], None),
    }
}

/// Reads a route with the next hop that `hop` describes.
fn route_by(
    message: &RouteMessage,
    names: &BTreeMap<u32, String>,
    hop: &[RouteAttribute],
    mut link: Option<u32>,
) -> Option<Route> {
    let v6 = message.header.address_family == AddressFamily::Inet6;
    let any = if v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let mut route = Route {
        on_link: message.header.flags.contains(RouteFlags::Onlink),
        origin: match message.header.protocol {
            RouteProtocol::Dhcp => Origin::Dhcp,
            RouteProtocol::Ra => Origin::Ra,
            _ => Origin::Static,
        },
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
            _ => {}
        }
    }
    names.get(&link?)?.clone_into(&mut route.link);
    Some(route)
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

#[cfg(test)]
mod tests;
