//! `/etc/network/interfaces` as Debian's ifupdown reads it, with the `ip` of iproute2.
//!
//! Links are created by `ip` alone, so that neither vlan, ifenslave nor bridge-utils is needed.
//! Stanzas refer to names, so a systemd.link(5) file makes udev give each card its name.

use super::super::Address;
use super::commands::{self, word};
use super::entry::{Entry, in_order};
use super::networkd::link_file;
use super::rendered::{Rendered, put};
use super::{Network, words};

/// Renders `interfaces`, with a `.link` file for each card.
///
/// The latter belong in `/etc/systemd/network`.
pub(super) fn render(network: &Network) -> Rendered {
    let mut rendered = Rendered::default();
    let mut text = "auto lo\niface lo inet loopback\n".to_owned();
    for entry in in_order(network) {
        if let Some(link) = link_file(entry.link) {
            rendered.add(format!("10-{}.link", entry.link.name), link);
        }
        text += &stanzas(&mut rendered, &entry);
    }
    rendered.add("interfaces".into(), text);
    rendered
}

/// Returns the stanzas of a link; ifup processes them from the first to the last.
fn stanzas(rendered: &mut Rendered, entry: &Entry<'_>) -> String {
    let name = &entry.link.name;
    let mut text = format!("\nauto {name}\niface {name} inet manual\n");
    for command in commands::before(entry) {
        put!(text, "    pre-up {command}\n");
    }
    put!(text, "    up ip link set dev {} up\n", word(name));
    let end = if entry.link.kind.is_hardware() { "set dev" } else { "del dev" };
    let state = if entry.link.kind.is_hardware() { " down" } else { "" };
    put!(text, "    post-down ip link {end} {}{state} || true\n", word(name));
    if entry.dhcp4 {
        put!(text, "iface {name} inet dhcp\n");
        if let Some(metric) = entry.dhcp4_metric {
            put!(text, "    metric {metric}\n");
        }
        entry.rejections().for_each(|what| rendered.leave_out(&mut text, "    ", &what));
    }
    entry.addresses.iter().for_each(|one| text += &address_stanza(entry, one));
    if entry.dhcp6 {
        put!(text, "iface {name} inet6 dhcp\n    accept_ra 2\n    autoconf 1\n");
    }
    text += &resolvers(entry);
    text + &commands::up_and_down(entry)
}

fn address_stanza(entry: &Entry<'_>, address: &Address) -> String {
    let (name, own, prefix) = (&entry.link.name, address.address, address.prefix);
    let family = if own.is_ipv4() { "inet" } else { "inet6" };
    let (accept, auto) = if entry.ra { (2, 1) } else { (0, 0) };
    match address.peer {
        Some(peer) if own.is_ipv4() && prefix == 32 => {
            format!("iface {name} inet static\n    address {own}/32\n    pointopoint {peer}\n")
        }
        Some(_) => {
            let command = commands::address(entry.link, address);
            format!("iface {name} {family} manual\n    up {command}\n")
        }
        None if own.is_ipv4() => {
            format!("iface {name} inet static\n    address {own}/{prefix}\n")
        }
        None => format!(
            "iface {name} inet6 static\n    address {own}/{prefix}\n    accept_ra {accept}\n    \
             autoconf {auto}\n"
        ),
    }
}

/// Returns lines for resolvconf, openresolv and the like; without them `resolv.conf` applies.
pub(super) fn resolvers(entry: &Entry<'_>) -> String {
    let mut text = String::new();
    if !entry.resolvers.is_empty() {
        put!(text, "    dns-nameservers {}\n", words(entry.resolvers));
    }
    if !entry.search.is_empty() {
        put!(text, "    dns-search {}\n", entry.search.join(" "));
    }
    text
}
