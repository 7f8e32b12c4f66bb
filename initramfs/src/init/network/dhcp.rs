//! Asks a DHCPv4 server for an address (RFC 2131), once and without renewing it.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::{Context, bail};
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use nix::sys::socket::{setsockopt, sockopt};

use contract::network::{Address, Link, Network, Origin, Route};

const CLIENT_PORT: u16 = 68;
const SERVER_PORT: u16 = 67;
/// Waits between repetitions.
///
/// RFC 2131 section 4.1 doubles from 4 s, but machines here are near.
const WAITS_SECS: &[u64] = &[2, 4, 8, 16, 30];
const DEFAULT_MTU: u32 = 1500;

/// How long other servers may answer after the first one, which need not be the provider's.
const OTHERS: Duration = Duration::from_secs(2);

/// Gets a lease on `link`, which must be up, and renders it as a network of only that link.
///
/// Of several offers it takes one with an address that the machine `had`, or else the first.
pub(super) fn ask(link: &str, had: &[IpAddr]) -> anyhow::Result<Network> {
    let mac = read_mac(link)?;
    let socket = open(link).context("opening the DHCP socket")?;
    let transaction = u32::from_le_bytes(random()?);
    let mut offers = exchange(&socket, &discover(transaction, &mac), MessageType::Offer)?;
    let deadline = Instant::now() + OTHERS;
    while let Some(other) = receive(&socket, transaction, MessageType::Offer, deadline)? {
        offers.push(other);
    }
    let offer = best(&offers, had).context("reading the offers")?;
    let request = request(transaction, &mac, offer)?;
    let lease = exchange(&socket, &request, MessageType::Ack)?;
    network_of(link, &mac, lease.first().context("reading the lease")?)
}

/// How long after the first question other servers may take, if none that agrees has answered yet.
///
/// A server may first check for three seconds whether an address is in use (dnsmasq(8),
/// `--no-ping`).
const AGREEING_SECS: u64 = 7;

/// An offer that a machine with this network should not take.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Contradiction {
    /// The server that made it.
    pub(super) server: Ipv4Addr,
    /// The offered address.
    pub(super) offered: Ipv4Addr,
}

/// The offers that servers made on a link that has an address from another one.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Whether a server offers this network.
    pub(super) agreed: bool,
    /// Offers of other networks.
    pub(super) contradictions: Vec<Contradiction>,
}

/// Asks who would give a machine an address on `link`, whose network works, but accepts none.
pub(super) fn hear(link: &Link, gateways: &[IpAddr]) -> anyhow::Result<Heard> {
    let mac = read_mac(&link.name)?;
    let socket = open(&link.name).context("opening the DHCP socket")?;
    let transaction = u32::from_le_bytes(random()?);
    let question = discover(transaction, &mac).to_vec().context("encoding a DHCP message")?;
    let mut heard = Heard::default();
    for secs in [1, AGREEING_SECS] {
        socket.send_to(&question, (Ipv4Addr::BROADCAST, SERVER_PORT)).context("sending DHCP")?;
        let deadline = Instant::now() + Duration::from_secs(secs);
        while let Some(offer) = receive(&socket, transaction, MessageType::Offer, deadline)? {
            heard.add(link, gateways, &offer);
        }
        if heard.agreed {
            break;
        }
    }
    Ok(heard)
}

impl Heard {
    /// Adds an offer; another pool, or another router of the same network, does not contradict.
    fn add(&mut self, link: &Link, gateways: &[IpAddr], offer: &Message) {
        let Some(DhcpOption::ServerIdentifier(server)) =
            offer.opts().get(OptionCode::ServerIdentifier)
        else {
            return;
        };
        let same_router = match offer.opts().get(OptionCode::Router) {
            Some(DhcpOption::Router(routers)) => {
                routers.iter().any(|router| gateways.contains(&IpAddr::V4(*router)))
            }
            _ => false,
        };
        let offered = offer.yiaddr();
        if same_router || link.addresses.iter().any(|own| own.covers(IpAddr::V4(offered))) {
            self.agreed = true;
        } else if self.contradictions.iter().all(|other| other.server != *server) {
            self.contradictions.push(Contradiction { server: *server, offered });
        }
    }
}

/// Returns the offer to accept.
fn best<'o>(offers: &'o [Message], had: &[IpAddr]) -> Option<&'o Message> {
    let known = offers.iter().find(|offer| had.contains(&IpAddr::V4(offer.yiaddr())));
    known.or(offers.first())
}

fn read_mac(link: &str) -> anyhow::Result<Vec<u8>> {
    let path = format!("/sys/class/net/{link}/address");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let bytes = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
    bytes.collect::<Result<_, _>>().with_context(|| format!("parsing {path}"))
}

fn random() -> anyhow::Result<[u8; 4]> {
    use io::Read;
    let mut bytes = [0; 4];
    let mut source = fs::File::open("/dev/urandom").context("opening /dev/urandom")?;
    source.read_exact(&mut bytes).context("reading /dev/urandom")?;
    Ok(bytes)
}

fn open(link: &str) -> anyhow::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, CLIENT_PORT))?;
    socket.set_broadcast(true)?;
    setsockopt(&socket.as_fd(), sockopt::BindToDevice, &link.into())?;
    Ok(socket)
}

/// Makes a message from us that asks for answers by broadcast, because we have no address yet.
fn message(transaction: u32, mac: &[u8], kind: MessageType) -> Message {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_xid(transaction)
        .set_flags(Flags::default().set_broadcast())
        .set_chaddr(mac);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        OptionCode::Router,
        OptionCode::DomainNameServer,
        OptionCode::DomainName,
        OptionCode::InterfaceMtu,
    ]));
    message
}

fn discover(transaction: u32, mac: &[u8]) -> Message {
    message(transaction, mac, MessageType::Discover)
}

fn request(transaction: u32, mac: &[u8], offer: &Message) -> anyhow::Result<Message> {
    let mut request = message(transaction, mac, MessageType::Request);
    let Some(DhcpOption::ServerIdentifier(server)) = offer.opts().get(OptionCode::ServerIdentifier)
    else {
        bail!("the DHCP offer names no server");
    };
    request.opts_mut().insert(DhcpOption::ServerIdentifier(*server));
    request.opts_mut().insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
    Ok(request)
}

/// Sends `question` until an answer of the wanted kind comes.
fn exchange(
    socket: &UdpSocket,
    question: &Message,
    wanted: MessageType,
) -> anyhow::Result<Vec<Message>> {
    let bytes = question.to_vec().context("encoding a DHCP message")?;
    for wait in WAITS_SECS {
        socket.send_to(&bytes, (Ipv4Addr::BROADCAST, SERVER_PORT)).context("sending DHCP")?;
        let deadline = Instant::now() + Duration::from_secs(*wait);
        if let Some(answer) = receive(socket, question.xid(), wanted, deadline)? {
            return Ok(vec![answer]);
        }
    }
    bail!("no DHCP server answered within {} s", WAITS_SECS.iter().sum::<u64>())
}

fn receive(
    socket: &UdpSocket,
    transaction: u32,
    wanted: MessageType,
    deadline: Instant,
) -> anyhow::Result<Option<Message>> {
    let mut buffer = [0; 1500];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context("receiving DHCP"),
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        // Other people's broadcasts and broken datagrams are not ours to complain about.
        let Ok(answer) = Message::decode(&mut Decoder::new(datagram)) else { continue };
        let kind = answer.opts().msg_type();
        if answer.xid() == transaction && kind == Some(MessageType::Nak) {
            bail!("the DHCP server refused the address");
        }
        if answer.xid() == transaction && kind == Some(wanted) {
            return Ok(Some(answer));
        }
    }
}

fn network_of(link: &str, mac: &[u8], lease: &Message) -> anyhow::Result<Network> {
    let Some(DhcpOption::SubnetMask(mask)) = lease.opts().get(OptionCode::SubnetMask) else {
        bail!("the DHCP lease has no subnet mask");
    };
    let prefix = u8::try_from(u32::from(*mask).leading_ones()).context("reading the mask")?;
    let address =
        Address { origin: Origin::Dhcp, ..Address::fixed(IpAddr::V4(lease.yiaddr()), prefix) };
    let mtu = match lease.opts().get(OptionCode::InterfaceMtu) {
        Some(DhcpOption::InterfaceMtu(mtu)) => u32::from(*mtu),
        _ => DEFAULT_MTU,
    };
    let mac = mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let routes = match lease.opts().get(OptionCode::Router) {
        Some(DhcpOption::Router(routers)) => routers.first().map(|router| {
            let router = IpAddr::V4(*router);
            let route = Route::default_over(link, router, std::slice::from_ref(&address));
            Route { origin: Origin::Dhcp, ..route }
        }),
        _ => None,
    };
    let resolvers = match lease.opts().get(OptionCode::DomainNameServer) {
        Some(DhcpOption::DomainNameServer(servers)) => {
            servers.iter().copied().map(IpAddr::V4).collect()
        }
        _ => Vec::new(),
    };
    let link =
        Link { name: link.to_owned(), mac, mtu, addresses: vec![address], ..Link::default() };
    let routes = routes.into_iter().collect();
    Ok(Network { links: vec![link], routes, resolvers, ..Network::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_becomes_address_route_and_resolver() {
        let mut lease = message(7, &[0x52, 0x54, 0, 0x12, 0x34, 0x56], MessageType::Ack);
        lease.set_yiaddr([10, 0, 2, 15]);
        for option in [
            DhcpOption::SubnetMask([255, 255, 255, 0].into()),
            DhcpOption::Router(vec![[10, 0, 2, 2].into()]),
            DhcpOption::DomainNameServer(vec![[10, 0, 2, 3].into()]),
        ] {
            lease.opts_mut().insert(option);
        }
        let bytes = lease.to_vec().unwrap();
        let lease = Message::decode(&mut Decoder::new(&bytes)).unwrap();
        let network = network_of("ens3", &[0x52, 0x54, 0, 0x12, 0x34, 0x56], &lease).unwrap();
        insta::assert_json_snapshot!(network, @r#"
        {
          "links": [
            {
              "name": "ens3",
              "mac": "52:54:00:12:34:56",
              "mtu": 1500,
              "addresses": [
                {
                  "address": "10.0.2.15",
                  "prefix": 24,
                  "origin": "dhcp"
                }
              ]
            }
          ],
          "routes": [
            {
              "link": "ens3",
              "destination": "0.0.0.0",
              "prefix": 0,
              "gateway": "10.0.2.2",
              "on-link": false,
              "origin": "dhcp"
            }
          ],
          "resolvers": [
            "10.0.2.3"
          ],
          "search": []
        }
        "#);
    }

    #[test]
    fn the_router_of_a_single_address_is_on_the_link() {
        let mut lease = message(7, &[0; 6], MessageType::Ack);
        lease.set_yiaddr([198, 51, 100, 7]);
        lease.opts_mut().insert(DhcpOption::SubnetMask([255; 4].into()));
        lease.opts_mut().insert(DhcpOption::Router(vec![[172, 31, 1, 1].into()]));
        let network = network_of("ens3", &[0; 6], &lease).unwrap();
        assert_eq!(network.routes.iter().map(|route| route.on_link).collect::<Vec<_>>(), [true]);
    }

    #[test]
    fn an_address_that_the_machine_had_is_preferred() {
        let offer = |address: [u8; 4]| {
            let mut offer = message(7, &[0; 6], MessageType::Offer);
            offer.set_yiaddr(address);
            offer
        };
        let offers = [offer([192, 168, 66, 6]), offer([10, 0, 2, 15])];
        let taken = |had: &[IpAddr]| best(&offers, had).unwrap().yiaddr().to_string();
        assert_eq!(taken(&["10.0.2.15".parse().unwrap()]), "10.0.2.15");
        assert_eq!(taken(&[]), "192.168.66.6");
    }

    #[test]
    fn a_server_contradicts_where_neither_address_nor_router_are_of_this_network() {
        let link = Link {
            addresses: vec![Address::fixed([203, 0, 113, 10].into(), 24)],
            ..Link::default()
        };
        let gateways = [IpAddr::from([203, 0, 113, 1])];
        let offer = |server: [u8; 4], address: [u8; 4], router: [u8; 4]| {
            let mut offer = message(7, &[0; 6], MessageType::Offer);
            offer.set_yiaddr(address);
            offer.opts_mut().insert(DhcpOption::ServerIdentifier(server.into()));
            offer.opts_mut().insert(DhcpOption::Router(vec![router.into()]));
            offer
        };
        let right = [203, 0, 113, 1];
        for (address, router, contradicts) in [
            ([203, 0, 113, 10], right, false),
            ([203, 0, 113, 99], right, false),
            ([198, 51, 100, 7], right, false),
            ([203, 0, 113, 10], [203, 0, 113, 2], false),
            ([192, 168, 66, 66], [192, 168, 66, 1], true),
        ] {
            let mut heard = Heard::default();
            for _ in 0..2 {
                heard.add(&link, &gateways, &offer([192, 168, 66, 1], address, router));
            }
            assert_eq!(heard.agreed, !contradicts, "{address:?} {router:?}");
            assert_eq!(heard.contradictions.len(), usize::from(contradicts));
        }
    }

    #[test]
    fn a_lease_without_mask_is_refused() {
        let lease = message(7, &[0; 6], MessageType::Ack);
        let error = network_of("ens3", &[0; 6], &lease).unwrap_err();
        assert_eq!(error.to_string(), "the DHCP lease has no subnet mask");
    }
}
