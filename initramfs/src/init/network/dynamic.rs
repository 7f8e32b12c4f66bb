//! Asks DHCP servers and routers for a network.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::bail;
use rtnetlink::Handle;
use tokio::time::sleep;

use super::{apply, dhcp};
use crate::init::report::Report;
use crate::network::{Link, Network, Origin, capture};

/// How long a router may take to advertise itself when it is asked: three questions, 4 s apart
/// (RFC 4861 section 10).
const ADVERTISEMENT_LIMIT: Duration = Duration::from_secs(12);
/// Between two looks for what was advertised.
const LOOK: Duration = Duration::from_millis(200);

/// Asks on each link until one has been given an address, of either family. Returns all that there
/// is then. Addresses that the machine had before are asked for first.
pub(super) async fn ask(
    report: &mut Report,
    handle: &Handle,
    names: &[String],
    before: &Network,
) -> anyhow::Result<Network> {
    let mut reasons = Vec::new();
    for name in names {
        accept_advertisements(name);
        // A link that is up already asks no router, and has what did not work on it.
        apply::set_down(handle, name).await?;
        apply::set_up(handle, name).await?;
        apply::wait_for_carrier(report, name)?;
        let had = before.links.iter().flat_map(|link| &link.addresses);
        let had: Vec<_> = had.map(|address| address.address).collect();
        let leased = match dhcp::ask(name, &had) {
            Ok(leased) => leased,
            Err(error) => {
                reasons.push(format!("link {name}: {error:#}"));
                Network::default()
            }
        };
        for link in &leased.links {
            apply::set_mtu(report, handle, link).await?;
            for address in &link.addresses {
                apply::add_address(handle, name, address).await?;
            }
        }
        for route in &leased.routes {
            apply::add_route(report, handle, route).await?;
        }
        let advertised = advertised(handle, name, !leased.links.is_empty()).await?;
        if leased.links.is_empty() && advertised.is_none() {
            continue;
        }
        let network = together(leased, advertised, before);
        for link in &network.links {
            let what = apply::summary(link);
            report.line(&format!("link {name} got {what} by DHCP or from a router"));
        }
        return Ok(network);
    }
    bail!("nobody gave this machine an address: {}", reasons.join("; "))
}

/// Has the kernel do what routers tell it.
fn accept_advertisements(name: &str) {
    for (key, value) in [("accept_ra", "1"), ("autoconf", "1")] {
        // A kernel without IPv6 has none of them.
        let _none = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{key}"), value);
    }
}

/// Waits for what a router advertises; where there is a lease, only what came meanwhile counts.
async fn advertised(handle: &Handle, name: &str, leased: bool) -> anyhow::Result<Option<Network>> {
    let deadline = Instant::now() + ADVERTISEMENT_LIMIT;
    loop {
        let mut network = capture::capture_by(handle).await?.network;
        network.links.retain(|link| link.name == *name);
        network.routes.retain(|route| route.link == *name && route.destination.is_ipv6());
        for link in &mut network.links {
            link.addresses.retain(|address| address.origin == Origin::Ra);
        }
        let given = network.links.iter().any(|link| !link.addresses.is_empty());
        let routed = network.routes.iter().any(crate::network::Route::is_default);
        if given && routed {
            return Ok(Some(network));
        }
        if leased || Instant::now() >= deadline {
            return Ok(None);
        }
        sleep(LOOK).await;
    }
}

/// What was leased and what was advertised on the same link. Resolvers are not the kernel's to
/// hear of: those that the machine had before stay where no lease names any.
fn together(leased: Network, advertised: Option<Network>, before: &Network) -> Network {
    let mut network = leased;
    if let Some(found) = advertised {
        network.routes.extend(found.routes);
        for link in found.links {
            match network.links.first_mut() {
                Some(Link { addresses, .. }) => addresses.extend(link.addresses),
                None => network.links.push(link),
            }
        }
    }
    if network.resolvers.is_empty() {
        network.resolvers.clone_from(&before.resolvers);
        network.search.clone_from(&before.search);
    }
    network
}
