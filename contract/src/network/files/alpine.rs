//! `/etc/network/interfaces` as Alpine reads it: with ifupdown-ng, and earlier with busybox.
//!
//! What the two read differently is written as commands: addresses, because busybox wants a netmask
//! of its own for each family where ifupdown-ng has one for both. Alpine names cards in the order
//! in which it finds them, so `nameif` looks for the MAC address.

use super::super::{Kind, Rule};
use super::commands::{self, word};
use super::entry::{Entry, in_order};
use super::ifupdown::resolvers;
use super::rendered::{Rendered, put};
use super::{Network, Route};

/// Renders `interfaces`.
pub(super) fn render(network: &Network) -> Rendered {
    let mut rendered = Rendered::default();
    let mut text = "auto lo\niface lo inet loopback\n".to_owned();
    for entry in in_order(network) {
        stanza(&mut rendered, &mut text, &entry);
    }
    rendered.add("interfaces".into(), text);
    rendered
}

fn stanza(rendered: &mut Rendered, text: &mut String, entry: &Entry<'_>) {
    let (name, mac) = (word(&entry.link.name), &entry.link.mac);
    let is_hardware = entry.link.kind.is_hardware();
    let method = if entry.dhcp4 { "dhcp" } else { "manual" };
    put!(text, "\nauto {}\n", entry.link.name);
    for what in needs_iproute2(entry) {
        let note = format!("{what} of {} needs iproute2", entry.link.name);
        rendered.note(text, "", note);
    }
    put!(text, "iface {} inet {method}\n", entry.link.name);
    if is_hardware && !mac.is_empty() {
        put!(text, "    pre-up nameif {name} {mac}\n");
    }
    for command in commands::before(entry) {
        put!(text, "    pre-up {command}\n");
    }
    if entry.dhcp4 {
        // Ports of switches may take longer than udhcpc waits.
        put!(text, "    udhcpc_opts -b\n");
    }
    entry.rejections().for_each(|what| rendered.leave_out(text, "    ", &what));
    if let Some(metric) = entry.dhcp4_metric {
        put!(text, "    metric {metric}\n");
    }
    put!(text, "    up ip link set dev {name} up\n");
    for address in &entry.addresses {
        put!(text, "    up {}\n", commands::address(entry.link, address));
    }
    if entry.dhcp6 {
        let what = format!("request for an IPv6 address of {} by DHCP", entry.link.name);
        rendered.leave_out(text, "    ", &what);
    }
    *text += &resolvers(entry);
    *text += &commands::up_and_down(entry);
    let end = if is_hardware { "addr flush dev" } else { "link del dev" };
    put!(text, "    post-down ip {end} {name} || true\n");
}

/// Returns what the `ip` of busybox cannot do for a link.
fn needs_iproute2(entry: &Entry<'_>) -> Vec<&'static str> {
    let crosses = |route: &Route| route.crosses_families();
    let is_special = |rule: &Rule| rule.mark.is_some() || rule.inverted;
    [
        (matches!(entry.link.kind, Kind::Bond(_)), "a bond"),
        (matches!(entry.link.kind, Kind::Bridge { .. }), "a bridge"),
        (entry.routes.iter().any(|route| crosses(route)), "a gateway of the other family"),
        (entry.rules.iter().any(|rule| is_special(rule)), "a rule with a mark"),
        (!entry.neighbours.is_empty(), "a neighbour"),
        (entry.token.is_some(), "the second half of an address"),
    ]
    .into_iter()
    .filter_map(|(needs, what)| needs.then_some(what))
    .collect()
}
