//! `50-anemos.yaml` for netplan 0.106: netplan(5).
//!
//! It is written by hand: scalars are in double quotes, so that nothing is read as a base 60
//! number.

use super::super::{Address, Bond, Kind, Rule};
use super::entry::{Entry, crossing_words, entries};
use super::rendered::{File, Rendered, put};
use super::{Network, Route};

/// Renders the file, which belongs in `/etc/netplan`.
pub(super) fn render(network: &Network) -> Rendered {
    let mut rendered = Rendered::default();
    let mut text = "network:\n  version: 2\n".to_owned();
    for (section, belongs) in SECTIONS {
        let entries = entries(network);
        let mut entries = entries.iter().filter(|entry| belongs(&entry.link.kind)).peekable();
        if entries.peek().is_some() {
            put!(text, "  {section}:\n");
        }
        entries.for_each(|entry| definition(&mut rendered, &mut text, entry));
    }
    let file = File { name: "50-anemos.yaml".into(), mode: 0o600, text };
    rendered.files.push(file);
    rendered
}

type Belongs = fn(&Kind) -> bool;

const SECTIONS: [(&str, Belongs); 5] = [
    ("ethernets", |kind| matches!(kind, Kind::Hardware)),
    ("bonds", |kind| matches!(kind, Kind::Bond(_))),
    ("bridges", |kind| matches!(kind, Kind::Bridge { .. })),
    ("vlans", |kind| matches!(kind, Kind::Vlan { .. })),
    ("vrfs", |kind| matches!(kind, Kind::Vrf { .. })),
];

/// Indentation of the keys of a link.
const KEY: &str = "      ";

fn definition(rendered: &mut Rendered, text: &mut String, entry: &Entry<'_>) {
    let link = entry.link;
    put!(text, "    {}:\n", quoted(&link.name));
    kind_keys(rendered, text, entry);
    if matches!(link.kind, Kind::Vrf { .. }) {
        // Routes and rules of its table are with its members.
        return;
    }
    if let Some(mac) = entry.mac {
        put!(text, "{KEY}macaddress: {}\n", quoted(mac));
    }
    if let Some(mtu) = entry.mtu {
        put!(text, "{KEY}mtu: {mtu}\n");
    }
    put!(text, "{KEY}dhcp4: {}\n", entry.dhcp4);
    if entry.dhcp4 {
        put!(text, "{KEY}dhcp-identifier: \"mac\"\n");
    }
    if let Some(metric) = entry.dhcp4_metric {
        put!(text, "{KEY}dhcp4-overrides:\n{KEY}  route-metric: {metric}\n");
    }
    entry.rejections().for_each(|what| rendered.leave_out(text, KEY, &what));
    put!(text, "{KEY}dhcp6: {}\n", entry.dhcp6);
    put!(text, "{KEY}accept-ra: {}\n", entry.ra || entry.dhcp6);
    if let Some(token) = entry.token {
        put!(text, "{KEY}ipv6-address-token: {}\n", quoted(&token.to_string()));
    }
    addresses(rendered, text, entry);
    resolvers(text, entry);
    for one in &entry.neighbours {
        rendered.leave_out(text, KEY, &format!("neighbour {} of {}", one.address, one.link));
    }
    routes(rendered, text, entry);
    rules(rendered, text, entry);
}

fn kind_keys(rendered: &mut Rendered, text: &mut String, entry: &Entry<'_>) {
    let link = entry.link;
    match &link.kind {
        Kind::Hardware if link.mac.is_empty() => {}
        Kind::Hardware => {
            let (mac, name) = (quoted(&link.mac), quoted(&link.name));
            put!(text, "{KEY}match:\n{KEY}  macaddress: {mac}\n{KEY}set-name: {name}\n");
        }
        Kind::Vlan { over, id, service } => {
            put!(text, "{KEY}id: {id}\n{KEY}link: {}\n", quoted(over));
            if *service {
                rendered.leave_out(
                    text,
                    KEY,
                    &format!("protocol of {}, which is 802.1ad", link.name),
                );
            }
        }
        Kind::Bond(bond) => {
            members(text, entry);
            bond_parameters(text, bond);
        }
        Kind::Bridge { stp, forward_delay, vlan_filtering } => {
            members(text, entry);
            let delay = format!("{}ms", forward_delay * 10);
            put!(text, "{KEY}parameters:\n{KEY}  stp: {stp}\n");
            put!(text, "{KEY}  forward-delay: \"{delay}\"\n");
            if *vlan_filtering {
                rendered.leave_out(text, KEY, &format!("VLAN filtering of {}", link.name));
            }
        }
        Kind::Vrf { table } => {
            put!(text, "{KEY}table: {table}\n");
            members(text, entry);
        }
    }
}

fn members(text: &mut String, entry: &Entry<'_>) {
    let names: Vec<_> = entry.members.iter().map(|member| quoted(&member.name)).collect();
    put!(text, "{KEY}interfaces: [{}]\n", names.join(", "));
}

fn bond_parameters(text: &mut String, bond: &Bond) {
    put!(text, "{KEY}parameters:\n{KEY}  mode: {}\n", quoted(&bond.mode));
    for (key, millis) in [
        ("mii-monitor-interval", bond.miimon),
        ("up-delay", bond.up_delay),
        ("down-delay", bond.down_delay),
    ] {
        if millis != 0 {
            put!(text, "{KEY}  {key}: {millis}\n");
        }
    }
    if let Some(policy) = &bond.transmit_hash {
        put!(text, "{KEY}  transmit-hash-policy: {}\n", quoted(policy));
    }
    if bond.lacp_fast {
        put!(text, "{KEY}  lacp-rate: \"fast\"\n");
    }
    if let Some(primary) = &bond.primary {
        put!(text, "{KEY}  primary: {}\n", quoted(primary));
    }
}

fn addresses(rendered: &mut Rendered, text: &mut String, entry: &Entry<'_>) {
    for Address { address, peer, .. } in &entry.addresses {
        if let Some(peer) = peer {
            let what = format!("{peer} is peer of {address}; a route stands for that");
            rendered.leave_out(text, KEY, &what);
        }
    }
    if !entry.addresses.is_empty() {
        put!(text, "{KEY}addresses:\n");
    }
    for one in &entry.addresses {
        put!(text, "{KEY}  - \"{}/{}\"\n", one.address, one.own_prefix());
    }
}

fn resolvers(text: &mut String, entry: &Entry<'_>) {
    let servers: Vec<_> = entry.resolvers.iter().map(|one| format!("\"{one}\"")).collect();
    let search: Vec<_> = entry.search.iter().map(|one| quoted(one)).collect();
    if servers.is_empty() && search.is_empty() {
        return;
    }
    put!(text, "{KEY}nameservers:\n");
    for (key, values) in [("addresses", servers), ("search", search)] {
        if !values.is_empty() {
            put!(text, "{KEY}  {key}: [{}]\n", values.join(", "));
        }
    }
}

fn routes(rendered: &mut Rendered, text: &mut String, entry: &Entry<'_>) {
    let (crossing, routes): (Vec<&Route>, Vec<&Route>) =
        entry.routes.iter().partition(|route| route.crosses_families());
    for route in crossing {
        let what = crossing_words(route);
        rendered.leave_out(text, KEY, &what);
    }
    let to_peers = entry.routes_to_peers();
    if !routes.is_empty() || !to_peers.is_empty() {
        put!(text, "{KEY}routes:\n");
    }
    for route in to_peers.iter().chain(routes) {
        *text += &route_keys(route);
    }
}

fn route_keys(route: &Route) -> String {
    let mut text = format!("{KEY}  - to: \"{}\"\n", route.to());
    let mut key = |key: &str, value: String| put!(text, "{KEY}    {key}: {value}\n");
    match route.gateway {
        Some(gateway) => key("via", format!("\"{gateway}\"")),
        None if route.kind.is_unicast() => key("scope", "\"link\"".into()),
        None => key("type", format!("\"{}\"", route.kind_word())),
    }
    if route.on_link {
        key("on-link", "true".into());
    }
    if let Some(metric) = route.metric {
        key("metric", metric.to_string());
    }
    if let Some(source) = route.source {
        key("from", format!("\"{source}\""));
    }
    if let Some(mtu) = route.mtu {
        key("mtu", mtu.to_string());
    }
    // Always named, because otherwise that of a VRF would apply to its members.
    key("table", route.table.to_string());
    text
}

fn rules(rendered: &mut Rendered, text: &mut String, entry: &Entry<'_>) {
    let has_words = |rule: &&&Rule| {
        let whole = rule.mark.is_none_or(|(_, mask)| mask == u32::MAX);
        rule.incoming.is_none() && rule.outgoing.is_none() && !rule.inverted && whole
    };
    let (expressed, others): (Vec<&Rule>, Vec<&Rule>) = entry.rules.iter().partition(has_words);
    for rule in others {
        let family = if rule.v6 { "IPv6" } else { "IPv4" };
        let what = format!("rule {} of {family} for table {}", rule.priority, rule.table);
        rendered.leave_out(text, KEY, &what);
    }
    if !expressed.is_empty() {
        put!(text, "{KEY}routing-policy:\n");
    }
    for rule in expressed {
        let any = if rule.v6 { "::/0" } else { "0.0.0.0/0" };
        let from = rule.from.map_or_else(|| any.to_owned(), |from| from.to_string());
        put!(text, "{KEY}  - from: \"{from}\"\n");
        if let Some(to) = rule.to {
            put!(text, "{KEY}    to: \"{to}\"\n");
        }
        if let Some((mark, _)) = rule.mark {
            put!(text, "{KEY}    mark: {mark}\n");
        }
        put!(text, "{KEY}    table: {}\n{KEY}    priority: {}\n", rule.table, rule.priority);
    }
}

/// Returns a scalar in double quotes (YAML 1.2, 7.3.1).
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            _ if char.is_control() => put!(quoted, "\\u{:04x}", u32::from(char)),
            _ => quoted.push(char),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_quoted_whatever_is_in_them() {
        for (text, want) in [
            ("eth0", r#""eth0""#),
            ("no", r#""no""#),
            ("52:54:00:12:34:56", r#""52:54:00:12:34:56""#),
            ("a\"b\\c", r#""a\"b\\c""#),
            ("a\tb", r#""a\u0009b""#),
        ] {
            assert_eq!(quoted(text), want, "{text:?}");
        }
    }
}
