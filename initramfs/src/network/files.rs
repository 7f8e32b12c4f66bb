//! Renders the network as files that the new system can use as they are.
//!
//! `network.json` is the network itself; `networkd/` holds one `.network` file a link for
//! systemd.network(5); `resolv.conf` is for resolver(5). Links are matched by MAC address.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use super::{Link, Network, Route};

/// Writes all files below `folder`, which exists.
pub fn write(network: &Network, folder: &Path) -> io::Result<()> {
    let json = serde_json::to_string_pretty(network)?;
    fs::write(folder.join("network.json"), json + "\n")?;
    fs::write(folder.join("resolv.conf"), resolv_conf(network))?;
    fs::create_dir_all(folder.join("networkd"))?;
    for link in &network.links {
        let path = folder.join(format!("networkd/10-{}.network", link.name));
        fs::write(path, networkd(network, link))?;
    }
    Ok(())
}

/// Renders `/etc/resolv.conf`.
pub fn resolv_conf(network: &Network) -> String {
    let mut text = String::new();
    if !network.search.is_empty() {
        text = format!("search {}\n", network.search.join(" "));
    }
    network.resolvers.iter().fold(text, |text, resolver| text + &format!("nameserver {resolver}\n"))
}

/// Renders the `.network` file of one link.
///
/// What came by DHCP is asked for again, because its lease ends; the static rest is written
/// down. Dynamic IPv6 comes by router advertisement, which networkd accepts by itself.
fn networkd(network: &Network, link: &Link) -> String {
    let dhcp = link.addresses.iter().any(|one| !one.origin.is_static() && one.address.is_ipv4());
    let advertised =
        link.addresses.iter().any(|one| !one.origin.is_static() && one.address.is_ipv6());
    let mut text = format!("[Match]\nMACAddress={}\n\n[Link]\nMTUBytes={}\n", link.mac, link.mtu);
    text += "\n[Network]\n";
    if dhcp {
        text += "DHCP=ipv4\n";
    }
    for address in link.addresses.iter().filter(|address| address.origin.is_static()) {
        let _infallible = writeln!(text, "Address={}/{}", address.address, address.prefix);
    }
    if !dhcp {
        for resolver in &network.resolvers {
            let _infallible = writeln!(text, "DNS={resolver}");
        }
        for domain in &network.search {
            let _infallible = writeln!(text, "Domains={domain}");
        }
    }
    // What a lease or an advertisement brings: the default route and those to the link itself.
    // Any other one beside it was made by hand.
    let is_static = |route: &&Route| {
        let dynamic = if route.destination.is_ipv4() { dhcp } else { advertised };
        let brought = dynamic && (route.prefix == 0 || route.gateway.is_none());
        route.link == link.name && !brought
    };
    for route in network.routes.iter().filter(is_static) {
        text += &networkd_route(route);
    }
    text
}

fn networkd_route(route: &Route) -> String {
    let mut text = format!("\n[Route]\nDestination={}/{}\n", route.destination, route.prefix);
    match route.gateway {
        Some(gateway) => {
            let _infallible = writeln!(text, "Gateway={gateway}");
        }
        None => text += "Scope=link\n",
    }
    if route.on_link {
        text += "GatewayOnLink=yes\n";
    }
    if let Some(metric) = route.metric {
        let _infallible = writeln!(text, "Metric={metric}");
    }
    if let Some(source) = route.source {
        let _infallible = writeln!(text, "PreferredSource={source}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Address, Origin};
    use super::*;

    fn network(addresses: Vec<Address>, routes: Vec<Route>) -> Network {
        let mac = "52:54:00:12:34:56".to_owned();
        Network {
            links: vec![Link { name: "ens3".into(), mac, mtu: 1500, addresses, ..Link::default() }],
            routes,
            resolvers: vec!["192.0.2.53".parse().unwrap()],
            search: vec!["example.org".into()],
            ..Network::default()
        }
    }

    fn default_route(gateway: &str, on_link: bool) -> Route {
        let gateway: std::net::IpAddr = gateway.parse().unwrap();
        let destination = if gateway.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
        Route { gateway: Some(gateway), on_link, ..Route::over("ens3", destination, 0) }
    }

    #[test]
    fn a_point_to_point_address_keeps_its_gateway_on_the_link() {
        let address = |text: &str, prefix| Address::fixed(text.parse().unwrap(), prefix);
        let network = network(
            vec![address("198.51.100.7", 32), address("2001:db8::7", 64)],
            vec![default_route("172.31.1.1", true), default_route("fe80::1", false)],
        );
        insta::assert_snapshot!(networkd(&network, &network.links[0]), @r"
        [Match]
        MACAddress=52:54:00:12:34:56

        [Link]
        MTUBytes=1500

        [Network]
        Address=198.51.100.7/32
        Address=2001:db8::7/64
        DNS=192.0.2.53
        Domains=example.org

        [Route]
        Destination=0.0.0.0/0
        Gateway=172.31.1.1
        GatewayOnLink=yes

        [Route]
        Destination=::/0
        Gateway=fe80::1
        ");
        insta::assert_snapshot!(resolv_conf(&network), @r"
        search example.org
        nameserver 192.0.2.53
        ");
    }

    #[test]
    fn a_dynamic_address_is_asked_for_again() {
        let address = "10.0.2.15".parse().unwrap();
        let private = Route {
            destination: "10.0.0.0".parse().unwrap(),
            prefix: 8,
            ..default_route("10.0.2.9", false)
        };
        let network = network(
            vec![Address { origin: Origin::Dhcp, ..Address::fixed(address, 24) }],
            vec![default_route("10.0.2.2", false), private],
        );
        insta::assert_snapshot!(networkd(&network, &network.links[0]), @r"
        [Match]
        MACAddress=52:54:00:12:34:56

        [Link]
        MTUBytes=1500

        [Network]
        DHCP=ipv4

        [Route]
        Destination=10.0.0.0/8
        Gateway=10.0.2.9
        ");
    }
}
