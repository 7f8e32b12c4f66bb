//! What the guests of a rehearsal are connected to: QEMU's own network, or the router of a topology.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::error::DirectError;
use super::router::{Provider, Router};
use crate::classify::Class;
use crate::host::{Host, forward};
use crate::machine::args::FIRST_CARD_SLOT;
use crate::machine::setup::CardOrder;
use crate::machine::{Cable, Machine, Network, Plugged};
use crate::verdict::{Ending, Verdict};

/// The slot of a network card, with when it is plugged in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Slot {
    slot: u8,
    plugged: Plugged,
}

/// Returns the slots of the cards in the machine that the old system runs on.
pub(crate) fn slots_at_first(order: CardOrder) -> [Slot; 2] {
    let second = if order.is_late() { Plugged::Late } else { Plugged::AtStart };
    let first = Slot { slot: FIRST_CARD_SLOT, plugged: Plugged::AtStart };
    [first, Slot { slot: second_slot(order), plugged: second }]
}

/// Returns the slots of the cards in the machine that is switched on afterwards.
pub(crate) fn slots_after_reset(order: CardOrder) -> [Slot; 2] {
    let mut slots = [FIRST_CARD_SLOT, second_slot(order)];
    if order == CardOrder::Swapped {
        slots.reverse();
    }
    slots.map(|slot| Slot { slot, plugged: Plugged::AtStart })
}

fn second_slot(order: CardOrder) -> u8 {
    if order.is_late() { FIRST_CARD_SLOT - 1 } else { FIRST_CARD_SLOT + 1 }
}

/// The ports of the host that lead to a machine's, by the machine's port.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Doors(BTreeMap<u16, Vec<u16>>);

impl Doors {
    /// Returns the ports that lead to this one.
    pub(crate) fn to(&self, port: u16) -> &[u16] {
        self.0.get(&port).map_or(&[], Vec::as_slice)
    }
}

/// What is at the other end of the cables.
#[derive(Debug)]
pub(crate) enum Outside {
    /// QEMU's own network with DHCP.
    Host,
    /// A router that imitates what a topology describes.
    Router(Box<Router>),
}

impl Outside {
    /// Starts the router of a provider, which leads to these ports of the machine.
    ///
    /// Returns what went wrong.
    pub(crate) async fn start(
        host: &Host,
        provider: &Provider,
        ports: &[u16],
        server: String,
        evidence: &Path,
    ) -> Result<Result<Self, Verdict>, DirectError> {
        let started = Router::start(host, provider, ports, server, evidence).await?;
        Ok(started.map(|router| Self::Router(Box::new(router))))
    }

    /// Stops the router, if there is one; its last lines explain what did not pass.
    pub(crate) async fn end(self, verdict: &mut Verdict) {
        let Self::Router(router) = self else { return };
        let said = router.end().await;
        if verdict.verdict != Ending::Passed && verdict.class != Some(Class::RouterFailed) {
            verdict.evidence.extend(said.iter().map(|line| format!("router: {line}")));
        }
    }

    /// Connects a machine.
    ///
    /// For each of its ports, returns those of the host that lead there, one for each address.
    pub(crate) fn plug(
        &self,
        machine: &mut Machine,
        ports: &[u16],
        slots: [Slot; 2],
    ) -> io::Result<Doors> {
        let mut doors = Doors::default();
        match self {
            Self::Host => {
                for port in ports {
                    let forwarded = forward(*port)?;
                    if let Network::User { forwards, .. } = &mut machine.network {
                        forwards.push(forwarded);
                    }
                    doors.0.insert(*port, vec![forwarded.host_port]);
                }
            }
            Self::Router(router) => {
                let cables = router.macs().zip(slots).zip(router.sockets());
                let cables = cables.map(|((mac, Slot { slot, plugged }), socket)| Cable {
                    mac: mac.to_owned(),
                    slot,
                    socket,
                    plugged,
                });
                machine.network = Network::Cables(cables.collect());
                doors.0.extend(ports.iter().map(|port| (*port, router.ways_to(*port))));
            }
        }
        Ok(doors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_plugged_in_by_their_order() {
        let told = |slots: [Slot; 2]| {
            slots
                .map(|it| {
                    format!(
                        "{:#x}{}",
                        it.slot,
                        if it.plugged == Plugged::Late { " late" } else { "" }
                    )
                })
                .join(", ")
        };
        for (order, at_first, after_reset) in [
            (CardOrder::Kept, "0x10, 0x11", "0x10, 0x11"),
            (CardOrder::Swapped, "0x10, 0x11", "0x11, 0x10"),
            (CardOrder::Late, "0x10, 0xf late", "0x10, 0xf"),
        ] {
            assert_eq!(told(slots_at_first(order)), at_first, "{order:?}");
            assert_eq!(told(slots_after_reset(order)), after_reset, "{order:?}");
        }
    }
}
