//! Creates links, addresses, routes and rules as a network has them.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::{StreamExt, TryStreamExt};
use nix::poll::{PollTimeout, poll};
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::link::{
    BondLacpRate, BondMode, BondXmitHashPolicy, BridgeStpState, LinkAttribute, LinkMessage,
    VlanProtocol,
};
use rtnetlink::packet_route::neighbour::NeighbourState;
use rtnetlink::packet_route::route::{
    RouteAttribute, RouteMessage, RouteMetric, RouteScope, RouteType,
};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, LinkBond, LinkBridge, LinkUnspec, LinkVlan, LinkVrf, RouteMessageBuilder};

use crate::init::report::Report;
use contract::network::{Address, Bond, Kind, Link, Network, Route, RouteKind, Rule};

/// How long a link may take from up to a carrier, spanning tree included.
pub(super) const CARRIER_LIMIT: Duration = Duration::from_secs(30);

/// Creates everything in the order in which the kernel accepts it.
///
/// A default route must be accepted; anything else that is refused is reported and left out.
pub(super) async fn apply(
    report: &mut Report,
    handle: &Handle,
    network: &Network,
) -> anyhow::Result<()> {
    for link in network.links.iter().filter(|link| !link.kind.is_hardware()) {
        let made = make(handle, network, link).await;
        made.with_context(|| format!("making link {}", link.name))?;
    }
    for link in &network.links {
        if let Some(master) = &link.master {
            let joined = join(handle, &link.name, master).await;
            joined.with_context(|| format!("making {} a part of {master}", link.name))?;
        }
    }
    for link in &network.links {
        raise(report, handle, link).await?;
    }
    let deadline = Instant::now() + CARRIER_LIMIT;
    for link in network.links.iter().filter(|link| leads_out(network, link)) {
        wait_for_carrier(report, &link.name, deadline)?;
    }
    for link in &network.links {
        for address in &link.addresses {
            add_address(handle, &link.name, address).await?;
        }
        report.line(&format!("link {} has {}", link.name, summary(link)));
    }
    add_neighbours(report, handle, network).await;
    // Routes to the link itself come first, because gateways may be reachable only by them.
    let mut routes: Vec<_> = network.routes.iter().collect();
    routes.sort_by_key(|route| route.gateway.is_some());
    for route in routes {
        add_route(report, handle, route).await?;
    }
    for rule in &network.rules {
        if let Err(error) = add_rule(handle, rule).await {
            report.line(&format!("going on without the rule {}: {error:#}", rule.priority));
        }
    }
    Ok(())
}

/// Returns whether a default route leads over a link, or over one that is made of it.
pub(super) fn leads_out(network: &Network, link: &Link) -> bool {
    let leads = |route: &Route| route.prefix == 0 && route.link == link.name;
    let made = network.links.iter().filter(|other| {
        let is_over = matches!(&other.kind, Kind::Vlan { over, .. } if *over == link.name);
        is_over || link.master.as_ref() == Some(&other.name)
    });
    let mut made = made.filter(|other| other.name != link.name);
    network.routes.iter().any(leads) || made.any(|other| leads_out(network, other))
}

/// Summarises the addresses of a link for people.
pub(super) fn summary(link: &Link) -> String {
    let addresses: Vec<_> =
        link.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix)).collect();
    if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") }
}

/// Creates a virtual link with its MAC address, because switches may let no other one through.
async fn make(handle: &Handle, network: &Network, link: &Link) -> anyhow::Result<()> {
    let message = match &link.kind {
        Kind::Hardware => return Ok(()),
        Kind::Vlan { over, id, service } => {
            let below = index_of(handle, over).await?;
            let protocol =
                if *service { VlanProtocol::Ieee8021Ad } else { VlanProtocol::Ieee8021Q };
            let vlan = LinkVlan::new(&link.name, below, *id).protocol(protocol);
            // By default it has the address of the link below it.
            match network.links.iter().find(|other| other.name == *over) {
                Some(other) if other.mac != link.mac => vlan.address(mac(&link.mac)?).build(),
                _ => vlan.build(),
            }
        }
        Kind::Bond(bond) => make_bond(handle, link, bond).await?,
        Kind::Bridge { stp, forward_delay, vlan_filtering } => {
            let state = if *stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled };
            LinkBridge::new(&link.name)
                .stp_state(state)
                .forward_delay(*forward_delay)
                .vlan_filtering(*vlan_filtering)
                .address(mac(&link.mac)?)
                .build()
        }
        Kind::Vrf { table } => LinkVrf::new(&link.name, *table).build(),
    };
    handle.link().add(message).execute().await.context("asking the kernel")
}

async fn make_bond(handle: &Handle, link: &Link, bond: &Bond) -> anyhow::Result<LinkMessage> {
    let mode = named(&bond.mode, BondMode::from, 7).context("reading its mode")?;
    let mut message = LinkBond::new(&link.name).mode(mode).miimon(bond.miimon);
    // Without monitoring of the carriers the kernel accepts no delays.
    if bond.miimon > 0 {
        message = message.updelay(bond.up_delay).downdelay(bond.down_delay);
    }
    if let Some(hash) = &bond.transmit_hash {
        let policy = named(hash, BondXmitHashPolicy::from, 6).context("reading its hash")?;
        message = message.xmit_hash_policy(policy);
    }
    if mode == BondMode::Ieee8023Ad {
        let rate = if bond.lacp_fast { BondLacpRate::Fast } else { BondLacpRate::Slow };
        message = message.ad_lacp_rate(rate);
    }
    if let Some(primary) = &bond.primary {
        message = message.primary(index_of(handle, primary).await?);
    }
    Ok(message.address(mac(&link.mac)?).build())
}

/// Returns the value among the first `count` ones that has a name.
fn named<T: ToString>(name: &str, value: impl Fn(u8) -> T, count: u8) -> anyhow::Result<T> {
    let found = (0..count).map(value).find(|value| value.to_string() == name);
    found.with_context(|| format!("{name} is not known"))
}

fn mac(text: &str) -> anyhow::Result<Vec<u8>> {
    let bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<_, _>>().with_context(|| format!("reading the MAC address {text}"))
}

/// Makes a link, which is down, a part of another one.
async fn join(handle: &Handle, name: &str, master: &str) -> anyhow::Result<()> {
    let (index, master) = (index_of(handle, name).await?, index_of(handle, master).await?);
    let message = LinkUnspec::new_with_index(index).controller(master).build();
    Ok(handle.link().set(message).execute().await?)
}

/// Brings a link up as it was, without anything that the kernel hears or makes up itself.
async fn raise(report: &mut Report, handle: &Handle, link: &Link) -> anyhow::Result<()> {
    let name = &link.name;
    // The address was this machine's a moment ago, so nobody needs to be asked whether it is free.
    for key in ["accept_ra", "autoconf", "accept_dad"] {
        // A kernel without IPv6 has none of them.
        let _none = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{key}"), "0");
    }
    let index = index_of(handle, name).await?;
    if let Some(used) = &link.used_mac {
        let message = LinkUnspec::new_with_index(index).address(mac(used)?).build();
        if let Err(error) = handle.link().set(message).execute().await {
            report.line(&format!("link {name} keeps its own MAC address: {error}"));
        }
    }
    let up = LinkUnspec::new_with_index(index).mtu(link.mtu).up().build();
    handle.link().set(up).execute().await.with_context(|| format!("setting up link {name}"))
}

pub(super) async fn add_address(
    handle: &Handle,
    name: &str,
    address: &Address,
) -> anyhow::Result<()> {
    let index = index_of(handle, name).await?;
    let Address { address: local, prefix, peer, .. } = address;
    let mut request = handle.address().add(index, *local, *prefix).replace();
    if let Some(peer) = peer {
        use rtnetlink::packet_route::address::AddressAttribute;
        let attributes = &mut request.message_mut().attributes;
        attributes.retain(|one| !matches!(one, AddressAttribute::Address(_)));
        attributes.push(AddressAttribute::Address(*peer));
    }
    request.execute().await.with_context(|| format!("adding {local}/{prefix} to {name}"))
}

async fn add_neighbours(report: &mut Report, handle: &Handle, network: &Network) {
    for neighbour in &network.neighbours {
        let added = async {
            let index = index_of(handle, &neighbour.link).await?;
            let request = handle.neighbours().add(index, neighbour.address);
            let request = request.state(NeighbourState::Permanent).replace();
            let request = request.link_layer_address(&mac(&neighbour.mac)?);
            anyhow::Ok(request.execute().await?)
        };
        if let Err(error) = added.await {
            let address = neighbour.address;
            report.line(&format!("going on without the neighbour {address}: {error:#}"));
        }
    }
}

pub(super) async fn add_route(
    report: &mut Report,
    handle: &Handle,
    route: &Route,
) -> anyhow::Result<()> {
    let to = format!("{}/{}", route.destination, route.prefix);
    let added = async {
        let index = if route.link.is_empty() { 0 } else { index_of(handle, &route.link).await? };
        append(handle, message(index, route)?).await
    };
    match added.await {
        Err(error) if route.is_default() => {
            Err(error).with_context(|| format!("adding the route to {to}"))
        }
        Err(error) => {
            report.line(&format!("going on without the route to {to}: {error:#}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Adds a route, even next to others with the same destination.
///
/// Two routers may advertise themselves, and replacing would leave only one of them. A route that
/// already exists is not an error.
async fn append(handle: &Handle, route: RouteMessage) -> anyhow::Result<()> {
    let mut request = NetlinkMessage::from(RouteNetlinkMessage::NewRoute(route));
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND;
    let mut answers = handle.clone().request(request)?;
    while let Some(answer) = answers.next().await {
        match answer.payload {
            NetlinkPayload::Error(error) if error.raw_code() == -nix::libc::EEXIST => {}
            NetlinkPayload::Error(error) if error.raw_code() != 0 => {
                return Err(error.to_io().into());
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the netlink message for a route over the link with this index.
pub(super) fn message(index: u32, route: &Route) -> anyhow::Result<RouteMessage> {
    let mut message = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(route.destination, route.prefix)
        .context("reading the destination")?
        .table_id(route.table);
    message = match route.kind {
        RouteKind::Unicast => message.output_interface(index),
        RouteKind::Blackhole => message.kind(RouteType::BlackHole),
        RouteKind::Unreachable => message.kind(RouteType::Unreachable),
        RouteKind::Prohibit => message.kind(RouteType::Prohibit),
    };
    if route.on_link {
        message = message.onlink();
    }
    if let Some(metric) = route.metric {
        message = message.priority(metric);
    }
    if let Some(source) = route.source {
        message = message.pref_source(source).context("reading the source address")?;
    }
    if route.gateway.is_none() && route.kind.is_unicast() {
        message = message.scope(RouteScope::Link);
    }
    match route.gateway {
        Some(IpAddr::V6(gateway)) if route.destination.is_ipv4() => {
            let via = RouteAttribute::Via(rtnetlink::packet_route::route::RouteVia::Inet6(gateway));
            message.get_mut().attributes.push(via);
        }
        Some(gateway) => message = message.gateway(gateway).context("reading the gateway")?,
        None => {}
    }
    let mut message = message.build();
    if let Some(mtu) = route.mtu {
        message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    Ok(message)
}

async fn add_rule(handle: &Handle, rule: &Rule) -> anyhow::Result<()> {
    let mut request = handle.rule().add().action(RuleAction::ToTable).table_id(rule.table);
    request = request.priority(rule.priority);
    let message = request.message_mut();
    message.header.family = if rule.v6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    if rule.inverted {
        message.header.flags |= RuleFlags::Invert;
    }
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix;
        message.attributes.push(RuleAttribute::Source(from.address));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix;
        message.attributes.push(RuleAttribute::Destination(to.address));
    }
    message.attributes.extend(rule.incoming.clone().map(RuleAttribute::Iifname));
    message.attributes.extend(rule.outgoing.clone().map(RuleAttribute::Oifname));
    if let Some((mark, mask)) = rule.mark {
        message.attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    Ok(request.execute().await?)
}

/// Waits until the link has a carrier, which takes network cards of servers seconds.
///
/// A link that stays without one is only reported: if it was needed, its users find out.
pub(super) fn wait_for_carrier(
    report: &mut Report,
    name: &str,
    deadline: Instant,
) -> anyhow::Result<()> {
    while !has_carrier(name) {
        if Instant::now() >= deadline {
            report.line(&format!("link {name} has no carrier"));
            break;
        }
        // sysfs has no event for it, so this is the pause between two looks.
        poll(&mut [], PollTimeout::from(100_u8)).context("waiting for the carrier")?;
    }
    Ok(())
}

/// Returns whether a link that is up has a carrier; one that does not know may have one.
pub(super) fn has_carrier(name: &str) -> bool {
    let carrier = fs::read_to_string(format!("/sys/class/net/{name}/carrier"));
    !carrier.is_ok_and(|text| text.trim() != "1")
}

pub(super) async fn set_up(handle: &Handle, name: &str) -> anyhow::Result<()> {
    let index = index_of(handle, name).await?;
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await.with_context(|| format!("setting up link {name}"))
}

/// Takes a link down, so that it loses its routes and its IPv6 addresses.
pub(super) async fn set_down(handle: &Handle, name: &str) -> anyhow::Result<()> {
    let index = index_of(handle, name).await?;
    let down = LinkUnspec::new_with_index(index).down().build();
    handle.link().set(down).execute().await.with_context(|| format!("setting down link {name}"))
}

/// Sets the MTU of a link; reports one that its driver refuses.
pub(super) async fn set_mtu(
    report: &mut Report,
    handle: &Handle,
    link: &Link,
) -> anyhow::Result<()> {
    let index = index_of(handle, &link.name).await?;
    let message = LinkUnspec::new_with_index(index).mtu(link.mtu).build();
    if let Err(error) = handle.link().set(message).execute().await {
        report.line(&format!("link {} does not take an MTU of {}: {error}", link.name, link.mtu));
    }
    Ok(())
}

pub(super) async fn index_of(handle: &Handle, name: &str) -> anyhow::Result<u32> {
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.context("listing links")? {
        if link.attributes.contains(&LinkAttribute::IfName(name.to_owned())) {
            return Ok(link.header.index);
        }
    }
    bail!("link {name} is not there")
}
