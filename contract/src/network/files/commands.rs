//! Commands of ip(8), as `/etc/network/interfaces` of Debian and of Alpine runs them.

use super::super::{Address, Bond, Kind, Link, Neighbour, Rule};
use super::Route;
use super::entry::Entry;
use super::rendered::put;

/// Returns the commands before a link comes up: create it, name its master, and configure it.
///
/// Members of bonds and bridges are added here, because DHCP on the master needs them; members of
/// VRFs do so themselves, because joining one costs them their routes.
pub(super) fn before(entry: &Entry<'_>) -> Vec<String> {
    let name = word(&entry.link.name);
    let mut commands = make(entry);
    if let Some(mac) = entry.mac.filter(|_| matches!(entry.link.kind, Kind::Hardware)) {
        commands.push(format!("ip link set dev {name} address {mac}"));
    }
    for member in &entry.members {
        let member = word(&member.name);
        match entry.link.kind {
            Kind::Bond(_) => {
                commands.push(format!("ip link set dev {member} down"));
                commands.push(format!("ip link set dev {member} master {name}"));
                commands.push(format!("ip link set dev {member} up"));
            }
            Kind::Bridge { .. } => {
                commands.push(format!("ip link set dev {member} master {name}"));
            }
            Kind::Hardware | Kind::Vlan { .. } | Kind::Vrf { .. } => {}
        }
    }
    if let Kind::Bond(Bond { primary: Some(primary), .. }) = &entry.link.kind {
        commands.push(format!("ip link set dev {name} type bond primary {}", word(primary)));
    }
    if let Some(master) = entry.master.filter(|master| matches!(master.kind, Kind::Vrf { .. })) {
        commands.push(format!("ip link set dev {name} master {}", word(&master.name)));
    }
    // A link with the wrong MTU is better than none, and a kernel without IPv6 has no such file.
    if let Some(mtu) = entry.mtu {
        commands.push(format!("ip link set dev {name} mtu {mtu} || true"));
    }
    let accept = if entry.ra { 2 } else { 0 };
    let path = format!("/proc/sys/net/ipv6/conf/{name}/accept_ra");
    commands.push(format!("echo {accept} >{path} || true"));
    if let Some(token) = entry.token {
        commands.push(format!("ip token set {token} dev {name} || true"));
    }
    commands
}

fn make(entry: &Entry<'_>) -> Vec<String> {
    let name = word(&entry.link.name);
    let address = entry.mac.map(|mac| format!(" address {mac}")).unwrap_or_default();
    let make = match &entry.link.kind {
        Kind::Hardware => return Vec::new(),
        Kind::Vlan { over, id, service } => {
            let protocol = if *service { " protocol 802.1ad" } else { "" };
            format!("link {} name {name}{address} type vlan{protocol} id {id}", word(over))
        }
        Kind::Bond(bond) => format!("{name}{address} type bond {}", bond_options(bond)),
        Kind::Bridge { stp, forward_delay, vlan_filtering } => {
            let stp = u8::from(*stp);
            let filtering = if *vlan_filtering { " vlan_filtering 1" } else { "" };
            let options = format!("stp_state {stp} forward_delay {forward_delay}{filtering}");
            format!("{name}{address} type bridge {options}")
        }
        Kind::Vrf { table } => format!("{name} type vrf table {table}"),
    };
    let mut commands = Vec::new();
    if entry.link.name.contains('.') {
        // For such a name ifup creates a VLAN by itself, but not always this one.
        commands.push(format!("ip link del dev {name} 2>/dev/null || true"));
    }
    commands.push(format!("ip link add {make}"));
    commands
}

fn bond_options(bond: &Bond) -> String {
    let mut options = format!("mode {} miimon {}", bond.mode, bond.miimon);
    for (key, millis) in [("updelay", bond.up_delay), ("downdelay", bond.down_delay)] {
        if millis != 0 {
            put!(options, " {key} {millis}");
        }
    }
    if let Some(policy) = &bond.transmit_hash {
        put!(options, " xmit_hash_policy {policy}");
    }
    if bond.lacp_fast {
        options += " lacp_rate fast";
    }
    options
}

/// Returns the command that adds an address.
pub(super) fn address(link: &Link, address: &Address) -> String {
    let (name, own, prefix) = (word(&link.name), address.address, address.prefix);
    match address.peer {
        Some(peer) => format!("ip address add {own} peer {peer}/{prefix} dev {name}"),
        None => format!("ip address add {own}/{prefix} dev {name}"),
    }
}

/// Returns the command that adds (`add`) or deletes (`del`) a route.
pub(super) fn route(verb: &str, route: &Route) -> String {
    // If `ip` does not say the family, it is that of the gateway.
    let ip = if route.crosses_families() { "ip -4" } else { ip(route.destination.is_ipv6()) };
    let mut command = format!("{ip} route {verb} ");
    if !route.kind.is_unicast() {
        put!(command, "{} ", route.kind_word());
    }
    command += &if route.prefix == 0 { "default".to_owned() } else { route.to() };
    if let Some(gateway) = route.gateway {
        let family = if route.crosses_families() { "inet6 " } else { "" };
        put!(command, " via {family}{gateway}");
    }
    if !route.link.is_empty() {
        put!(command, " dev {}", word(&route.link));
    }
    if route.on_link {
        command += " onlink";
    }
    if let Some(source) = route.source {
        put!(command, " src {source}");
    }
    if let Some(metric) = route.metric {
        put!(command, " metric {metric}");
    }
    if let Some(mtu) = route.mtu {
        put!(command, " mtu {mtu}");
    }
    if route.table != super::super::MAIN_TABLE {
        put!(command, " table {}", route.table);
    }
    command
}

/// Returns the command that adds (`add`) or deletes (`del`) a rule.
pub(super) fn rule(verb: &str, rule: &Rule) -> String {
    let mut command = format!("{} rule {verb}", ip(rule.v6));
    if rule.inverted {
        command += " not";
    }
    match rule.from {
        Some(from) => put!(command, " from {from}"),
        None => command += " from all",
    }
    if let Some(to) = rule.to {
        put!(command, " to {to}");
    }
    for (key, link) in [("iif", &rule.incoming), ("oif", &rule.outgoing)] {
        if let Some(link) = link {
            put!(command, " {key} {}", word(link));
        }
    }
    if let Some((mark, mask)) = rule.mark {
        put!(command, " fwmark {mark:#x}/{mask:#x}");
    }
    command + &format!(" table {} priority {}", rule.table, rule.priority)
}

/// Returns the command that adds (`replace`) or deletes (`del`) a neighbour.
pub(super) fn neighbour(verb: &str, neighbour: &Neighbour) -> String {
    let (address, link) = (neighbour.address, word(&neighbour.link));
    match verb {
        "del" => format!("ip neighbour del {address} dev {link}"),
        _ => format!(
            "ip neighbour {verb} {address} lladdr {} dev {link} nud permanent",
            neighbour.mac
        ),
    }
}

/// Returns lines that add something when a link is up, and delete it before it goes down.
pub(super) fn up_and_down(entry: &Entry<'_>) -> String {
    let routes = entry.routes.iter().map(|one| (route("replace", one), route("del", one)));
    let rules = entry.rules.iter().map(|one| (rule("add", one), rule("del", one)));
    let neighbours =
        entry.neighbours.iter().map(|one| (neighbour("replace", one), neighbour("del", one)));
    let all: Vec<_> = neighbours.chain(routes).chain(rules).collect();
    let mut text = String::new();
    for (up, _) in &all {
        put!(text, "    up {up}\n");
    }
    for (_, down) in all.iter().rev() {
        put!(text, "    down {down} || true\n");
    }
    text
}

/// Returns the `ip` command of a family.
fn ip(v6: bool) -> &'static str {
    if v6 { "ip -6" } else { "ip" }
}

/// Quotes a word for the shell if it needs quotes; names of links hardly ever do.
pub(super) fn word(text: &str) -> String {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._:@+-".contains(char);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
