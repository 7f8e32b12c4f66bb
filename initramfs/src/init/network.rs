//! Gives the deploy environment a network that is proved to work before anything is written.
//!
//! The first attempt is exactly what the running system had; if that does not work and part of it
//! came from DHCP servers or routers, they are asked again. One family of addresses that works is
//! enough.

mod apply;
mod dhcp;
mod dynamic;
mod hardware;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use rtnetlink::Handle;

use super::report::Report;
use contract::attempt::Mode;
use contract::deploy::Deploy;
use contract::network::proof::{Answer, Judgement, Patience, Subject, ask_all, subjects};
use contract::network::{Address, Network, Origin, Restore, capture};

/// The network of the deploy environment, with what is known about it.
#[derive(Debug, Default)]
pub(super) struct Restored {
    /// The present network, if DHCP servers or routers were asked for it.
    pub(super) network: Option<Network>,
    /// What was proved, for people.
    pub(super) proved: String,
    /// DHCP servers that contradict it, each with an address that another server gave a link.
    contradicting: Vec<(IpAddr, Ipv4Addr)>,
}

impl Restored {
    /// Returns a result without a working network.
    fn nothing(why: impl Into<String>) -> Self {
        Self { proved: why.into(), ..Self::default() }
    }

    /// Makes the new system ignore DHCP servers that contradict its network.
    pub(super) fn reject_servers(&self, network: &mut Network) {
        for link in &mut network.links {
            let here = |(given, _): &&(IpAddr, Ipv4Addr)| {
                link.addresses.iter().any(|address| address.address == *given)
            };
            let servers = self.contradicting.iter().filter(here).map(|(_, server)| *server);
            link.rejected_servers = servers.collect();
        }
    }
}

/// Does what the deploy description says about the network.
pub(super) fn restore(report: &mut Report, deploy: &Deploy) -> anyhow::Result<Restored> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("starting the netlink client")?;
    runtime.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("opening a netlink socket")?;
        tokio::spawn(connection);
        let mut ladder = Ladder { report, handle, deploy };
        ladder.climb().await
    })
}

/// The ways to a network, beginning with the exact one.
struct Ladder<'l> {
    report: &'l mut Report,
    handle: Handle,
    deploy: &'l Deploy,
}

impl Ladder<'_> {
    async fn climb(&mut self) -> anyhow::Result<Restored> {
        apply::set_up(&self.handle, "lo").await?;
        let outcome = match &self.deploy.restore {
            Restore::None => return Ok(Restored::nothing("none is asked for")),
            Restore::Static(network) if self.deploy.needs_network => self.exactly(network).await,
            // People who log in to a rescue need it all the same.
            Restore::Static(network) => self.apply(network).await,
            Restore::Dhcp { macs } => self.by_asking(macs, &Network::default()).await,
        };
        match outcome {
            Err(error) if !self.deploy.needs_network => {
                let why = format!("the payload needs no network: going on without ({error:#})");
                self.report.line(&why);
                Ok(Restored::nothing(why))
            }
            outcome => outcome,
        }
    }

    /// Restores what the running system had, or else asks again where that came from.
    async fn exactly(&mut self, network: &Network) -> anyhow::Result<Restored> {
        let error = match self.apply(network).await {
            Ok(restored) => return Ok(restored),
            Err(error) => error,
        };
        let given = |link: &&contract::network::Link| {
            link.addresses.iter().any(|address| !address.origin.is_static())
        };
        let macs: Vec<_> = network
            .links
            .iter()
            .filter(|link| link.kind.is_hardware())
            .filter(given)
            .map(|link| link.mac.clone())
            .collect();
        if macs.is_empty() {
            return Err(error);
        }
        self.report.line(&format!(
            "the network of the running system does not work ({error:#}); asking for it anew"
        ));
        let asked = self.by_asking(&macs, network).await;
        asked.map_err(|other| anyhow!("{error:#}; then, asking anew: {other:#}"))
    }

    async fn apply(&mut self, network: &Network) -> anyhow::Result<Restored> {
        let network = hardware::find(self.report, &self.handle, network).await?;
        apply::apply(self.report, &self.handle, &network).await?;
        self.compare(&network).await;
        let proved = self.prove(&network, "exactly that of the running system").await?;
        let contradicting = self.hear_servers(&network);
        Ok(Restored { network: None, proved, contradicting })
    }

    /// Finds DHCP servers that would give the new system another network.
    ///
    /// They matter if a server that gives it this network answers, too: which of them answers first
    /// is a matter of luck.
    fn hear_servers(&mut self, network: &Network) -> Vec<(IpAddr, Ipv4Addr)> {
        let mut contradicting = Vec::new();
        for link in &network.links {
            let leased = |one: &&Address| one.origin == Origin::Dhcp && one.address.is_ipv4();
            let Some(given) = link.addresses.iter().find(leased) else { continue };
            let routes = network.routes.iter().filter(|route| route.link == link.name);
            let gateways: Vec<_> = routes.filter_map(|route| route.gateway).collect();
            let heard = match dhcp::hear(link, &gateways) {
                Ok(heard) => heard,
                Err(error) => {
                    self.report.line(&format!("link {}: {error:#}", link.name));
                    continue;
                }
            };
            for dhcp::Contradiction { server, offered } in heard.contradictions {
                let consequence = if heard.agreed {
                    contradicting.push((given.address, server));
                    "the new system must not listen to it"
                } else {
                    "no other one answers, so the new system may get that"
                };
                self.report.line(&format!(
                    "link {}: the DHCP server {server} offers {offered}, which is of another \
                     network than {}/{}: {consequence}",
                    link.name, given.address, given.prefix
                ));
            }
        }
        contradicting
    }

    /// Reports how the network differs from what it should be.
    async fn compare(&mut self, wanted: &Network) {
        let captured = match capture::capture_by(&self.handle).await {
            Ok(captured) => captured.network,
            Err(error) => return self.report.line(&format!("the network is not known: {error:#}")),
        };
        let (resolvers, search) = (wanted.resolvers.clone(), wanted.search.clone());
        let found = Network { resolvers, search, ..captured.in_use() };
        let differences = wanted.as_if_static().differences(&found.as_if_static());
        for difference in &differences {
            self.report.line(&format!("the network differs: {difference}"));
        }
        if differences.is_empty() {
            self.report.line("the network is as it was captured");
        }
    }

    /// Asks DHCP servers and routers on these links, or on any if none is named.
    ///
    /// Addresses and resolvers of `before` are preferred.
    async fn by_asking(&mut self, macs: &[String], before: &Network) -> anyhow::Result<Restored> {
        let names = hardware::names(macs)?;
        let network = dynamic::ask(self.report, &self.handle, &names, before).await?;
        write_resolvers(&network.resolvers, &network.search)?;
        let proved = self.prove(&network, "what DHCP and routers gave").await?;
        Ok(Restored { network: Some(network), proved, ..Restored::default() })
    }

    /// Checks that gateways, resolvers and the payload's server answer as in the running system.
    ///
    /// Returns a description of who does.
    async fn prove(&mut self, network: &Network, rung: &str) -> anyhow::Result<String> {
        if !self.deploy.needs_network && self.deploy.mode == Mode::Deployment {
            return Ok(format!("{rung}; nobody was asked, as the payload needs none"));
        }
        // Those that were silent in the running system need not be waited for.
        let expected = self.deploy.answered.as_deref();
        let matters = |one: &Subject| {
            expected.is_none_or(|expected| expected.iter().any(|other| other.is_like(one)))
        };
        let mut asked = subjects(network, &self.deploy.origins);
        asked.retain(matters);
        let patience =
            if self.deploy.needs_network { Patience::JustSetUp } else { Patience::LongUp };
        let answers = ask_all(&self.handle, asked, patience).await;
        for answer in &answers {
            self.report.line(&answer.to_string());
        }
        let judgement = Judgement::of(expected, &answers);
        if !judgement.is_well() {
            let lost: Vec<_> = judgement.lost.iter().map(ToString::to_string).collect();
            bail!("silent, but answered in the running system: {}", lost.join(", "));
        }
        self.turn_from_the_dead(network, &answers, &judgement).await?;
        order_resolvers(network, &answers)?;
        let families = match judgement.works.as_slice() {
            [] => "nothing had to answer",
            [false] => "IPv4 works",
            [true] => "IPv6 works",
            _ => "IPv4 and IPv6 work",
        };
        self.report.line(&format!("the network is {rung}: {families}"));
        let links = network.links.iter();
        let links = links.map(|link| format!("{} has {}", link.name, apply::summary(link)));
        let all: Vec<_> = links.chain(answers.iter().map(ToString::to_string)).collect();
        Ok(format!("{rung}, {families}; {}", all.join("; ")))
    }

    /// Removes the default routes of a family with silent gateways while the other family works.
    ///
    /// Otherwise programs would try it first, and wait.
    async fn turn_from_the_dead(
        &mut self,
        network: &Network,
        answers: &[Answer],
        judgement: &Judgement,
    ) -> anyhow::Result<()> {
        for v6 in [false, true] {
            let of_family = |answer: &&Answer| matches!(&answer.subject, Subject::Gateway { v6: of, .. } if *of == v6);
            let mut gateways = answers.iter().filter(of_family).peekable();
            let silent = gateways.peek().is_some() && gateways.all(|answer| !answer.answered);
            if !silent || !judgement.works.contains(&!v6) {
                continue;
            }
            let family = if v6 { "IPv6" } else { "IPv4" };
            self.report.line(&format!("{family} is dead: going on without its default route"));
            let dead = |route: &&contract::network::Route| {
                route.is_default() && route.destination.is_ipv6() == v6
            };
            for route in network.routes.iter().filter(dead) {
                let index = apply::index_of(&self.handle, &route.link).await?;
                let message = apply::message(index, route)?;
                // One that disappeared with its link is gone as well.
                let _gone = self.handle.route().del(message).execute().await;
            }
        }
        Ok(())
    }
}

/// Writes the resolvers, those that answer first, because programs wait for each.
fn order_resolvers(network: &Network, answers: &[Answer]) -> anyhow::Result<()> {
    let answers_now = |address: &IpAddr| {
        let subject = Subject::Resolver(*address);
        answers.iter().any(|answer| answer.answered && answer.subject == subject)
    };
    let (mut resolvers, silent): (Vec<_>, Vec<_>) =
        network.resolvers.iter().copied().partition(answers_now);
    resolvers.extend(silent);
    write_resolvers(&resolvers, &network.search)
}

fn write_resolvers(resolvers: &[IpAddr], search: &[String]) -> anyhow::Result<()> {
    let (resolvers, search) = (resolvers.to_vec(), search.to_vec());
    let network = Network { resolvers, search, ..Network::default() };
    let text = contract::network::files::resolv_conf(&network);
    fs::write(Path::new("/etc/resolv.conf"), text).context("writing /etc/resolv.conf")
}
