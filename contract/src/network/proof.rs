//! Checks whether a network works by asking gateways, resolvers and the origin of a payload.
//!
//! The same questions are asked in the running system and in the deploy environment: what answers
//! in the former must answer in the latter.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourState};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{sleep, timeout};

use super::Network;

/// Time between two looks at the table of neighbours.
const LOOK: Duration = Duration::from_millis(200);
/// Limit for a neighbour that was known before.
///
/// It is asked again after 5 s, three times, a second each (Linux, `net/core/neighbour.c`).
const KNOWN_NEIGHBOUR: Duration = Duration::from_secs(10);
/// Limit after setting up a link.
///
/// A switch may let nothing through for 30 s after a link is up (IEEE 802.1D, forward delay twice).
const NEW_NEIGHBOUR: Duration = Duration::from_secs(45);
/// How long a resolver may take, and how many times it is asked.
const RESOLVER: (Duration, u32) = (Duration::from_secs(2), 2);
/// How long a connection may take; the first two packets may be lost.
const CONNECTION: Duration = Duration::from_secs(8);
/// A port that nobody listens on (RFC 863); what matters is who says so.
const DISCARD: u16 = 9;
/// A query for the root name servers (RFC 1035 section 4.1), which any server can answer.
const QUESTION: [u8; 17] = [0xa2, 0xe3, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// Who is asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The next hop of a default route.
    Gateway {
        /// Its address.
        address: IpAddr,
        /// Name of the link that it is on.
        link: String,
        /// Whether the route is one of IPv6.
        v6: bool,
    },
    /// A name server.
    Resolver(IpAddr),
    /// Where the payload comes from.
    Origin(SocketAddr),
}

/// The answer of one subject, or its silence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// Who was asked.
    pub subject: Subject,
    /// Whether it answered.
    pub answered: bool,
    /// The address that it was asked from.
    pub source: Option<IpAddr>,
}

/// How long to wait for gateways.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Patience {
    /// As long as it takes if links have been up for some time.
    LongUp,
    /// As long as it takes if links have just been set up.
    JustSetUp,
}

impl Subject {
    /// Returns whether it is about IPv6.
    pub fn is_v6(&self) -> bool {
        match self {
            Self::Gateway { v6, .. } => *v6,
            Self::Resolver(address) => address.is_ipv6(),
            Self::Origin(address) => address.is_ipv6(),
        }
    }

    /// Returns whether another one is of the same kind and family, so may stand in for it.
    ///
    /// A gateway on another link leads elsewhere, unless it is the same one, on a link with another
    /// name.
    pub fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Gateway { address, link, .. },
                Self::Gateway { address: second, link: other_link, .. },
            ) if link != other_link => address == second && !is_link_local(*address),
            _ => {
                std::mem::discriminant(self) == std::mem::discriminant(other)
                    && self.is_v6() == other.is_v6()
            }
        }
    }
}

/// Returns whether machines on several links may have the same address.
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local(),
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway { address, link, .. } => write!(f, "gateway {address} on {link}"),
            Self::Resolver(address) => write!(f, "resolver {address}"),
            Self::Origin(address) => write!(f, "the payload's server {address}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.answered { "answers" } else { "is silent" };
        write!(f, "{} {verb}", self.subject)?;
        self.source.map_or(Ok(()), |source| write!(f, " (asked from {source})"))
    }
}

/// Asks every subject of a network, in the running system.
pub fn prove(network: &Network, origins: &[SocketAddr]) -> anyhow::Result<Vec<Answer>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("starting a runtime")?.block_on(async {
        let (connection, handle, _) =
            rtnetlink::new_connection().context("opening a netlink socket")?;
        let connection = tokio::spawn(connection);
        let answers = ask_all(&handle, subjects(network, origins), Patience::LongUp).await;
        connection.abort();
        Ok(answers)
    })
}

/// Asks all subjects at once.
pub async fn ask_all(handle: &Handle, asked: Vec<Subject>, patience: Patience) -> Vec<Answer> {
    futures::future::join_all(asked.into_iter().map(|one| ask(handle, one, patience))).await
}

/// Returns all subjects of a network: each once, gateways first.
pub fn subjects(network: &Network, origins: &[SocketAddr]) -> Vec<Subject> {
    let defaults =
        network.routes.iter().filter(|route| route.prefix == 0 && route.kind.is_unicast());
    let gateways = defaults.filter_map(|route| {
        let (v6, link) = (route.destination.is_ipv6(), route.link.clone());
        Some(Subject::Gateway { address: route.gateway?, link, v6 })
    });
    let resolvers = network.resolvers.iter().copied().map(Subject::Resolver);
    let origins = origins.iter().copied().map(Subject::Origin);
    let mut all: Vec<Subject> = Vec::new();
    for subject in gateways.chain(resolvers).chain(origins) {
        if !all.contains(&subject) {
            all.push(subject);
        }
    }
    all
}

async fn ask(handle: &Handle, subject: Subject, patience: Patience) -> Answer {
    let (answered, source) = match &subject {
        Subject::Gateway { address, link, .. } => {
            let answered = gateway_answers(handle, *address, link, patience).await;
            (answered.unwrap_or(false), None)
        }
        Subject::Resolver(address) => resolver_answers(*address).await,
        Subject::Origin(address) => match timeout(CONNECTION, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => (true, stream.local_addr().ok().map(|address| address.ip())),
            _ => (false, None),
        },
    };
    Answer { subject, answered, source }
}

/// Returns whether a neighbour answers with its MAC address; gateways need not answer anything
/// else.
async fn gateway_answers(
    handle: &Handle,
    address: IpAddr,
    link: &str,
    patience: Patience,
) -> anyhow::Result<bool> {
    let folder = Path::new("/sys/class/net").join(link);
    let index = std::fs::read_to_string(folder.join("ifindex"))?.trim().parse()?;
    let began = Instant::now();
    loop {
        // Any packet makes the kernel look for its MAC address. What becomes of the packet does not
        // matter, and as long as there is no route nothing is sent.
        let _sent = poke(address, index).await;
        for _ in 0..5 {
            match state_of(handle, address, index).await? {
                Some(
                    NeighbourState::Reachable | NeighbourState::Permanent | NeighbourState::Noarp,
                ) => return Ok(true),
                _ => sleep(LOOK).await,
            }
        }
        // Nobody answers without a cable.
        let connected = std::fs::read_to_string(folder.join("carrier")).is_ok_and(|it| it == "1\n");
        let limit = match patience {
            Patience::JustSetUp if connected => NEW_NEIGHBOUR,
            _ => KNOWN_NEIGHBOUR,
        };
        if began.elapsed() >= limit {
            return Ok(false);
        }
    }
}

async fn poke(address: IpAddr, index: u32) -> std::io::Result<()> {
    let to = match address {
        IpAddr::V4(address) => SocketAddr::from((address, DISCARD)),
        // A link-local address needs the link along with it.
        IpAddr::V6(address) => SocketAddrV6::new(address, DISCARD, 0, index).into(),
    };
    socket_to(to).await?.send(&[0]).await.map(drop)
}

async fn socket_to(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(address).await?;
    Ok(socket)
}

/// Returns what the kernel knows about a neighbour.
async fn state_of(
    handle: &Handle,
    address: IpAddr,
    index: u32,
) -> anyhow::Result<Option<NeighbourState>> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let mut all = handle.neighbours().get().set_address_family(family).execute();
    while let Some(neighbour) = all.try_next().await? {
        let is_it = neighbour.attributes.iter().any(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(four)) => address == *four,
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(six)) => address == *six,
            _ => false,
        });
        if is_it && neighbour.header.ifindex == index {
            return Ok(Some(neighbour.header.state));
        }
    }
    Ok(None)
}

/// Returns whether a name server answers at all, with the address that it was asked from.
async fn resolver_answers(address: IpAddr) -> (bool, Option<IpAddr>) {
    let Ok(socket) = socket_to((address, 53).into()).await else { return (false, None) };
    let source = socket.local_addr().ok().map(|address| address.ip());
    let (limit, times) = RESOLVER;
    for _ in 0..times {
        let asked = async {
            let mut answer = [0; 512];
            socket.send(&QUESTION).await?;
            socket.recv(&mut answer).await?;
            Ok::<_, std::io::Error>(answer.starts_with(&QUESTION[..2]))
        };
        // A port that nobody listens on says so at once, and a moment later somebody may listen.
        match timeout(limit, asked).await {
            Ok(Ok(true)) => return (true, source),
            Ok(_) => sleep(LOOK).await,
            Err(_) => {}
        }
    }
    (false, source)
}

/// The judgement whether a network works, based on what answered.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Judgement {
    /// Families in which all is well: `true` is IPv6.
    pub works: Vec<bool>,
    /// What answered before and does not now, with no substitute of its kind.
    pub lost: Vec<Subject>,
}

impl Judgement {
    /// Judges answers by what answered in the running system.
    ///
    /// If that is not known, a gateway of either family has to answer.
    pub fn of(expected: Option<&[Subject]>, answers: &[Answer]) -> Self {
        let gateways: Vec<_> = answers
            .iter()
            .map(|answer| answer.subject.clone())
            .filter(|subject| matches!(subject, Subject::Gateway { .. }))
            .collect();
        let expected = expected.unwrap_or(&gateways);
        let is_there = |wanted: &Subject| {
            answers.iter().any(|answer| answer.answered && answer.subject.is_like(wanted))
        };
        let lost: Vec<_> = expected.iter().filter(|wanted| !is_there(wanted)).cloned().collect();
        let works = [false, true].into_iter().filter(|v6| {
            let mut of_family = expected.iter().filter(|one| one.is_v6() == *v6).peekable();
            of_family.peek().is_some() && of_family.all(is_there)
        });
        Self { works: works.collect(), lost }
    }

    /// Returns whether one family works, or nothing was lost.
    pub fn is_well(&self) -> bool {
        !self.works.is_empty() || self.lost.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(v6: bool) -> Subject {
        let address = if v6 { "fe80::1" } else { "192.0.2.1" };
        Subject::Gateway { address: address.parse().unwrap(), link: "ens3".to_owned(), v6 }
    }

    fn resolver(text: &str) -> Subject {
        Subject::Resolver(text.parse().unwrap())
    }

    #[test]
    fn a_gateway_stands_in_for_another_one_of_its_own_link_only() {
        let gateway = |address: &str, link: &str| Subject::Gateway {
            address: address.parse().unwrap(),
            link: link.to_owned(),
            v6: address.contains(':'),
        };
        for (one, other, is_like) in [
            (gateway("192.0.2.1", "ens3"), gateway("192.0.2.9", "ens3"), true),
            (gateway("192.0.2.1", "ens3"), gateway("192.0.2.1", "ens4"), true),
            (gateway("192.0.2.1", "ens3"), gateway("198.51.100.1", "ens4"), false),
            (gateway("fe80::1", "ens3"), gateway("fe80::1", "ens4"), false),
            (gateway("192.0.2.1", "ens3"), gateway("fe80::1", "ens3"), false),
        ] {
            assert_eq!(one.is_like(&other), is_like, "{one} {other}");
        }
    }

    #[test]
    fn one_family_that_works_as_before_is_enough() {
        let (four, six) = (gateway(false), gateway(true));
        let (dns, other_dns) = (resolver("192.0.2.53"), resolver("198.51.100.53"));
        for (expected, answering, silent, works, well) in [
            // As it was.
            (Some(vec![&four, &dns]), vec![&four, &dns], vec![], vec![false], true),
            // Another one of the same kind.
            (Some(vec![&four, &dns]), vec![&four, &other_dns], vec![&dns], vec![false], true),
            (Some(vec![&four, &dns]), vec![&four], vec![&dns], vec![], false),
            // The other family.
            (Some(vec![&four, &six]), vec![&six], vec![&four], vec![true], true),
            (Some(vec![&four, &six]), vec![], vec![&four, &six], vec![], false),
            // What was dead before may be dead now.
            (Some(vec![&four]), vec![&four], vec![&six], vec![false], true),
            (Some(vec![]), vec![], vec![&four], vec![], true),
            // Nobody knows.
            (None, vec![&four], vec![&six], vec![false], true),
            (None, vec![], vec![&four], vec![], false),
            (None, vec![], vec![], vec![], true),
        ] {
            let expected: Option<Vec<Subject>> =
                expected.map(|all| all.into_iter().cloned().collect());
            let answer = |subject: &Subject, answered| Answer {
                subject: subject.clone(),
                answered,
                source: None,
            };
            let mut answers: Vec<_> = answering.iter().map(|one| answer(one, true)).collect();
            answers.extend(silent.iter().map(|one| answer(one, false)));
            let judgement = Judgement::of(expected.as_deref(), &answers);
            assert_eq!((&judgement.works, judgement.is_well()), (&works, well), "{expected:?}");
        }
    }
}
