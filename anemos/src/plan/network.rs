//! The network of the deploy environment, and what the new system learns about it.

use contract::network::{Address, Link, Network, Restore, Route};

use crate::config::{NetworkConfig, NetworkMode};
use crate::facts::{Facts, NotCaptured};
use crate::refusal::Refusal;

/// Decides how the deploy environment gets its network.
pub(super) fn restore(
    facts: &Facts,
    config: &NetworkConfig,
    this_machine: bool,
) -> Result<Restore, Refusal> {
    match config.mode {
        NetworkMode::None => Ok(Restore::None),
        NetworkMode::Dhcp => Ok(Restore::Dhcp { macs: config_macs(facts, config)? }),
        NetworkMode::Static => fixed(facts, config, this_machine).map(Restore::Static),
        NetworkMode::Inherit if !this_machine => Err(Refusal::NothingToInherit),
        NetworkMode::Inherit => inherit(facts, config),
    }
}

/// Returns exactly what is running; a lease lasts longer than a deployment takes.
fn inherit(facts: &Facts, config: &NetworkConfig) -> Result<Restore, Refusal> {
    let network = facts.network.in_use();
    match (network.links.is_empty(), facts.not_captured.as_slice()) {
        (true, []) => return Ok(Restore::None),
        (true, others) => return Err(Refusal::NetworkOfLayers { links: in_words(others) }),
        (false, _) => {}
    }
    let is_way_out = |what: &&NotCaptured| matches!(what, NotCaptured::DefaultRoute { .. });
    let lost = in_words(facts.not_captured.iter().filter(is_way_out));
    // The gateway of another default route must answer before anything is written.
    if !lost.is_empty() && !network.routes.iter().any(Route::is_default) {
        return Err(Refusal::WayOutLost { routes: lost });
    }
    Ok(Restore::Static(with_resolvers(network, config)))
}

/// Returns what should be inherited but cannot be recreated.
pub(super) fn not_restored(facts: &Facts, config: &NetworkConfig) -> Vec<String> {
    let inherits = config.mode == NetworkMode::Inherit;
    if inherits { in_words(&facts.not_captured) } else { Vec::new() }
}

fn in_words<'n>(parts: impl IntoIterator<Item = &'n NotCaptured>) -> Vec<String> {
    parts.into_iter().map(ToString::to_string).collect()
}

fn with_resolvers(mut network: Network, config: &NetworkConfig) -> Network {
    if !config.dns.is_empty() {
        network.resolvers.clone_from(&config.dns);
        network.fixed_resolvers = true;
    }
    network
}

/// Returns the MAC address of the configured link; without one, all links are meant.
fn config_macs(facts: &Facts, config: &NetworkConfig) -> Result<Vec<String>, Refusal> {
    config.link.iter().map(|wanted| link_by_name(facts, wanted).map(|(_, mac)| mac)).collect()
}

fn fixed(facts: &Facts, config: &NetworkConfig, this_machine: bool) -> Result<Network, Refusal> {
    let (name, mac) = match &config.link {
        Some(wanted) => link_by_name(facts, wanted)?,
        None if this_machine => only_link(facts)?,
        None => return Err(Refusal::LinkNeeded { seen: Vec::new() }),
    };
    let known = facts.network.links.iter().find(|link| link.name == name && link.mac == mac);
    let address = |one: &crate::config::Prefixed| Address::fixed(one.address, one.prefix);
    let addresses: Vec<_> = config.address.iter().map(address).collect();
    let gateways = config.gateway.iter();
    let routes = gateways.map(|gateway| Route::default_over(&name, *gateway, &addresses)).collect();
    let resolvers = if this_machine { facts.network.resolvers.clone() } else { Vec::new() };
    let mut links = match known {
        // The parts that it is made of come along.
        Some(_) => facts.network.links.clone(),
        None => vec![Link { name: name.clone(), mac, mtu: 1500, ..Link::default() }],
    };
    for link in &mut links {
        link.accepts_ra = false;
        link.addresses = if link.name == name { addresses.clone() } else { Vec::new() };
    }
    let network = Network { links, routes, resolvers, ..Network::default() };
    Ok(with_resolvers(network.in_use(), config))
}

/// Returns name and MAC address of a link, which is named by either of them.
///
/// A MAC address may belong to a link that does not exist now.
fn link_by_name(facts: &Facts, wanted: &str) -> Result<(String, String), Refusal> {
    let mac = wanted.to_lowercase();
    let mut links = facts.network.links.iter();
    if let Some(link) = links.find(|link| link.name == wanted || link.mac == mac) {
        return Ok((link.name.clone(), link.mac.clone()));
    }
    let is_mac = mac.len() == 17 && mac.split(':').all(|part| u8::from_str_radix(part, 16).is_ok());
    if is_mac {
        return Ok(("eth0".to_owned(), mac));
    }
    Err(Refusal::LinkNotFound { wanted: wanted.to_owned(), seen: names(facts) })
}

/// Returns the link that is meant if none is named.
///
/// It is the only link, or else the only one with a default route.
fn only_link(facts: &Facts) -> Result<(String, String), Refusal> {
    let routed = |link: &&Link| {
        facts.network.routes.iter().any(|route| route.prefix == 0 && route.link == link.name)
    };
    let all: Vec<_> = facts.network.links.iter().collect();
    let with_route: Vec<_> = facts.network.links.iter().filter(routed).collect();
    match (all.as_slice(), with_route.as_slice()) {
        ([link], _) | (_, [link]) => Ok((link.name.clone(), link.mac.clone())),
        _ => Err(Refusal::LinkNeeded { seen: names(facts) }),
    }
}

fn names(facts: &Facts) -> Vec<String> {
    facts.network.links.iter().map(|link| link.name.clone()).collect()
}

/// Returns the network for the new system: what was configured, or else what is running.
///
/// What is running is not known for another machine.
pub(super) fn of_new_system(
    running: Option<Network>,
    restore: &Restore,
    config: &NetworkConfig,
) -> Option<Network> {
    match (config.mode, restore) {
        (NetworkMode::Static, Restore::Static(network)) => Some(network.clone()),
        _ => running.map(|network| with_resolvers(network, config)),
    }
}

#[cfg(test)]
mod tests {
    use contract::network::Kind;

    use super::super::Purpose;
    use super::super::tests::{cloud, plan_of};
    use super::*;

    #[test]
    fn a_way_out_that_cannot_be_had_again_is_refused_unless_there_is_another() {
        let mut facts = cloud();
        facts.not_captured.push(NotCaptured::DefaultRoute { over: "team0".to_owned() });
        assert_eq!(plan_of(&facts, "", Purpose::Deploy).undecided, []);
        facts.network.routes.clear();
        let routes = vec!["the default route over team0".to_owned()];
        let refused = plan_of(&facts, "", Purpose::Deploy).undecided;
        assert_eq!(refused, [Refusal::WayOutLost { routes }]);
    }

    #[test]
    fn a_static_address_of_a_vlan_is_not_put_on_the_card_below() {
        let mut facts = cloud();
        let vlan = Link {
            name: "ens3.42".to_owned(),
            kind: Kind::Vlan { over: "ens3".to_owned(), id: 42, service: false },
            ..facts.network.links[0].clone()
        };
        facts.network.links.push(vlan);
        let config = "[network]\nmode = 'static'\nlink = 'ens3.42'\naddress = ['192.0.2.7/24']\n\
                      gateway = ['192.0.2.1']\n";
        let Some(Restore::Static(network)) = plan_of(&facts, config, Purpose::Deploy).restore
        else {
            panic!("it is static");
        };
        insta::assert_snapshot!(network.statements().join("\n"), @"
        link ens3: hardware
        link ens3: MAC address 52:54:00:12:34:56
        link ens3: MTU 1500
        link ens3.42: VLAN 42 over ens3
        link ens3.42: MAC address 52:54:00:12:34:56
        link ens3.42: MTU 1500
        address 192.0.2.7/24 on ens3.42
        route 0.0.0.0/0 by 192.0.2.1 on ens3.42
        resolver 1: 10.0.2.3
        ");
    }
}
