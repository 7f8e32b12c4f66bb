//! Finds the network cards of the running system again, to give them their names.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, bail};
use rtnetlink::{Handle, LinkUnspec};

use super::apply;
use crate::init::report::Report;
use crate::init::uevents::Uevents;
use contract::network::{Link, Network, capture};

/// How long all links may take to appear after their drivers were loaded.
const LIMIT: Duration = Duration::from_mins(1);

/// A network card as it is here.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Card {
    name: String,
    mac: String,
    device: Option<String>,
}

/// Waits for the cards of a network, and returns it with the names that links have here.
///
/// They get their old names if possible. What the default routes need must exist; a card that leads
/// elsewhere may be missing, which is reported.
pub(super) async fn find(
    report: &mut Report,
    handle: &Handle,
    network: &Network,
) -> anyhow::Result<Network> {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    let deadline = Instant::now() + LIMIT;
    for link in network.links.iter().filter(|link| link.kind.is_hardware()) {
        match wait_for(link, deadline) {
            Ok(card) => {
                if card.mac != link.mac {
                    report.line(&format!(
                        "link {} has another MAC address, {}, but is where it was",
                        link.name, card.mac
                    ));
                }
                found.push((card, link));
            }
            Err(error) if !is_needed(network, link) => {
                report.line(&format!("going on without link {}: {error:#}", link.name));
                missing.push(link.name.clone());
            }
            Err(error) => return Err(error),
        }
    }
    let names = rename(report, handle, &found).await?;
    let mut network = network.clone();
    network.links.retain(|link| !missing.contains(&link.name));
    network.routes.retain(|route| !missing.contains(&route.link));
    network.neighbours.retain(|neighbour| !missing.contains(&neighbour.link));
    Ok(network.renamed(&names))
}

/// Returns whether a default route leads over a link, or there is no other link.
fn is_needed(network: &Network, link: &Link) -> bool {
    let cards = network.links.iter().filter(|link| link.kind.is_hardware()).count();
    cards == 1 || apply::leads_out(network, link)
}

/// Waits for a card, which is known by its MAC address.
///
/// If that has changed, as with virtual functions at every boot, or if several cards have the same,
/// the card is known by its device.
fn wait_for(link: &Link, deadline: Instant) -> anyhow::Result<Card> {
    let what = format!("the link with the MAC address {}", link.mac);
    match wait(&what, deadline, || Ok(by_mac(&cards()?, link))) {
        Ok(card) => Ok(card),
        Err(error) => match cards().ok().and_then(|cards| by_device(&cards, link)) {
            Some(card) => Ok(card),
            None => Err(error),
        },
    }
}

fn by_mac(cards: &[Card], link: &Link) -> Option<Card> {
    let same: Vec<_> = cards.iter().filter(|card| card.mac == link.mac).collect();
    match same.as_slice() {
        [card] => Some((*card).clone()),
        several => {
            several.iter().find(|card| card.device == link.device).map(|card| (*card).clone())
        }
    }
}

fn by_device(cards: &[Card], link: &Link) -> Option<Card> {
    let device = link.device.as_ref()?;
    cards.iter().find(|card| card.device.as_ref() == Some(device)).cloned()
}

/// Returns the names of the cards with these MAC addresses, or of all cards if none is given.
pub(super) fn names(macs: &[String]) -> anyhow::Result<Vec<String>> {
    let deadline = Instant::now() + LIMIT;
    if macs.is_empty() {
        return wait("any physical link", deadline, || {
            let names: Vec<_> = cards()?.into_iter().map(|card| card.name).collect();
            Ok((!names.is_empty()).then_some(names))
        });
    }
    let of = |mac: &String| {
        wait(&format!("the link with the MAC address {mac}"), deadline, || {
            Ok(cards()?.into_iter().find(|card| card.mac == *mac).map(|card| card.name))
        })
    };
    macs.iter().map(of).collect()
}

fn wait<T>(
    what: &str,
    deadline: Instant,
    look: impl Fn() -> io::Result<Option<T>>,
) -> anyhow::Result<T> {
    let uevents = Uevents::subscribe().context("subscribing to device events")?;
    loop {
        if let Some(found) = look().with_context(|| format!("looking for {what}"))? {
            return Ok(found);
        }
        if !uevents.wait(deadline)? {
            bail!("{what} did not appear within {} s", LIMIT.as_secs());
        }
    }
}

/// Returns the links that belong to a device.
///
/// A link that is part of another one is left out: on Hyper-V both have the same MAC address, and
/// only the other one has addresses.
fn cards() -> io::Result<Vec<Card>> {
    let mut cards = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let mac = fs::read_to_string(path.join("address")).unwrap_or_default();
        let is_whole = path.join("device").exists() && !path.join("master").exists();
        if let (true, Some(name)) = (is_whole, name) {
            let device = capture::device_of(Path::new("/"), &name);
            cards.push(Card { name, mac: mac.trim().to_lowercase(), device });
        }
    }
    cards.sort_by(|one, two| one.name.cmp(&two.name));
    Ok(cards)
}

/// Gives cards their old names, and returns the names of those that keep another one.
///
/// Names may have been exchanged, so all are given up before any is taken.
async fn rename(
    report: &mut Report,
    handle: &Handle,
    found: &[(Card, &Link)],
) -> anyhow::Result<BTreeMap<String, String>> {
    let mut names: BTreeMap<String, String> =
        found.iter().map(|(card, link)| (link.name.clone(), card.name.clone())).collect();
    let moving: Vec<_> = found.iter().filter(|(card, link)| card.name != link.name).collect();
    let mut indices = Vec::new();
    for (number, (card, link)) in moving.iter().enumerate() {
        let index = apply::index_of(handle, &card.name).await?;
        if set_name(handle, index, &format!("anemos{number}")).await.is_ok() {
            names.insert(link.name.clone(), format!("anemos{number}"));
            indices.push((index, card.name.clone(), *link));
        }
    }
    for (number, (index, before, link)) in indices.into_iter().enumerate() {
        if let Ok(other) = apply::index_of(handle, &link.name).await {
            // A card that the running system did not use has the name.
            let _taken = set_name(handle, other, &format!("other{number}")).await;
        }
        match set_name(handle, index, &link.name).await {
            Ok(()) => {
                names.insert(link.name.clone(), link.name.clone());
                report.line(&format!("link {} was {before} until now", link.name));
            }
            Err(error) => report.line(&format!("link {} keeps another name: {error}", link.name)),
        }
    }
    Ok(names)
}

async fn set_name(handle: &Handle, index: u32, name: &str) -> Result<(), rtnetlink::Error> {
    handle.link().set(LinkUnspec::new_with_index(index).name(name).build()).execute().await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(name: &str, mac: &str, device: &str) -> Card {
        Card { name: name.to_owned(), mac: mac.to_owned(), device: Some(device.to_owned()) }
    }

    #[test]
    fn a_card_is_known_by_its_address_and_by_its_place_where_that_does_not_tell() {
        let link = |mac: &str, device: &str| Link {
            mac: mac.to_owned(),
            device: Some(device.to_owned()),
            ..Link::default()
        };
        let cards = [card("eth0", "aa", "1"), card("eth1", "bb", "2"), card("eth2", "bb", "3")];
        for (mac, device, want_by_mac, want_by_device) in [
            ("aa", "9", Some("eth0"), None),
            ("aa", "2", Some("eth0"), Some("eth1")),
            ("bb", "3", Some("eth2"), Some("eth2")),
            ("bb", "9", None, None),
            ("cc", "1", None, Some("eth0")),
        ] {
            let name = |card: Option<Card>| card.map(|card| card.name);
            let link = link(mac, device);
            assert_eq!(name(by_mac(&cards, &link)).as_deref(), want_by_mac, "{mac} {device}");
            assert_eq!(name(by_device(&cards, &link)).as_deref(), want_by_device, "{mac} {device}");
        }
    }
}
