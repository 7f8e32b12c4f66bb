//! Proves that the network works as far as the next hop: links have carriers, a gateway answers.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use nix::poll::{PollTimeout, poll};
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, RouteMessageBuilder};

/// How long a gateway may take to say who it is.
const LIMIT: Duration = Duration::from_secs(15);
/// Discard (RFC 863): what is sent there only has the kernel look for the next hop.
const PORT: u16 = 9;

/// A link with its addresses.
#[derive(Debug)]
struct Addressed {
    name: String,
    index: u32,
    addresses: Vec<String>,
}

/// A next hop of a default route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Gateway {
    address: IpAddr,
    /// Index of its link.
    link: u32,
}

/// Returns links, addresses and gateways, for people. An error where a link that a default route
/// leads over has no carrier, or no gateway at all answers. Without a default route, any carrier
/// will do.
pub(super) fn prove() -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the netlink client")?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("opening a netlink socket")?;
        tokio::spawn(connection);
        let links = addressed()?;
        let four = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let six = RouteMessageBuilder::<Ipv6Addr>::new().build();
        let mut gateways = default_gateways(&handle, four).await?;
        gateways.extend(default_gateways(&handle, six).await?);
        check_carriers(&links, &gateways, has_carrier)?;
        let answering = wait_for_gateways(&handle, &gateways).await?;
        Ok(render(&links, &gateways, &answering))
    })
}

/// The links that have addresses which others may reach, or that are at least up for one.
fn addressed() -> anyhow::Result<Vec<Addressed>> {
    let mut links: Vec<Addressed> = Vec::new();
    for one in nix::ifaddrs::getifaddrs().context("listing addresses")? {
        let Some(address) = one.address else { continue };
        let four = address.as_sockaddr_in().map(|four| IpAddr::V4(four.ip()));
        let Some(address) = four.or(address.as_sockaddr_in6().map(|six| IpAddr::V6(six.ip())))
        else {
            continue;
        };
        let name = one.interface_name;
        let linked = matches!(address, IpAddr::V6(six) if six.is_unicast_link_local());
        if name == "lo" || linked {
            continue;
        }
        let index = nix::net::if_::if_nametoindex(name.as_str()).context("finding a link")?;
        match links.iter_mut().find(|link| link.name == name) {
            Some(link) => link.addresses.push(address.to_string()),
            None => links.push(Addressed { name, index, addresses: vec![address.to_string()] }),
        }
    }
    Ok(links)
}

/// The gateways of default routes, among what is answered to a request.
async fn default_gateways(handle: &Handle, request: RouteMessage) -> anyhow::Result<Vec<Gateway>> {
    let mut found = Vec::new();
    let mut routes = handle.route().get(request).execute();
    while let Some(route) = routes.try_next().await.context("listing routes")? {
        found.extend(gateway_of(&route).filter(|gateway| !found.contains(gateway)));
    }
    Ok(found)
}

fn gateway_of(route: &RouteMessage) -> Option<Gateway> {
    let is_default = route.header.destination_prefix_length == 0;
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(four)) => Some(IpAddr::V4(*four)),
        RouteAttribute::Gateway(RouteAddress::Inet6(six)) => Some(IpAddr::V6(*six)),
        _ => None,
    });
    let link = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(link) => Some(*link),
        _ => None,
    });
    let (true, Some(address), Some(link)) = (is_default, address, link) else { return None };
    Some(Gateway { address, link })
}

/// Without a carrier, sysfs says 0, or nothing of a link that is down.
fn has_carrier(link: &Addressed) -> bool {
    let path = format!("/sys/class/net/{}/carrier", link.name);
    fs::read_to_string(path).is_ok_and(|text| text.trim() == "1")
}

fn check_carriers(
    links: &[Addressed],
    gateways: &[Gateway],
    has_carrier: impl Fn(&Addressed) -> bool,
) -> anyhow::Result<()> {
    let needed = |link: &&Addressed| gateways.iter().any(|gateway| gateway.link == link.index);
    let mut dead = links.iter().filter(|link| !has_carrier(link));
    if let Some(link) = dead.clone().find(needed) {
        bail!("link {} has no carrier, and a default route leads over it", link.name);
    }
    match dead.next() {
        Some(link) if gateways.is_empty() && !links.iter().any(has_carrier) => {
            bail!("link {} has no carrier, and neither has any other", link.name)
        }
        None if links.is_empty() => bail!("no link has an address"),
        _ => Ok(()),
    }
}

/// Waits until all gateways answer, or some of them after a while. None is an error.
async fn wait_for_gateways(handle: &Handle, gateways: &[Gateway]) -> anyhow::Result<Vec<Gateway>> {
    let deadline = Instant::now() + LIMIT;
    loop {
        gateways.iter().for_each(knock);
        // There is no event without a subscription; this is the pause between two looks.
        poll(&mut [], PollTimeout::from(250_u8)).context("waiting for the gateway")?;
        let known = neighbours(handle).await?;
        let answering: Vec<_> =
            gateways.iter().copied().filter(|gateway| known.contains(gateway)).collect();
        if answering.len() == gateways.len() {
            return Ok(answering);
        }
        if Instant::now() >= deadline {
            if answering.is_empty() {
                let silent: Vec<_> = gateways.iter().map(|it| it.address.to_string()).collect();
                bail!("no gateway answers within {} s: {}", LIMIT.as_secs(), silent.join(", "));
            }
            return Ok(answering);
        }
    }
}

/// Has the kernel look for a gateway; what comes of it, the table of neighbours tells.
fn knock(gateway: &Gateway) {
    let (any, to): (SocketAddr, SocketAddr) = match gateway.address {
        IpAddr::V4(four) => ((Ipv4Addr::UNSPECIFIED, 0).into(), (four, PORT).into()),
        IpAddr::V6(six) => (
            (Ipv6Addr::UNSPECIFIED, 0).into(),
            SocketAddrV6::new(six, PORT, 0, gateway.link).into(),
        ),
    };
    // A refusal is the same as silence.
    let _unsent = UdpSocket::bind(any).and_then(|socket| socket.send_to(&[0], to));
}

/// The neighbours whose link layer address is known, or that need none.
async fn neighbours(handle: &Handle) -> anyhow::Result<Vec<Gateway>> {
    let mut found = Vec::new();
    let mut neighbours = handle.neighbours().get().execute();
    while let Some(one) = neighbours.try_next().await.context("listing neighbours")? {
        use NeighbourState::{Delay, Noarp, Permanent, Probe, Reachable, Stale};
        let address = one.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(four)) => {
                Some(IpAddr::V4(*four))
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(six)) => Some(IpAddr::V6(*six)),
            _ => None,
        });
        let known =
            matches!(one.header.state, Reachable | Stale | Delay | Probe | Permanent | Noarp);
        let known = address.filter(|_| known);
        found.extend(known.map(|address| Gateway { address, link: one.header.ifindex }));
    }
    Ok(found)
}

fn render(links: &[Addressed], gateways: &[Gateway], answering: &[Gateway]) -> String {
    let links = links.iter().map(|link| format!("{} has {}", link.name, link.addresses.join(", ")));
    let gateways = gateways.iter().map(|gateway| {
        let says = if answering.contains(gateway) { "answers" } else { "DOES NOT ANSWER" };
        format!("gateway {} {says}", gateway.address)
    });
    links.chain(gateways).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Links `eth1`, `eth2`; those that a digit of `dead` names have no carrier, and default routes
    /// lead over those of `routed`.
    fn carriers(routed: &[u32], dead: &[u32]) -> String {
        let link = |index| Addressed {
            name: format!("eth{index}"),
            index,
            addresses: vec![format!("192.0.2.{index}")],
        };
        let gateway = |link: &u32| Gateway { address: IpAddr::from([192, 0, 2, 254]), link: *link };
        let gateways: Vec<_> = routed.iter().map(gateway).collect();
        let checked =
            check_carriers(&[link(1), link(2)], &gateways, |link| !dead.contains(&link.index));
        checked.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_link_that_a_default_route_leads_over_needs_its_carrier() {
        for (routed, dead, want) in [
            (&[1][..], &[][..], ""),
            (&[1], &[2], ""),
            (&[1], &[1], "link eth1 has no carrier, and a default route leads over it"),
            (&[1, 2], &[2], "link eth2 has no carrier, and a default route leads over it"),
            (&[], &[1], ""),
            (&[], &[1, 2], "link eth1 has no carrier, and neither has any other"),
        ] {
            assert_eq!(carriers(routed, dead), want, "{routed:?} {dead:?}");
        }
    }

    #[test]
    fn a_silent_gateway_is_told_beside_one_that_answers() {
        let link =
            Addressed { name: "eth0".into(), index: 2, addresses: vec!["192.0.2.1".to_owned()] };
        let good = Gateway { address: "192.0.2.254".parse().unwrap(), link: 2 };
        let silent = Gateway { address: "fe80::1".parse().unwrap(), link: 2 };
        assert_eq!(
            render(&[link], &[good, silent], &[good]),
            "eth0 has 192.0.2.1; gateway 192.0.2.254 answers; gateway fe80::1 DOES NOT ANSWER"
        );
    }
}
