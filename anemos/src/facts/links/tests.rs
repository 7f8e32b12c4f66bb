//! Links, addresses and routes out of netlink messages.

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteProtocol, RouteType,
    RouteVia,
};

use super::{Answers, interfaces, read};

fn link(index: u32, attributes: &[LinkAttribute]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes.to_vec();
    message
}

fn name(name: &str) -> LinkAttribute {
    LinkAttribute::IfName(name.to_owned())
}

/// An address with its lifetime in seconds, for ever when it is the greatest.
fn address(index: u32, address: &str, prefix_len: u8, ifa_valid: u32) -> AddressMessage {
    let address: IpAddr = address.parse().unwrap();
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix_len;
    message.header.family =
        if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let mut times = CacheInfo::default();
    times.ifa_valid = ifa_valid;
    message.attributes =
        vec![AddressAttribute::Address(address), AddressAttribute::CacheInfo(times)];
    message
}

fn route(destination: Option<&str>, prefix: u8, attributes: &[RouteAttribute]) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = 254;
    message.header.kind = RouteType::Unicast;
    message.header.protocol = RouteProtocol::Static;
    message.header.destination_prefix_length = prefix;
    let destination = destination.map(|text| RouteAttribute::Destination(v4(text)));
    message.attributes = destination.into_iter().chain(attributes.iter().cloned()).collect();
    message
}

fn v4(text: &str) -> RouteAddress {
    RouteAddress::Inet(text.parse().unwrap())
}

fn answers() -> Answers {
    let eth0 = [
        name("eth0"),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]),
        LinkAttribute::PermAddress(vec![0x52, 0x54, 0, 0x12, 0x34, 0x56]),
        LinkAttribute::Mtu(1450),
    ];
    let eth1 = [name("eth1"), LinkAttribute::Address(vec![0x52, 0x54, 0, 0, 0, 1])];
    let mut link_local = address(2, "fe80::1", 64, u32::MAX);
    link_local.header.scope = AddressScope::Link;
    let mut temporary = address(2, "2001:db8::aaaa", 64, 600);
    temporary.header.flags = AddressHeaderFlags::Secondary;
    let mut secondary = address(2, "10.0.0.3", 24, u32::MAX);
    secondary.header.flags = AddressHeaderFlags::Secondary;
    Answers {
        links: vec![
            link(1, &[name("lo")]),
            link(2, &eth0),
            link(3, &eth1),
            link(4, &[name("br0")]),
        ],
        addresses: vec![
            address(2, "10.0.0.2", 24, 3600),
            secondary,
            address(2, "2001:db8::2", 128, u32::MAX),
            link_local,
            temporary,
            address(4, "10.9.9.9", 8, u32::MAX),
        ],
        routes: routes(),
    }
}

fn routes() -> Vec<RouteMessage> {
    let eth0 = RouteAttribute::Oif(2);
    let mut on_link = route(None, 0, &[RouteAttribute::Gateway(v4("172.31.1.1")), eth0.clone()]);
    on_link.header.flags = RouteFlags::Onlink;
    let mut made_by_kernel = route(Some("10.0.0.0"), 24, std::slice::from_ref(&eth0));
    made_by_kernel.header.protocol = RouteProtocol::Kernel;
    let other_table = route(None, 0, &[RouteAttribute::Table(100), eth0.clone()]);
    let mut blackhole = route(Some("10.1.0.0"), 16, &[]);
    blackhole.header.kind = RouteType::BlackHole;
    let details = [
        RouteAttribute::Priority(100),
        RouteAttribute::PrefSource(v4("10.0.0.2")),
        RouteAttribute::Via(RouteVia::Inet6("fe80::1".parse().unwrap())),
        eth0,
    ];
    let mut hop = RouteNextHop::default();
    hop.interface_index = 3;
    hop.attributes = vec![RouteAttribute::Gateway(v4("10.0.1.1"))];
    let hops = RouteAttribute::MultiPath(vec![hop.clone(), hop]);
    let by_bridge = route(Some("10.4.0.0"), 16, &[RouteAttribute::Oif(4)]);
    vec![
        on_link,
        route(Some("172.31.1.1"), 32, &[RouteAttribute::Oif(2)]),
        made_by_kernel,
        other_table,
        blackhole,
        route(Some("10.2.0.0"), 16, &details),
        route(Some("10.3.0.0"), 16, &[hops]),
        by_bridge,
    ]
}

#[test]
fn hardware_is_kept_with_its_global_addresses_and_its_own_routes() {
    let found = interfaces(&answers(), |name| name.starts_with("eth"));
    let mut told = Vec::new();
    for link in &found.links {
        told.push(format!("{} {} mtu {}", link.name, link.mac, link.mtu));
        for one in &link.addresses {
            told.push(format!("  {}/{} {:?}", one.address, one.prefix, one.origin));
        }
    }
    for route in &found.routes {
        let or = |value: Option<IpAddr>| value.map_or("-".to_owned(), |value| value.to_string());
        told.push(format!(
            "{}/{} by {} on {} on_link={} metric={:?} from {} {:?}",
            route.destination,
            route.prefix,
            or(route.gateway),
            route.link,
            route.on_link,
            route.metric,
            or(route.source),
            route.origin,
        ));
    }
    told.push(format!("others: {}", found.others.join(", ")));
    insta::assert_snapshot!(told.join("\n"), @r"
    eth0 52:54:00:12:34:56 mtu 1450
      10.0.0.2/24 Dhcp
      10.0.0.3/24 Static
      2001:db8::2/128 Static
    eth1 52:54:00:00:00:01 mtu 1500
    172.31.1.1/32 by - on eth0 on_link=false metric=None from - Dhcp
    0.0.0.0/0 by 172.31.1.1 on eth0 on_link=true metric=None from - Dhcp
    10.2.0.0/16 by fe80::1 on eth0 on_link=false metric=Some(100) from 10.0.0.2 Static
    10.3.0.0/16 by 10.0.1.1 on eth1 on_link=true metric=None from - Static
    others: br0
    ");
}

#[test]
fn the_kernel_of_this_machine_answers() {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let found = read("/".as_ref()).unwrap();
    let all = found.links.iter().flat_map(|link| &link.addresses);
    assert!(all.clone().all(|one| one.address != loopback), "{found:?}");
    assert!(found.links.iter().all(|link| link.mac.len() == 17), "{found:?}");
}
