//! Keyfiles of NetworkManager 1.42: nm-settings-keyfile(5), nm-settings(5).
//!
//! Metrics and the way in which link-local addresses are formed are always named, because
//! NetworkManager's defaults differ from the kernel's.

use sha2::{Digest, Sha256};

use super::super::{Bond, Kind, Link, Rule};
use super::entry::{Entry, crossing_words, entries};
use super::networkd::link_file;
use super::rendered::{File, Rendered, put};
use super::{Network, Route};

/// Renders a `.nmconnection` file for each link, with a `.link` file for each card.
///
/// They belong in `/etc/NetworkManager/system-connections` and `/etc/systemd/network`.
pub(super) fn render(network: &Network) -> Rendered {
    let mut rendered = Rendered::default();
    for entry in entries(network) {
        let name = &entry.link.name;
        if let Some(link) = link_file(entry.link) {
            rendered.add(format!("10-{name}.link"), link);
        }
        let text = keyfile(&mut rendered, network, &entry);
        // NetworkManager ignores anything that others may read.
        let file = File { name: format!("{name}.nmconnection"), mode: 0o600, text };
        rendered.files.push(file);
    }
    rendered
}

fn keyfile(rendered: &mut Rendered, network: &Network, entry: &Entry<'_>) -> String {
    let link = entry.link;
    let kind = match link.kind {
        Kind::Hardware => "ethernet",
        Kind::Vlan { .. } => "vlan",
        Kind::Bond(_) => "bond",
        Kind::Bridge { .. } => "bridge",
        Kind::Vrf { .. } => "vrf",
    };
    let mut text = format!("[connection]\nid={}\nuuid={}\ntype={kind}\n", link.name, uuid(link));
    let is_found_by_mac = link.kind.is_hardware() && !link.mac.is_empty();
    if !is_found_by_mac {
        put!(text, "interface-name={}\n", link.name);
    }
    text += "autoconnect-priority=100\n";
    let mut is_port = false;
    if let Some(master) = entry.master {
        let port = match master.kind {
            Kind::Bond(_) => "bond",
            Kind::Bridge { .. } => "bridge",
            Kind::Vrf { .. } | Kind::Hardware | Kind::Vlan { .. } => "vrf",
        };
        is_port = port != "vrf";
        put!(text, "master={}\nslave-type={port}\n", uuid(master));
    }
    if !entry.members.is_empty() {
        text += "autoconnect-slaves=1\n";
    }
    text += "\n[ethernet]\n";
    if is_found_by_mac {
        put!(text, "mac-address={}\n", link.mac);
    }
    if let Some(mac) = entry.mac {
        put!(text, "cloned-mac-address={mac}\n");
    }
    if let Some(mtu) = entry.mtu {
        put!(text, "mtu={mtu}\n");
    }
    kind_section(rendered, &mut text, network, link);
    for one in &entry.neighbours {
        rendered.leave_out(&mut text, "", &format!("neighbour {} of {}", one.address, one.link));
    }
    // Ports have no addresses, and no sections for them.
    if !is_port {
        family(rendered, &mut text, entry, Family::V4);
        family(rendered, &mut text, entry, Family::V6);
    }
    text
}

fn kind_section(rendered: &mut Rendered, text: &mut String, network: &Network, link: &Link) {
    match &link.kind {
        Kind::Hardware => {}
        Kind::Vlan { over, id, service } => {
            let parent = network.links.iter().find(|link| link.name == *over);
            let parent = parent.map_or_else(|| over.clone(), uuid);
            put!(text, "\n[vlan]\nid={id}\nparent={parent}\n");
            if *service {
                *text += "protocol=802.1ad\n";
            }
        }
        Kind::Bond(bond) => *text += &bond_section(bond),
        Kind::Bridge { stp, forward_delay, vlan_filtering } => {
            /// The default of a bridge, in hundredths of a second.
            const KERNELS: u32 = 1500;
            put!(text, "\n[bridge]\nstp={stp}\nvlan-filtering={vlan_filtering}\n");
            // It is in whole seconds, and passed to the kernel only with STP.
            let has_words = if *stp { forward_delay % 100 == 0 } else { *forward_delay == KERNELS };
            if has_words {
                put!(text, "forward-delay={}\n", forward_delay / 100);
            } else {
                rendered.leave_out(text, "", &format!("forward_delay of {}", link.name));
            }
        }
        Kind::Vrf { table } => put!(text, "\n[vrf]\ntable={table}\n"),
    }
}

fn bond_section(bond: &Bond) -> String {
    let mut text = format!("\n[bond]\nmode={}\nmiimon={}\n", bond.mode, bond.miimon);
    for (key, millis) in [("updelay", bond.up_delay), ("downdelay", bond.down_delay)] {
        if millis != 0 {
            put!(text, "{key}={millis}\n");
        }
    }
    if let Some(policy) = &bond.transmit_hash {
        put!(text, "xmit_hash_policy={policy}\n");
    }
    if bond.lacp_fast {
        text += "lacp_rate=fast\n";
    }
    if let Some(primary) = &bond.primary {
        put!(text, "primary={primary}\n");
    }
    text
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Family {
    V4,
    V6,
}

fn family(rendered: &mut Rendered, text: &mut String, entry: &Entry<'_>, family: Family) {
    let v6 = family == Family::V6;
    let addresses: Vec<_> =
        entry.addresses.iter().filter(|one| one.address.is_ipv6() == v6).collect();
    let method = match family {
        Family::V4 if entry.dhcp4 => "auto",
        Family::V6 if entry.ra || entry.dhcp6 => "auto",
        Family::V4 | Family::V6 if !addresses.is_empty() => "manual",
        Family::V4 => "disabled",
        // The kernel gives every link one, and gateways such as fe80::1 need it.
        Family::V6 => "link-local",
    };
    *text += if v6 { "\n[ipv6]\naddr-gen-mode=eui64\n" } else { "\n[ipv4]\n" };
    put!(text, "method={method}\n");
    match (method, family) {
        ("auto", Family::V4) => {
            *text += "dhcp-client-id=mac\n";
            if let Some(metric) = entry.dhcp4_metric {
                put!(text, "route-metric={metric}\n");
            }
            if !entry.link.rejected_servers.is_empty() {
                *text += "dhcp-reject-servers=";
                entry.link.rejected_servers.iter().for_each(|server| put!(text, "{server};"));
                *text += "\n";
            }
        }
        ("auto", Family::V6) => {
            if let Some(token) = entry.token {
                put!(text, "token={token}\n");
            }
        }
        // It applies to the routes to the link itself; all others name their own.
        (_, Family::V4) => *text += "route-metric=0\n",
        (_, Family::V6) => *text += "route-metric=256\n",
    }
    for (number, one) in (1..).zip(&addresses) {
        put!(text, "address{number}={}/{}\n", one.address, one.own_prefix());
        if let Some(peer) = one.peer {
            let what = format!("{peer} is peer of {}; a route stands for that", one.address);
            rendered.leave_out(text, "", &what);
        }
    }
    if matches!(method, "auto" | "manual") {
        resolvers(text, entry, v6);
    }
    let mut number = 0;
    let to_peers = entry.routes_to_peers();
    let routes = to_peers.iter().chain(entry.routes.iter().copied());
    for route in routes.filter(|route| route.destination.is_ipv6() == v6) {
        if route.crosses_families() {
            let what = crossing_words(route);
            rendered.leave_out(text, "", &what);
        } else {
            number += 1;
            *text += &route_lines(number, route);
        }
    }
    for (number, rule) in (1..).zip(entry.rules.iter().filter(|rule| rule.v6 == v6)) {
        put!(text, "routing-rule{number}={}\n", rule_text(rule));
    }
}

fn resolvers(text: &mut String, entry: &Entry<'_>, v6: bool) {
    let servers: Vec<_> = (entry.resolvers.iter())
        .filter(|resolver| resolver.is_ipv6() == v6)
        .map(|resolver| format!("{resolver};"))
        .collect();
    if !servers.is_empty() {
        put!(text, "dns={}\n", servers.concat());
    }
    if !entry.search.is_empty() {
        put!(text, "dns-search={};\n", entry.search.join(";"));
    }
}

fn route_lines(number: usize, route: &Route) -> String {
    let v6 = route.destination.is_ipv6();
    let gateway = route.gateway.map(|gateway| gateway.to_string());
    let gateway = gateway.unwrap_or_else(|| if v6 { "::" } else { "0.0.0.0" }.to_owned());
    let metric = route.metric.unwrap_or(if v6 { 1024 } else { 0 });
    let mut options = vec![format!("table={}", route.table)];
    if !route.kind.is_unicast() {
        options.push(format!("type={}", route.kind_word()));
    }
    if route.on_link {
        options.push("onlink=true".to_owned());
    }
    if let Some(source) = route.source {
        options.push(format!("src={source}"));
    }
    if let Some(mtu) = route.mtu {
        options.push(format!("mtu={mtu}"));
    }
    let options = options.join(",");
    format!("route{number}={},{gateway},{metric}\nroute{number}_options={options}\n", route.to())
}

fn rule_text(rule: &Rule) -> String {
    let any = if rule.v6 { "::/0" } else { "0.0.0.0/0" };
    let not = if rule.inverted { "not " } else { "" };
    let from = rule.from.map_or_else(|| any.to_owned(), |from| from.to_string());
    let mut text = format!("priority {} {not}from {from}", rule.priority);
    if let Some(to) = rule.to {
        put!(text, " to {to}");
    }
    for (key, link) in [("iif", &rule.incoming), ("oif", &rule.outgoing)] {
        if let Some(link) = link {
            put!(text, " {key} {link}");
        }
    }
    if let Some((mark, mask)) = rule.mark {
        put!(text, " fwmark {mark:#x}/{mask:#x}");
    }
    text + &format!(" table {}", rule.table)
}

/// Returns the same UUID for the same link, so that files written twice are the same.
///
/// It is of version 8 (RFC 9562).
fn uuid(link: &Link) -> String {
    let digest = Sha256::digest(format!("anemos {} {}", link.name, link.mac));
    let mut hex: Vec<char> = digest
        .iter()
        .take(16)
        .flat_map(|byte| format!("{byte:02x}").chars().collect::<Vec<_>>())
        .collect();
    for (place, char) in [(12, '8'), (16, '8')] {
        if let Some(digit) = hex.get_mut(place) {
            *digit = char;
        }
    }
    let hex: String = hex.into_iter().collect();
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| hex.get(from..to).unwrap_or_default()).join("-")
}
