//! Restores links, addresses, routes and resolvers.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, bail};
use futures::TryStreamExt;
use nix::poll::{PollTimeout, poll};
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteHeader, RouteScope};
use rtnetlink::{Handle, LinkUnspec, RouteMessageBuilder};

use super::dhcp;
use super::report::Report;
use super::uevents::Uevents;
use crate::network::{Link, Network, Restore, Route};

/// How long a link may take to appear after its driver was loaded.
const LINK_LIMIT: Duration = Duration::from_mins(1);
/// How long a link may take from up to a carrier, spanning tree included.
const CARRIER_LIMIT: Duration = Duration::from_secs(30);

/// Does what the deploy description says about the network. Returns what DHCP said.
pub(super) fn restore(report: &mut Report, restore: &Restore) -> anyhow::Result<Option<Network>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the netlink client")?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("opening a netlink socket")?;
        tokio::spawn(connection);
        set_up(&handle, "lo").await?;
        match restore {
            Restore::None => Ok(None),
            Restore::Static(network) => {
                restore_static(report, &handle, network).await.map(|()| None)
            }
            Restore::Dhcp { macs } => restore_by_dhcp(report, &handle, macs).await.map(Some),
        }
    })
}

/// Restores all links with their addresses first, then the routes. What the default routes need
/// must be there; a link that leads elsewhere may be missing, and is said to be.
async fn restore_static(
    report: &mut Report,
    handle: &Handle,
    network: &Network,
) -> anyhow::Result<()> {
    let mut names = Vec::new();
    for link in &network.links {
        let name = match wait_for_link(&link.mac) {
            Ok(name) => name,
            Err(error) if !is_needed(network, link) => {
                report.line(&format!("going on without link {}: {error:#}", link.name));
                continue;
            }
            Err(error) => return Err(error),
        };
        add_addresses(handle, &name, link).await?;
        names.push((name, link));
    }
    for (name, link) in &names {
        add_routes(report, handle, name, link, network).await?;
        if is_needed(network, link) {
            wait_for_carrier(report, name)?;
        }
        report.line(&format!("link {name} has {}", summary(link)));
    }
    write_resolvers(network)
}

/// Whether a default route leads over a link, or there is no other link.
fn is_needed(network: &Network, link: &Link) -> bool {
    let leads = |route: &Route| route.prefix == 0 && route.link == link.name;
    network.links.len() == 1 || network.routes.iter().any(leads)
}

fn summary(link: &Link) -> String {
    let addresses: Vec<_> =
        link.addresses.iter().map(|a| format!("{}/{}", a.address, a.prefix)).collect();
    if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") }
}

async fn restore_by_dhcp(
    report: &mut Report,
    handle: &Handle,
    macs: &[String],
) -> anyhow::Result<Network> {
    let mut names = Vec::new();
    for mac in macs {
        names.push(wait_for_link(mac)?);
    }
    if names.is_empty() {
        names = wait_for_any_link()?;
    }
    let mut last = None;
    for name in &names {
        set_up(handle, name).await?;
        wait_for_carrier(report, name)?;
        match dhcp::ask(name) {
            Ok(network) => {
                for link in &network.links {
                    add_addresses(handle, name, link).await?;
                    add_routes(report, handle, name, link, &network).await?;
                    report.line(&format!("link {name} got {} by DHCP", summary(link)));
                }
                write_resolvers(&network)?;
                return Ok(network);
            }
            Err(error) => last = Some(error.context(format!("asking for an address on {name}"))),
        }
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("there is no link to ask for an address on")))
}

/// Sets the link called `name` here up and gives it the addresses of `link`.
async fn add_addresses(handle: &Handle, name: &str, link: &Link) -> anyhow::Result<()> {
    let index = index_of(handle, name).await?;
    let up = LinkUnspec::new_with_index(index).mtu(link.mtu).up().build();
    handle.link().set(up).execute().await.with_context(|| format!("setting up link {name}"))?;
    for address in &link.addresses {
        let request = handle.address().add(index, address.address, address.prefix).replace();
        request
            .execute()
            .await
            .with_context(|| format!("adding {}/{} to {name}", address.address, address.prefix))?;
    }
    Ok(())
}

/// Adds the routes that lead over `link`. A default route must be accepted; another one that is
/// not is said and left out.
async fn add_routes(
    report: &mut Report,
    handle: &Handle,
    name: &str,
    link: &Link,
    network: &Network,
) -> anyhow::Result<()> {
    let index = index_of(handle, name).await?;
    let mut routes: Vec<_> =
        network.routes.iter().filter(|route| route.link == link.name).collect();
    // Routes to what is on the link come first: gateways may be reachable by them only.
    routes.sort_by_key(|route| route.gateway.is_some());
    for route in routes {
        let to = format!("{}/{}", route.destination, route.prefix);
        match add_route(handle, index, route).await {
            Ok(()) => {}
            Err(error) if route.prefix == 0 => {
                return Err(error).with_context(|| format!("adding the route to {to}"));
            }
            Err(error) => report.line(&format!("going on without the route to {to}: {error:#}")),
        }
    }
    Ok(())
}

/// Waits until the link has a carrier: network cards of servers need seconds after they are up.
/// A link that stays without one is said to; whether it was needed, whoever uses it finds out.
fn wait_for_carrier(report: &mut Report, name: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + CARRIER_LIMIT;
    let path = format!("/sys/class/net/{name}/carrier");
    while fs::read_to_string(&path).is_ok_and(|text| text.trim() != "1") {
        if Instant::now() >= deadline {
            report.line(&format!("link {name} has no carrier"));
            break;
        }
        // There is no event for it in sysfs; this is the pause between two looks.
        poll(&mut [], PollTimeout::from(100_u8)).context("waiting for the carrier")?;
    }
    Ok(())
}

async fn add_route(handle: &Handle, index: u32, route: &Route) -> anyhow::Result<()> {
    let mut message = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(route.destination, route.prefix)
        .context("reading the destination")?
        .output_interface(index)
        .table_id(u32::from(RouteHeader::RT_TABLE_MAIN));
    message = match route.gateway {
        Some(gateway) => message.gateway(gateway).context("reading the gateway")?,
        None => message.scope(RouteScope::Link),
    };
    if route.on_link {
        message = message.onlink();
    }
    if let Some(metric) = route.metric {
        message = message.priority(metric);
    }
    if let Some(source) = route.source {
        message = message.pref_source(source).context("reading the source address")?;
    }
    Ok(handle.route().add(message.build()).replace().execute().await?)
}

async fn set_up(handle: &Handle, name: &str) -> anyhow::Result<()> {
    let index = index_of(handle, name).await?;
    let up = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(up).execute().await.with_context(|| format!("setting up link {name}"))
}

async fn index_of(handle: &Handle, name: &str) -> anyhow::Result<u32> {
    let mut links = handle.link().get().execute();
    while let Some(link) = links.try_next().await.context("listing links")? {
        if link.attributes.contains(&LinkAttribute::IfName(name.to_owned())) {
            return Ok(link.header.index);
        }
    }
    bail!("link {name} is not there")
}

/// Waits for the link with a MAC address and returns its name here.
fn wait_for_link(mac: &str) -> anyhow::Result<String> {
    wait(&format!("the link with the MAC address {mac}"), || {
        Ok(physical_links()?.into_iter().find(|(_, seen)| seen == mac).map(|(name, _)| name))
    })
}

fn wait_for_any_link() -> anyhow::Result<Vec<String>> {
    wait("any physical link", || {
        let names: Vec<_> = physical_links()?.into_iter().map(|(name, _)| name).collect();
        Ok((!names.is_empty()).then_some(names))
    })
}

fn wait<T>(what: &str, look: impl Fn() -> io::Result<Option<T>>) -> anyhow::Result<T> {
    let uevents = Uevents::subscribe().context("subscribing to device events")?;
    let deadline = Instant::now() + LINK_LIMIT;
    loop {
        if let Some(found) = look().with_context(|| format!("looking for {what}"))? {
            return Ok(found);
        }
        if !uevents.wait(deadline)? {
            bail!("{what} did not appear within {} s", LINK_LIMIT.as_secs());
        }
    }
}

/// Names and MAC addresses of links that belong to a device. A link that is part of another one
/// is left out: on Hyper-V both have the same MAC address, and only the other one has addresses.
fn physical_links() -> io::Result<Vec<(String, String)>> {
    let mut links = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mac = fs::read_to_string(path.join("address")).unwrap_or_default();
        let is_whole = path.join("device").exists() && !path.join("master").exists();
        if let (true, Some(name)) = (is_whole, name) {
            links.push((name, mac.trim().to_lowercase()));
        }
    }
    links.sort();
    Ok(links)
}

fn write_resolvers(network: &Network) -> anyhow::Result<()> {
    let text = crate::network::files::resolv_conf(network);
    fs::write(Path::new("/etc/resolv.conf"), text).context("writing /etc/resolv.conf")
}
