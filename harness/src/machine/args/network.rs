//! Renders the arguments of QEMU for the network of a machine.

use super::{Args, Wiring, option};
use crate::machine::setup::NetworkCard;
use crate::machine::{Cable, Forward, Machine, MachineError, Network, Plugged, RouterNetwork};
use crate::server::ADDRESS;

/// Slot of the first network card.
///
/// It is separate, whatever the number of disks, because names of links depend on slots.
pub(crate) const FIRST_SLOT: u8 = 0x10;
/// The network between a router and its host, as QEMU configures it; the router has address 15.
const UPLINK: &str = "net=10.9.0.0/24,host=10.9.0.2";
/// The address of the host's server on it.
const UPLINK_SERVER: &str = "10.9.0.100";
/// MAC addresses of a router's links; the first is that of the gateway in QEMU's own network.
const LINK_MACS: [&str; 2] = ["52:55:0a:00:02:02", "52:55:0a:00:03:02"];
/// The MAC address of its link to the host.
const UPLINK_MAC: &str = "52:55:0a:09:00:0f";

/// Renders a network beyond which nothing can be reached (`restrict`) but the forwarded ports.
pub(super) fn render(
    args: &mut Args,
    machine: &Machine,
    wiring: &Wiring,
) -> Result<(), MachineError> {
    let card = machine.board.network_card;
    match &machine.network {
        Network::None => {}
        Network::User { mac, forwards, server } => {
            let backend = user("net", "", forwards, server.as_deref().map(|it| (ADDRESS, it)));
            args.pair("-netdev", backend);
            plug(args, card, "net", mac, Some(FIRST_SLOT));
            dump(args, "net", wiring)?;
        }
        Network::Cables(cables) => {
            for (number, Cable { mac, slot, socket, plugged }) in cables.iter().enumerate() {
                let name = link_name(number);
                let to = option(socket)?;
                let end = format!("stream,id={name},server=off,addr.type=unix,addr.path={to}");
                args.pair("-netdev", end);
                if *plugged == Plugged::AtStart {
                    plug(args, card, &name, mac, Some(*slot));
                }
                dump(args, &name, wiring)?;
            }
        }
        Network::Router(router) => render_router(args, router, wiring)?,
    }
    Ok(())
}

/// Renders the cards of a router, which finds out their slots by their addresses.
fn render_router(
    args: &mut Args,
    router: &RouterNetwork,
    wiring: &Wiring,
) -> Result<(), MachineError> {
    let card = NetworkCard::VirtioNet;
    for (number, (socket, mac)) in router.sockets.iter().zip(LINK_MACS).enumerate() {
        let name = link_name(number);
        let at = option(socket)?;
        args.pair("-netdev", format!("stream,id={name},server=on,addr.type=unix,addr.path={at}"));
        plug(args, card, &name, mac, None);
        dump(args, &name, wiring)?;
    }
    let server = router.server.as_deref().map(|it| (UPLINK_SERVER, it));
    args.pair("-netdev", user("host", UPLINK, &router.forwards, server));
    plug(args, card, "host", UPLINK_MAC, None);
    for (name, file) in &router.notes {
        args.pair("-fw_cfg", format!("name=opt/anemos/{name},file={}", option(file)?));
    }
    Ok(())
}

/// Returns the name of a link in QEMU.
pub(crate) fn link_name(number: usize) -> String {
    if number == 0 { "net".to_owned() } else { format!("net-{number}") }
}

/// Renders QEMU's own network; the last argument is the address of a server, with its command.
fn user(id: &str, what: &str, forwards: &[Forward], server: Option<(&str, &str)>) -> String {
    let mut backend = format!("user,id={id},restrict=on");
    if !what.is_empty() {
        backend = format!("{backend},{what}");
    }
    for Forward { host_port, guest_port } in forwards {
        backend = format!("{backend},hostfwd=tcp:127.0.0.1:{host_port}-:{guest_port}");
    }
    if let Some((address, command)) = server {
        let command = command.replace(',', ",,");
        backend = format!("{backend},guestfwd=tcp:{address}:80-cmd:{command}");
    }
    backend
}

/// Returns the name of a card in QEMU.
pub(crate) fn card_name(card: NetworkCard) -> &'static str {
    match card {
        NetworkCard::VirtioNet => "virtio-net-pci",
        NetworkCard::E1000e => "e1000e",
    }
}

/// Renders a card without its ROM, so that a machine without a boot loader says so at once.
fn plug(args: &mut Args, card: NetworkCard, name: &str, mac: &str, slot: Option<u8>) {
    let card = card_name(card);
    let slot = slot.map(|slot| format!(",addr={slot:#x}")).unwrap_or_default();
    args.pair("-device", format!("{card},netdev={name},mac={mac},romfile={slot}"));
}

/// Records the packets of a link; those of further links are next to the first one's.
fn dump(args: &mut Args, name: &str, wiring: &Wiring) -> Result<(), MachineError> {
    let Wiring::Sockets(sockets) = wiring else { return Ok(()) };
    let number = name.strip_prefix("net-");
    let file = match number {
        Some(number) => sockets.packets.with_extension(format!("{number}.pcap")),
        None => sockets.packets.clone(),
    };
    let id = number.map_or_else(|| "packets".to_owned(), |number| format!("packets-{number}"));
    let file = option(&file)?;
    args.pair("-object", format!("filter-dump,id={id},netdev={name},file={file}"));
    Ok(())
}
