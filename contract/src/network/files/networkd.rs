//! Files for systemd-networkd: systemd.link(5), systemd.netdev(5), systemd.network(5).

use super::super::{Bond, Kind, Link, Rule};
use super::entry::{Entry, entries};
use super::rendered::{Rendered, put};
use super::{Network, Route};

/// Renders all files; they belong in `/etc/systemd/network`.
pub(super) fn render(network: &Network) -> Rendered {
    let mut rendered = Rendered::default();
    for entry in entries(network) {
        let link = entry.link;
        rendered.notes.extend(entry.other_tokens().map(|what| format!("left out: {what}")));
        if let Some(text) = link_file(link) {
            rendered.add(format!("10-{}.link", link.name), text);
        }
        if !link.kind.is_hardware() {
            rendered.add(format!("10-{}.netdev", link.name), netdev(&entry));
        }
        rendered.add(format!("10-{}.network", link.name), network_file(&entry));
    }
    rendered
}

/// Renders the file that names a card in udev; `None` for virtual links or without an address.
pub(super) fn link_file(link: &Link) -> Option<String> {
    is_found_by_mac(link).then(|| {
        format!("[Match]\nPermanentMACAddress={}\n\n[Link]\nName={}\n", link.mac, link.name)
    })
}

fn is_found_by_mac(link: &Link) -> bool {
    link.kind.is_hardware() && !link.mac.is_empty()
}

fn netdev(entry: &Entry<'_>) -> String {
    let link = entry.link;
    let (kind, section) = match &link.kind {
        Kind::Hardware => return String::new(),
        Kind::Vlan { id, service, .. } => {
            let protocol = if *service { "Protocol=802.1ad\n" } else { "" };
            ("vlan", format!("[VLAN]\nId={id}\n{protocol}"))
        }
        Kind::Bond(bond) => ("bond", bond_section(bond)),
        Kind::Bridge { stp, forward_delay, vlan_filtering } => {
            let delay = format!("{}ms", forward_delay * 10);
            let filtering = if *vlan_filtering { "VLANFiltering=yes\n" } else { "" };
            let stp = yes_or_no(*stp);
            ("bridge", format!("[Bridge]\nSTP={stp}\nForwardDelaySec={delay}\n{filtering}"))
        }
        Kind::Vrf { table } => ("vrf", format!("[VRF]\nTable={table}\n")),
    };
    let mut text = format!("[NetDev]\nName={}\nKind={kind}\n", link.name);
    if let Some(mac) = entry.mac {
        put!(text, "MACAddress={mac}\n");
    }
    if let Some(mtu) = entry.mtu {
        put!(text, "MTUBytes={mtu}\n");
    }
    text + "\n" + &section
}

fn bond_section(bond: &Bond) -> String {
    let mut text = format!("[Bond]\nMode={}\nMIIMonitorSec={}ms\n", bond.mode, bond.miimon);
    for (key, millis) in [("UpDelaySec", bond.up_delay), ("DownDelaySec", bond.down_delay)] {
        if millis != 0 {
            put!(text, "{key}={millis}ms\n");
        }
    }
    if let Some(policy) = &bond.transmit_hash {
        put!(text, "TransmitHashPolicy={policy}\n");
    }
    if bond.lacp_fast {
        text += "LACPTransmitRate=fast\n";
    }
    text
}

fn network_file(entry: &Entry<'_>) -> String {
    let link = entry.link;
    // The permanent address, because VLANs and bonds share the address that their cards use.
    let mut text = if is_found_by_mac(link) {
        format!("[Match]\nPermanentMACAddress={}\n\n[Link]\n", link.mac)
    } else {
        format!("[Match]\nName={}\n\n[Link]\n", link.name)
    };
    if let Some(mtu) = entry.mtu {
        put!(text, "MTUBytes={mtu}\n");
    }
    if let Some(mac) = entry.mac.filter(|_| link.kind.is_hardware()) {
        put!(text, "MACAddress={mac}\n");
    }
    text += &network_section(entry);
    if let Some(token) = entry.token {
        put!(text, "\n[IPv6AcceptRA]\nToken=static:{token}\n");
    }
    for address in entry.addresses.iter().filter(|one| one.peer.is_some()) {
        let (own, prefix) = (address.address, address.prefix);
        let peer = address.peer.unwrap_or(own);
        put!(text, "\n[Address]\nAddress={own}/{prefix}\nPeer={peer}/{prefix}\n");
    }
    if entry.dhcp4 {
        // A new system has another DUID; the MAC address stays.
        text += "\n[DHCPv4]\nClientIdentifier=mac\n";
        if let Some(metric) = entry.dhcp4_metric {
            put!(text, "RouteMetric={metric}\n");
        }
        link.rejected_servers.iter().for_each(|server| put!(text, "DenyList={server}\n"));
    }
    entry.routes.iter().for_each(|route| text += &route_section(route));
    entry.rules.iter().for_each(|rule| text += &rule_section(rule));
    for one in &entry.neighbours {
        put!(text, "\n[Neighbor]\nAddress={}\nLinkLayerAddress={}\n", one.address, one.mac);
    }
    text
}

fn network_section(entry: &Entry<'_>) -> String {
    let mut text = "\n[Network]\n".to_owned();
    match entry.master.map(|master| (&master.kind, &master.name)) {
        Some((Kind::Bond(bond), name)) => {
            put!(text, "Bond={name}\n");
            if bond.primary.as_ref() == Some(&entry.link.name) {
                text += "PrimarySlave=yes\n";
            }
        }
        Some((Kind::Bridge { .. }, name)) => put!(text, "Bridge={name}\n"),
        Some((Kind::Vrf { .. }, name)) => put!(text, "VRF={name}\n"),
        Some((Kind::Hardware | Kind::Vlan { .. }, _)) | None => {}
    }
    entry.vlans.iter().for_each(|vlan| put!(text, "VLAN={}\n", vlan.name));
    match (entry.dhcp4, entry.dhcp6) {
        (true, true) => text += "DHCP=yes\n",
        (true, false) => text += "DHCP=ipv4\n",
        (false, true) => text += "DHCP=ipv6\n",
        (false, false) => {}
    }
    put!(text, "IPv6AcceptRA={}\n", yes_or_no(entry.ra || entry.dhcp6));
    for address in entry.addresses.iter().filter(|one| one.peer.is_none()) {
        put!(text, "Address={}/{}\n", address.address, address.prefix);
    }
    entry.resolvers.iter().for_each(|resolver| put!(text, "DNS={resolver}\n"));
    entry.search.iter().for_each(|domain| put!(text, "Domains={domain}\n"));
    text
}

fn route_section(route: &Route) -> String {
    let mut text = format!("\n[Route]\nDestination={}\n", route.to());
    if !route.kind.is_unicast() {
        put!(text, "Type={}\n", route.kind_word());
    } else if let Some(gateway) = route.gateway {
        put!(text, "Gateway={gateway}\n");
    } else {
        text += "Scope=link\n";
    }
    if route.on_link {
        text += "GatewayOnLink=yes\n";
    }
    if let Some(metric) = route.metric {
        put!(text, "Metric={metric}\n");
    }
    if let Some(source) = route.source {
        put!(text, "PreferredSource={source}\n");
    }
    if let Some(mtu) = route.mtu {
        put!(text, "MTUBytes={mtu}\n");
    }
    // Always named, because otherwise that of a VRF would apply to its members.
    text + &format!("Table={}\n", route.table)
}

fn rule_section(rule: &Rule) -> String {
    let family = if rule.v6 { "ipv6" } else { "ipv4" };
    let mut text = format!(
        "\n[RoutingPolicyRule]\nFamily={family}\nPriority={}\nTable={}\n",
        rule.priority, rule.table
    );
    for (key, prefix) in [("From", rule.from), ("To", rule.to)] {
        if let Some(prefix) = prefix {
            put!(text, "{key}={prefix}\n");
        }
    }
    for (key, link) in
        [("IncomingInterface", &rule.incoming), ("OutgoingInterface", &rule.outgoing)]
    {
        if let Some(link) = link {
            put!(text, "{key}={link}\n");
        }
    }
    if let Some((mark, mask)) = rule.mark {
        put!(text, "FirewallMark={mark}/{mask}\n");
    }
    if rule.inverted {
        text += "InvertRule=yes\n";
    }
    text
}

fn yes_or_no(value: bool) -> &'static str {
    if value { "yes" } else { "no" }
}
