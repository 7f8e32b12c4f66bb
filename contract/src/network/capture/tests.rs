//! Tests that capture a network from netlink messages.

use std::net::{IpAddr, Ipv4Addr};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{
    BondLacpRate, BondMode, BondXmitHashPolicy, InfoBond, InfoData, InfoKind, InfoVlan,
    LinkAttribute, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHop, RouteProtocol, RouteType,
    RouteVia,
};

use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::{Answers, LOST_DEFAULT, capture, put_together};
use crate::network::Origin;

fn link(index: u32, attributes: &[LinkAttribute]) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes.to_vec();
    message
}

fn name(name: &str) -> LinkAttribute {
    LinkAttribute::IfName(name.to_owned())
}

/// An address with its lifetime in seconds, forever if that is `u32::MAX`.
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
        ..Answers::default()
    }
}

fn routes() -> Vec<RouteMessage> {
    let eth0 = RouteAttribute::Oif(2);
    let mut on_link = route(None, 0, &[RouteAttribute::Gateway(v4("172.31.1.1")), eth0.clone()]);
    on_link.header.flags = RouteFlags::Onlink;
    on_link.header.protocol = RouteProtocol::Boot;
    let mut to_gateway = route(Some("172.31.1.1"), 32, std::slice::from_ref(&eth0));
    to_gateway.header.protocol = RouteProtocol::Boot;
    let mut by_hand = route(Some("10.5.0.0"), 16, std::slice::from_ref(&eth0));
    by_hand.header.protocol = RouteProtocol::Boot;
    let mut made_by_kernel = route(Some("10.0.0.0"), 24, std::slice::from_ref(&eth0));
    made_by_kernel.header.protocol = RouteProtocol::Kernel;
    let mut other_table = route(None, 0, &[RouteAttribute::Table(100), eth0.clone()]);
    other_table.header.protocol = RouteProtocol::Boot;
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
        to_gateway,
        by_hand,
        made_by_kernel,
        other_table,
        blackhole,
        route(Some("10.2.0.0"), 16, &details),
        route(Some("10.3.0.0"), 16, &[hops]),
        by_bridge,
    ]
}

/// Treats cards with these names as hardware.
fn device(name: &str) -> Option<String> {
    name.starts_with("eth").then(|| format!("pci0000:00/{name}"))
}

/// Formats what was captured, for people.
fn told(answers: &Answers) -> String {
    let captured = put_together(answers, device);
    let mut lines = captured.network.statements();
    lines.extend(captured.left_out.iter().map(|text| format!("left out: {text}")));
    lines.join("\n")
}

#[test]
fn hardware_is_kept_with_its_global_addresses_and_its_own_routes() {
    insta::assert_snapshot!(told(&answers()), @"
    link eth0: hardware
    link eth0: MAC address 52:54:00:12:34:56
    link eth0: MTU 1450
    link eth0: MAC address in use 02:00:00:00:00:09
    address 10.0.0.2/24 on eth0 by DHCP
    address 10.0.0.3/24 on eth0
    address 2001:db8::2/128 on eth0
    link eth1: hardware
    link eth1: MAC address 52:54:00:00:00:01
    link eth1: MTU 1500
    route 172.31.1.1/32 on eth0 by DHCP
    route 10.5.0.0/16 on eth0
    route 0.0.0.0/0 on eth0, table 100
    blackhole 10.1.0.0/16
    route 0.0.0.0/0 by 172.31.1.1 on eth0, gateway on the link by DHCP
    route 10.2.0.0/16 by fe80::1 on eth0, metric 100, from 10.0.0.2
    route 10.3.0.0/16 by 10.0.1.1 on eth1, gateway on the link
    left out: link br0
    left out: every next hop but the first of the route to 10.3.0.0/16
    ");
}

#[test]
fn what_a_dhcp_client_adds_is_told_from_what_was_configured() {
    let eth0 = [RouteAttribute::Gateway(v4("10.0.0.1")), RouteAttribute::Oif(2)];
    let origin = |protocol: RouteProtocol| {
        let mut added = route(None, 0, &eth0);
        added.header.protocol = protocol;
        let answers = Answers { routes: vec![added], ..answers() };
        put_together(&answers, device).network.routes.first().unwrap().origin
    };
    assert_eq!(origin(RouteProtocol::Boot), Origin::Dhcp);
    assert_eq!(origin(RouteProtocol::Dhcp), Origin::Dhcp);
    assert_eq!(origin(RouteProtocol::Static), Origin::Static);
}

#[test]
fn routes_that_would_be_others_are_left_out_and_told() {
    let mut throw = route(Some("10.7.0.0"), 16, &[]);
    throw.header.kind = RouteType::Throw;
    let mut from_a_prefix = route(None, 0, &[RouteAttribute::Oif(2)]);
    from_a_prefix.header.source_prefix_length = 24;
    let answers = Answers { routes: vec![throw, from_a_prefix], ..answers() };
    let captured = put_together(&answers, device);
    assert_eq!(captured.network.routes, []);
    let want =
        ["link br0", "the throw route to 10.7.0.0/16", "the route to 0.0.0.0/0 from a prefix"];
    assert_eq!(captured.left_out, want);
}

#[test]
fn a_way_out_that_cannot_be_had_again_is_told() {
    let by_bridge = route(None, 0, &[RouteAttribute::Oif(4)]);
    let in_a_table = route(None, 0, &[RouteAttribute::Table(7), RouteAttribute::Oif(4)]);
    let answers = Answers { routes: vec![by_bridge, in_a_table], ..answers() };
    let captured = put_together(&answers, device);
    let of_routes: Vec<_> =
        captured.left_out.iter().filter(|it| it.starts_with(LOST_DEFAULT)).collect();
    assert_eq!(of_routes, ["the default route over br0"]);
}

/// The kernel lists the address that was added last first, and prefers it as the source.
#[test]
fn addresses_are_in_the_order_in_which_they_were_added() {
    let told = ["192.0.2.1", "192.0.2.2", "2001:db8::2", "2001:db8::1"];
    let told = told.map(|text| address(2, text, 64, u32::MAX));
    let answers = Answers { addresses: told.into(), routes: Vec::new(), ..answers() };
    let captured = put_together(&answers, device).network;
    let all: Vec<_> =
        captured.links[0].addresses.iter().map(|one| one.address.to_string()).collect();
    assert_eq!(all, ["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"]);
}

/// This happens on Hyper-V: both have the same MAC address.
#[test]
fn a_card_that_is_a_part_of_another_one_is_no_card_of_its_own() {
    let mac = LinkAttribute::Address(vec![2, 0, 0, 0, 0, 9]);
    let links = vec![
        link(2, &[name("eth0"), mac.clone()]),
        link(3, &[name("eth1"), mac, LinkAttribute::Controller(2)]),
    ];
    let captured = put_together(&Answers { links, ..Answers::default() }, device).network;
    assert_eq!(captured.links.iter().map(|link| &link.name).collect::<Vec<_>>(), ["eth0"]);
}

#[test]
fn what_is_made_of_hardware_is_kept_in_the_order_of_making() {
    let kind =
        |kind, data| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]);
    let bond = InfoData::Bond(vec![
        InfoBond::Mode(BondMode::Ieee8023Ad),
        InfoBond::MiiMon(100),
        InfoBond::XmitHashPolicy(BondXmitHashPolicy::Layer34),
        InfoBond::AdLacpRate(BondLacpRate::Fast),
    ]);
    let mac = LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]);
    let permanent = |last| LinkAttribute::PermAddress(vec![2, 0, 0, 0, 0, last]);
    let vlan = InfoData::Vlan(vec![InfoVlan::Id(5)]);
    let bridge = || kind(InfoKind::Bridge, InfoData::Bridge(vec![]));
    let part_of = LinkAttribute::Controller;
    let answers = Answers {
        links: vec![
            link(
                2,
                &[name("bond0.5"), mac.clone(), LinkAttribute::Link(5), kind(InfoKind::Vlan, vlan)],
            ),
            link(3, &[name("eth1"), mac.clone(), permanent(2), part_of(5)]),
            link(4, &[name("eth0"), mac.clone(), permanent(1), part_of(5)]),
            link(5, &[name("bond0"), mac.clone(), kind(InfoKind::Bond, bond)]),
            link(6, &[name("docker0"), bridge()]),
            link(7, &[name("wg0")]),
            link(8, &[name("br0"), bridge()]),
            link(9, &[name("eth2"), mac, part_of(8)]),
        ],
        addresses: vec![
            address(2, "192.0.2.7", 24, u32::MAX),
            address(6, "172.17.0.1", 16, u32::MAX),
            address(7, "10.8.0.2", 24, u32::MAX),
        ],
        ..Answers::default()
    };
    insta::assert_snapshot!(told(&answers), @"
    link eth1: hardware
    link eth1: MAC address 02:00:00:00:00:02
    link eth1: MTU 1500
    link eth1: a part of bond0
    link eth0: hardware
    link eth0: MAC address 02:00:00:00:00:01
    link eth0: MTU 1500
    link eth0: a part of bond0
    link eth2: hardware
    link eth2: MAC address 02:00:00:00:00:01
    link eth2: MTU 1500
    link eth2: a part of br0
    link bond0: bond, mode 802.3ad, miimon 100 ms, delays 0 and 0 ms, by layer3+4, fast LACP
    link bond0: MAC address 02:00:00:00:00:01
    link bond0: MTU 1500
    link br0: bridge without spanning tree, forward delay 1500 cs
    link br0: MAC address 
    link br0: MTU 1500
    link bond0.5: VLAN 5 over bond0
    link bond0.5: MAC address 02:00:00:00:00:01
    link bond0.5: MTU 1500
    address 192.0.2.7/24 on bond0.5
    left out: link docker0
    left out: link wg0
    ");
}

#[test]
fn rules_and_neighbours_made_by_hand_are_kept() {
    let rule = |priority, attributes: &[RuleAttribute]| {
        let mut message = RuleMessage::default();
        message.header.family = AddressFamily::Inet;
        message.header.action = RuleAction::ToTable;
        message.attributes = attributes.to_vec();
        message.attributes.push(RuleAttribute::Priority(priority));
        message
    };
    let table = RuleAttribute::Table;
    let mut from = rule(100, &[table(1000), RuleAttribute::Source("192.0.2.7".parse().unwrap())]);
    from.header.src_len = 32;
    let mut neighbour = NeighbourMessage::default();
    neighbour.header.ifindex = 2;
    neighbour.header.state = NeighbourState::Permanent;
    neighbour.attributes = vec![
        NeighbourAttribute::Destination(NeighbourAddress::Inet("10.0.0.1".parse().unwrap())),
        NeighbourAttribute::LinkLayerAddress(vec![2, 0, 0, 0, 0, 0xff]),
    ];
    let mut learnt = neighbour.clone();
    learnt.header.state = NeighbourState::Reachable;
    let answers = Answers {
        rules: vec![
            rule(0, &[table(255)]),
            from,
            rule(200, &[table(7), RuleAttribute::FwMark(1), RuleAttribute::FwMask(0xff)]),
            rule(300, &[table(7), RuleAttribute::SuppressPrefixLen(0)]),
            rule(1000, &[table(0), RuleAttribute::L3MDev(true)]),
            rule(32766, &[table(254)]),
            rule(32767, &[table(253)]),
        ],
        neighbours: vec![neighbour, learnt],
        ..answers()
    };
    let lines = told(&answers);
    let of_interest =
        |line: &&str| ["rule", "neighbour", "left out: the"].iter().any(|word| line.contains(word));
    let lines: Vec<_> = lines.lines().filter(of_interest).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    IPv4 rule 100: from 192.0.2.7/32 by table 1000
    IPv4 rule 200: with mark 0x1/0xff by table 7
    neighbour 10.0.0.1 on eth0: 02:00:00:00:00:ff
    left out: the rule of priority 300
    ");
}

#[test]
fn the_kernel_of_this_machine_answers() {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let found = capture("/".as_ref()).unwrap().network;
    let all = found.links.iter().flat_map(|link| &link.addresses);
    assert!(all.clone().all(|one| one.address != loopback), "{found:?}");
    assert!(found.links.iter().all(|link| link.mac.len() == 17), "{found:?}");
}
