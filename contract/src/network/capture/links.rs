//! Reads links with their addresses from netlink messages.

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
};
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BondLacpRate, BondMode, BondXmitHashPolicy, BridgeStpState,
    InfoBond, InfoBridge, InfoData, InfoVlan, InfoVrf, LinkAttribute, LinkInfo, LinkMessage,
    VlanProtocol,
};

use crate::network::{Address, Bond, Kind, Link, Origin};

/// The links of a network.
pub(super) struct Links {
    /// In an order in which they can be created.
    pub(super) all: Vec<Link>,
    /// Their names by their indices.
    pub(super) names: BTreeMap<u32, String>,
    /// Links with addresses that cannot be recreated.
    pub(super) left_out: Vec<String>,
}

/// Reads hardware links, and links that are made of them.
///
/// A bridge for containers, a tunnel or a dummy does not lead to hardware: it is of no use to a
/// deployment, and whatever creates it is responsible for it in the new system.
pub(super) fn read(
    messages: &[LinkMessage],
    addresses: &[AddressMessage],
    device: impl Fn(&str) -> Option<String>,
) -> Links {
    let all = names(messages);
    let mut links = Vec::new();
    for message in messages {
        let Some(mut link) = link(message, &all, &device) else { continue };
        link.addresses = addresses_of(addresses, message.header.index);
        link.accepts_ra |= link.addresses.iter().any(|address| address.origin == Origin::Ra);
        links.push((message.header.index, link));
    }
    let kinds: BTreeMap<String, Kind> =
        links.iter().map(|(_, link)| (link.name.clone(), link.kind.clone())).collect();
    let master_of = |link: &Link| link.master.as_ref().and_then(|master| kinds.get(master));
    // On Hyper-V a card is part of another one with the same MAC address, which the kernel
    // arranges.
    links.retain(|(_, link)| !master_of(link).is_some_and(Kind::is_hardware));
    for (_, link) in &mut links {
        match master_of(link) {
            // It passes its own on to its members.
            Some(Kind::Bond(_)) => link.used_mac = None,
            Some(Kind::Bridge { .. } | Kind::Vrf { .. }) => {}
            Some(Kind::Hardware | Kind::Vlan { .. }) | None => link.master = None,
        }
    }
    let kept = leading_to_hardware(&links);
    let (mut links, others): (Vec<_>, Vec<_>) =
        links.into_iter().partition(|(_, link)| kept.contains(&link.name));
    let names = links.iter().map(|(index, link)| (*index, link.name.clone())).collect();
    links.sort_by_key(|(index, link)| (rank(&link.kind), *index));
    let others = others.into_iter().map(|(_, link)| link);
    let unknown = unknown_with_addresses(messages, addresses, &all, &kept);
    let with_addresses = others.filter(|link| !link.addresses.is_empty()).map(|link| link.name);
    let left_out: BTreeSet<_> = with_addresses.chain(unknown).collect();
    let mut left_out: Vec<_> = left_out.into_iter().map(|name| format!("link {name}")).collect();
    let all: Vec<_> = links.into_iter().map(|(_, link)| link).collect();
    left_out.extend(all.iter().filter_map(details_left_out));
    Links { all, names, left_out }
}

/// Describes what is not captured of a link although it may matter.
fn details_left_out(link: &Link) -> Option<String> {
    match &link.kind {
        Kind::Bridge { vlan_filtering: true, .. } => {
            Some(format!("which VLANs the parts of bridge {} pass", link.name))
        }
        Kind::Bond(bond) if bond.miimon == 0 => {
            Some(format!("how bond {} finds out that a part is dead", link.name))
        }
        _ => None,
    }
}

/// Returns the names of all links by their indices.
pub(super) fn names(messages: &[LinkMessage]) -> BTreeMap<u32, String> {
    let named = messages.iter().map(|message| (message.header.index, name_of(message)));
    named.filter_map(|(index, name)| Some((index, name?))).collect()
}

/// Returns the rank of a kind: lower ones can be created earlier.
///
/// VLANs over VLANs have the higher index.
fn rank(kind: &Kind) -> u8 {
    match kind {
        Kind::Hardware => 0,
        Kind::Bond(_) | Kind::Bridge { .. } | Kind::Vrf { .. } => 1,
        Kind::Vlan { .. } => 2,
    }
}

/// Returns the names of hardware, of links that are made of it, and so on.
fn leading_to_hardware(links: &[(u32, Link)]) -> BTreeSet<String> {
    let mut kept: BTreeSet<String> = BTreeSet::new();
    loop {
        let before = kept.len();
        for (_, link) in links {
            let below = match &link.kind {
                Kind::Hardware => true,
                Kind::Vlan { over, .. } => kept.contains(over),
                Kind::Bond(_) | Kind::Bridge { .. } | Kind::Vrf { .. } => {
                    links.iter().any(|(_, part)| {
                        part.master.as_ref() == Some(&link.name) && kept.contains(&part.name)
                    })
                }
            };
            if below {
                kept.insert(link.name.clone());
            }
        }
        if kept.len() == before {
            return kept;
        }
    }
}

/// Returns the names of links with addresses whose kind is not supported here.
fn unknown_with_addresses(
    messages: &[LinkMessage],
    addresses: &[AddressMessage],
    names: &BTreeMap<u32, String>,
    kept: &BTreeSet<String>,
) -> Vec<String> {
    let indices = messages.iter().map(|message| message.header.index);
    indices
        .filter(|index| !addresses_of(addresses, *index).is_empty())
        .filter_map(|index| names.get(&index).cloned())
        .filter(|name| !kept.contains(name))
        .collect()
}

fn name_of(message: &LinkMessage) -> Option<String> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(text) => Some(text.clone()),
        _ => None,
    })
}

/// Reads a link of a kind that can be recreated, without its addresses.
fn link(
    message: &LinkMessage,
    names: &BTreeMap<u32, String>,
    device: &impl Fn(&str) -> Option<String>,
) -> Option<Link> {
    let mut link = Link { name: name_of(message)?, mtu: 1500, ..Link::default() };
    link.device = device(&link.name);
    let (mut used, mut permanent, mut over, mut made) = (None, None, None, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => used = Some(mac_text(bytes)),
            LinkAttribute::PermAddress(bytes) => permanent = Some(mac_text(bytes)),
            LinkAttribute::Mtu(bytes) => link.mtu = *bytes,
            LinkAttribute::Controller(index) => link.master = names.get(index).cloned(),
            LinkAttribute::Link(index) => over = names.get(index).cloned(),
            LinkAttribute::LinkInfo(infos) => made = Some(infos),
            LinkAttribute::AfSpecUnspec(families) => link.accepts_ra = accepts_ra(families),
            _ => {}
        }
    }
    if link.device.is_none() {
        link.kind = kind(made?, over, names)?;
        link.mac = used.unwrap_or_default();
        return Some(link);
    }
    // A new kernel sees the burnt-in address, not one that was set since.
    link.mac = permanent.or_else(|| used.clone()).unwrap_or_default();
    link.used_mac = used.filter(|used| *used != link.mac);
    Some(link)
}

/// Reads what a link is made of; `over` is the link below it.
fn kind(infos: &[LinkInfo], over: Option<String>, names: &BTreeMap<u32, String>) -> Option<Kind> {
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match data? {
        InfoData::Vlan(infos) => {
            let (mut id, mut service) = (None, false);
            for info in infos {
                match info {
                    InfoVlan::Id(number) => id = Some(*number),
                    InfoVlan::Protocol(protocol) => {
                        service = *protocol == VlanProtocol::Ieee8021Ad;
                    }
                    _ => {}
                }
            }
            Some(Kind::Vlan { over: over?, id: id?, service })
        }
        InfoData::Bond(infos) => Some(Kind::Bond(bond(infos, names))),
        InfoData::Bridge(infos) => Some(bridge(infos)),
        InfoData::Vrf(infos) => infos.iter().find_map(|info| match info {
            InfoVrf::TableId(table) => Some(Kind::Vrf { table: *table }),
            _ => None,
        }),
        _ => None,
    }
}

fn bond(infos: &[InfoBond], names: &BTreeMap<u32, String>) -> Bond {
    let mut bond = Bond::default();
    let (mut mode, mut hash) = (BondMode::BalanceRr, BondXmitHashPolicy::Layer2);
    for info in infos {
        match info {
            InfoBond::Mode(found) => mode = *found,
            InfoBond::MiiMon(found) => bond.miimon = *found,
            InfoBond::UpDelay(found) => bond.up_delay = *found,
            InfoBond::DownDelay(found) => bond.down_delay = *found,
            InfoBond::XmitHashPolicy(found) => hash = *found,
            InfoBond::AdLacpRate(found) => bond.lacp_fast = *found == BondLacpRate::Fast,
            InfoBond::Primary(index) => bond.primary = names.get(index).cloned(),
            _ => {}
        }
    }
    bond.mode = mode.to_string();
    let spreads =
        matches!(mode, BondMode::BalanceXor | BondMode::Ieee8023Ad | BondMode::BalanceTlb);
    bond.transmit_hash = spreads.then(|| hash.to_string());
    bond
}

fn bridge(infos: &[InfoBridge]) -> Kind {
    let (mut stp, mut forward_delay, mut vlan_filtering) = (false, 1500, false);
    for info in infos {
        match info {
            InfoBridge::StpState(state) => stp = *state != BridgeStpState::Disabled,
            InfoBridge::ForwardDelay(delay) => forward_delay = *delay,
            InfoBridge::VlanFiltering(filtering) => vlan_filtering = *filtering,
            _ => {}
        }
    }
    Kind::Bridge { stp, forward_delay, vlan_filtering }
}

/// Returns whether the kernel accepts router advertisements (Linux, `networking/ip-sysctl.rst`).
fn accepts_ra(families: &[AfSpecUnspec]) -> bool {
    let six = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(attributes) => Some(attributes),
        _ => None,
    });
    six.into_iter().flatten().any(|attribute| match attribute {
        // Forwarding systems accept none unless the value is 2.
        AfSpecInet6::DevConf(conf) => {
            conf.accept_ra == 2 || (conf.accept_ra == 1 && conf.forwarding == 0)
        }
        _ => false,
    })
}

/// Formats a MAC address as `ip` does.
pub(super) fn mac_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

/// Returns the addresses of a link in the order in which they were added.
///
/// That order decides which one is preferred as the source. The kernel lists those of IPv6 in
/// reverse.
fn addresses_of(messages: &[AddressMessage], index: u32) -> Vec<Address> {
    let of_link = messages.iter().filter(|message| message.header.index == index);
    let (four, mut six): (Vec<_>, Vec<_>) =
        of_link.filter_map(address).partition(|one| one.address.is_ipv4());
    six.reverse();
    four.into_iter().chain(six).collect()
}

/// Reads an address of global scope; each system makes up temporary ones of IPv6 anew.
fn address(message: &AddressMessage) -> Option<Address> {
    let header = &message.header;
    let v6 = header.family == AddressFamily::Inet6;
    // The bit means "secondary" for IPv4 and "temporary" for IPv6.
    let temporary = v6 && header.flags.contains(AddressHeaderFlags::Secondary);
    if header.scope != AddressScope::Universe || temporary {
        return None;
    }
    let (mut local, mut other, mut protocol) = (None, None, None);
    let mut dynamic = !header.flags.contains(AddressHeaderFlags::Permanent);
    let mut valid_secs = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            AddressAttribute::Protocol(found) => protocol = Some(*found),
            AddressAttribute::CacheInfo(times) => {
                dynamic = times.ifa_valid != u32::MAX;
                valid_secs = dynamic.then_some(times.ifa_valid);
            }
            _ => {}
        }
    }
    // DHCPv6 assigns single addresses, advertisements announce prefixes; programs that handle both
    // instead of the kernel leave no other mark.
    let by_ra =
        protocol == Some(AddressProtocol::RouterAnnouncement) || (v6 && header.prefix_len < 128);
    let origin = match (dynamic, by_ra) {
        (false, _) => Origin::Static,
        (true, true) => Origin::Ra,
        (true, false) => Origin::Dhcp,
    };
    let address = local.or(other)?;
    let peer = other.filter(|other| *other != address);
    Some(Address { peer, origin, valid_secs, ..Address::fixed(address, header.prefix_len) })
}
