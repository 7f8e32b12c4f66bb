//! Captures the network from the kernel by rtnetlink; nothing is decided here.

mod links;
mod routes;
mod rules;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use anyhow::Context;
use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressMessage;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteMessage;
use rtnetlink::packet_route::rule::RuleMessage;
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use super::{Neighbour, Network};

/// How the note about a lost way out of the main table begins.
pub const LOST_DEFAULT: &str = "the default route over ";

/// A network as it was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Captured {
    /// The part of it that can be recreated; the kernel knows nothing about resolvers.
    pub network: Network,
    /// Everything else that was found, each item in a few words.
    pub left_out: Vec<String>,
}

/// What the kernel answered.
#[derive(Debug, Default)]
struct Answers {
    links: Vec<LinkMessage>,
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
    rules: Vec<RuleMessage>,
    neighbours: Vec<NeighbourMessage>,
}

/// Captures the network of the system whose `/sys` lies below `root`.
pub fn capture(root: &Path) -> anyhow::Result<Captured> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answers = runtime.context("starting a runtime")?.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = tokio::spawn(connection);
        let answers = ask(&handle).await;
        connection.abort();
        answers
    });
    let answers = answers.context("asking the kernel for links, addresses and routes")?;
    Ok(put_together(&answers, |name| device_of(root, name)))
}

/// Captures the network over a connection that already exists.
pub async fn capture_by(handle: &Handle) -> anyhow::Result<Captured> {
    let answers = ask(handle).await.context("asking the kernel for its network")?;
    Ok(put_together(&answers, |name| device_of(Path::new("/"), name)))
}

/// Returns the device of a link below `/sys/devices`; virtual links have none.
pub fn device_of(root: &Path, name: &str) -> Option<String> {
    let device = root.join("sys/class/net").join(name).join("device").canonicalize().ok()?;
    let devices = root.join("sys/devices").canonicalize().ok()?;
    Some(device.strip_prefix(devices).ok()?.display().to_string())
}

async fn ask(handle: &Handle) -> anyhow::Result<Answers> {
    Ok(Answers {
        links: handle.link().get().execute().try_collect().await?,
        addresses: handle.address().get().execute().try_collect().await?,
        routes: routes_of_both_families(handle).await?,
        rules: rules_of_both_families(handle).await?,
        neighbours: handle.neighbours().get().execute().try_collect().await?,
    })
}

async fn routes_of_both_families(handle: &Handle) -> anyhow::Result<Vec<RouteMessage>> {
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    let mut routes: Vec<_> = handle.route().get(v4).execute().try_collect().await?;
    // A kernel without IPv6 answers with an error, which means that it has no such routes.
    if let Ok(more) = handle.route().get(v6).execute().try_collect::<Vec<_>>().await {
        routes.extend(more);
    }
    Ok(routes)
}

/// Reads the rules; a kernel without policy routing answers with an error, so has none.
async fn rules_of_both_families(handle: &Handle) -> anyhow::Result<Vec<RuleMessage>> {
    let mut rules = Vec::new();
    for family in [IpVersion::V4, IpVersion::V6] {
        if let Ok(more) = handle.rule().get(family).execute().try_collect::<Vec<_>>().await {
            rules.extend(more);
        }
    }
    Ok(rules)
}

/// Combines the answers; `device` returns the device of a link by its name.
fn put_together(answers: &Answers, device: impl Fn(&str) -> Option<String>) -> Captured {
    let found = links::read(&answers.links, &answers.addresses, device);
    let all_names = links::names(&answers.links);
    let mut network = Network { links: found.all, ..Network::default() };
    let mut left_out = found.left_out;
    network.routes = routes::read(&answers.routes, &found.names, &network.links, &mut left_out);
    left_out.extend(routes::lost_defaults(&answers.routes, &found.names, &all_names));
    network.rules = rules::read(&answers.rules, &mut left_out);
    let neighbours = answers.neighbours.iter();
    network.neighbours =
        neighbours.filter_map(|message| neighbour(message, &found.names)).collect();
    Captured { network, left_out }
}

/// Reads a neighbour that was set by hand.
fn neighbour(message: &NeighbourMessage, names: &BTreeMap<u32, String>) -> Option<Neighbour> {
    if message.header.state != NeighbourState::Permanent {
        return None;
    }
    let link = names.get(&message.header.ifindex)?.clone();
    let (mut address, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(four)) => {
                address = Some((*four).into());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(six)) => {
                address = Some((*six).into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = Some(links::mac_text(bytes)),
            _ => {}
        }
    }
    Some(Neighbour { link, address: address?, mac: mac? })
}

#[cfg(test)]
mod tests;
