//! Asks DHCP servers and routers for a network.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::bail;
use rtnetlink::Handle;
use tokio::time::sleep;

use super::{apply, dhcp};
use crate::init::report::Report;
use contract::network::{Link, Network, Origin, capture};

/// How long a router may take to advertise itself when it is asked.
///
/// That is three questions, 4 s apart (RFC 4861 section 10).
const ADVERTISEMENT_LIMIT: Duration = Duration::from_secs(12);
/// Time between two looks for advertisements or carriers.
const LOOK: Duration = Duration::from_millis(200);
/// How long other cards may take to get a carrier after the first one has.
///
/// Which of them is asked first must not depend on which is faster.
const OTHERS: Duration = Duration::from_secs(5);
/// Values of `accept_ra` and `autoconf` (Linux, `networking/ip-sysctl`).
///
/// A link that is up only to look for its carrier gets no address.
const ACCEPTED: &str = "1";
const IGNORED: &str = "0";

/// Asks on each link that has a carrier until one has got an address, of either family.
///
/// Returns everything that exists then. Addresses that the machine had before are requested first.
pub(super) async fn ask(
    report: &mut Report,
    handle: &Handle,
    names: &[String],
    before: &Network,
) -> anyhow::Result<Network> {
    let mut reasons = Vec::new();
    let mut open = Vec::new();
    for name in names {
        set_advertisements(name, IGNORED);
        // Only a link that is up knows.
        match apply::set_up(handle, name).await {
            Ok(()) => open.push(name.clone()),
            Err(error) => reasons.push(format!("link {name}: {error:#}")),
        }
    }
    let deadline = Instant::now() + apply::CARRIER_LIMIT;
    loop {
        let (ready, without) = connected(&open, deadline, apply::has_carrier).await;
        if ready.is_empty() {
            reasons.extend(without.iter().map(|name| format!("link {name} has no carrier")));
            bail!("nobody gave this machine an address: {}", reasons.join("; "));
        }
        for name in ready {
            match ask_on(report, handle, &name, before).await {
                Ok(network) => return Ok(network),
                Err(error) => reasons.push(format!("link {name}: {error:#}")),
            }
        }
        // One of them may have been slow.
        open = without;
    }
}

/// Splits links into those with a carrier and those without one.
///
/// It waits until all have one, until the deadline, or until the others had their time after the
/// first one.
async fn connected(
    links: &[String],
    deadline: Instant,
    has_carrier: impl Fn(&str) -> bool,
) -> (Vec<String>, Vec<String>) {
    let mut until = deadline;
    loop {
        let now = Instant::now();
        let (with, without): (Vec<_>, Vec<_>) =
            links.iter().cloned().partition(|name| has_carrier(name));
        if without.is_empty() || now >= until {
            return (with, without);
        }
        if until == deadline && !with.is_empty() {
            until = deadline.min(now + OTHERS);
        }
        sleep(LOOK).await;
    }
}

async fn ask_on(
    report: &mut Report,
    handle: &Handle,
    name: &str,
    before: &Network,
) -> anyhow::Result<Network> {
    set_advertisements(name, ACCEPTED);
    // A link that is already up asks no router, and still has what did not work on it.
    apply::set_down(handle, name).await?;
    apply::set_up(handle, name).await?;
    apply::wait_for_carrier(report, name, Instant::now() + apply::CARRIER_LIMIT)?;
    let had = before.links.iter().flat_map(|link| &link.addresses);
    let had: Vec<_> = had.map(|address| address.address).collect();
    let lease = dhcp::ask(name, &had);
    let given = lease.iter().flat_map(|lease| &lease.links);
    for link in given {
        apply::set_mtu(report, handle, link).await?;
        for address in &link.addresses {
            apply::add_address(handle, name, address).await?;
        }
    }
    for route in lease.iter().flat_map(|lease| &lease.routes) {
        apply::add_route(report, handle, route).await?;
    }
    let advertised = advertised(handle, name, lease.is_ok()).await?;
    let leased = match lease {
        Err(error) if advertised.is_none() => return Err(error),
        // What a router advertises is enough.
        lease => lease.unwrap_or_default(),
    };
    let network = together(leased, advertised, before);
    for link in &network.links {
        let what = apply::summary(link);
        report.line(&format!("link {name} got {what} by DHCP or from a router"));
    }
    Ok(network)
}

/// Sets whether the kernel accepts what routers advertise on a link.
fn set_advertisements(name: &str, value: &str) {
    for key in ["accept_ra", "autoconf"] {
        // A kernel without IPv6 has none of them.
        let _none = fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{key}"), value);
    }
}

/// Waits for what a router advertises; with a lease, only what has arrived meanwhile counts.
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
        let routed = network.routes.iter().any(contract::network::Route::is_default);
        if given && routed {
            return Ok(Some(network));
        }
        if leased || Instant::now() >= deadline {
            return Ok(None);
        }
        sleep(LOOK).await;
    }
}

/// Combines what was leased and what was advertised on the same link.
///
/// The kernel does not learn of resolvers, so those that the machine had before stay if no lease
/// names any.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_without_a_carrier_are_not_asked_and_the_others_stay_in_order() {
        let links = ["eth0", "eth1", "eth2", "eth3"].map(str::to_owned);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (plugged, want) in [
            (&["eth3", "eth1"][..], "eth1 eth3, not eth0 eth2"),
            (&["eth0", "eth1", "eth2", "eth3"], "eth0 eth1 eth2 eth3, not "),
            (&[], ", not eth0 eth1 eth2 eth3"),
        ] {
            let has = |name: &str| plugged.contains(&name);
            let (with, without) = runtime.block_on(connected(&links, Instant::now(), has));
            assert_eq!(format!("{}, not {}", with.join(" "), without.join(" ")), want);
        }
    }
}
