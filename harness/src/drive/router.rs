//! The router beside a machine, which is configured by a topology and can be asked for its state.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tempfile::TempDir;
use tokio::sync::Mutex;

use super::error::DirectError;
use crate::classify::Class;
use crate::command::{CommandError, quote};
use crate::file::{FileError, whole};
use crate::guest::{Guest, Waited, What, run_folder};
use crate::host::{Host, forward};
use crate::machine::{Board, Boot, Forward, Machine, Network, RouterNetwork};
use crate::recent::Recent;
use crate::ssh::Ssh;
use crate::topology::Topology;
use crate::verdict::Verdict;

/// Enough for its kernel and what it keeps in memory.
const MEMORY_MIB: u32 = 192;
/// The prefix of every answer of its init.
const SAYS: &str = "router: ";
/// First of the ports of the router that lead to the machine.
const FIRST_PORT: u16 = 1001;

/// Words for the scripts of topologies: `$link0` and `$link1` are the names of the cards.
const WORDS: &str = r#"set -eu
named() { for it in /sys/class/net/*; do if [ "$(cat "$it/address")" = "$1" ]; then echo "${it##*/}"; fi; done; }
# A card that was plugged in a moment ago.
for try in 1 2 3 4 5 6 7 8 9 10; do [ "$(ls -d /sys/class/net/*/device | wc -l)" -lt $CARDS ] || break; sleep 1; done
udevadm settle
cd /etc/systemd/network
rm -f ./*.network
"#;
/// Makes the old system apply what was written, which breaks the connection that asks for it.
const APPLY: &str = "setsid sh -c 'sleep 1; systemctl restart systemd-networkd' \
                     >/dev/null 2>&1 </dev/null &";
/// Prints the resulting network of the old system, for the evidence.
const SHOW: &str = "ip -d address; ip rule; ip route show table all; \
                    ip -6 route show table all; ip neighbour; cat /etc/resolv.conf";

/// A router that can be booted.
#[derive(Clone, Debug)]
pub struct Image {
    /// The folder of its files.
    pub folder: PathBuf,
}

impl Image {
    /// Returns its kernel.
    pub fn kernel(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// Returns its initramfs, which is all that it has.
    pub fn initramfs(&self) -> PathBuf {
        self.folder.join("initramfs")
    }
}

/// A topology, with the router that implements it.
#[derive(Clone, Debug)]
pub struct Provider {
    /// What the router becomes.
    pub topology: Topology,
    /// The image that it boots from.
    pub image: Image,
}

/// A router that runs.
#[derive(Debug)]
pub(crate) struct Router {
    guest: Mutex<Guest>,
    said: Mutex<Recent>,
    folder: TempDir,
    topology: Topology,
    ways: Vec<Way>,
}

/// A way from the host to a port of the machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Way {
    /// Port of the machine.
    port: u16,
    forward: Forward,
}

impl Router {
    /// Boots it; at first it imitates QEMU's own network.
    pub(crate) async fn start(
        host: &Host,
        provider: &Provider,
        ports: &[u16],
        server: String,
        evidence: &Path,
    ) -> Result<Result<Self, Verdict>, DirectError> {
        host.progress.step("router: booting");
        let Provider { topology, image } = provider;
        let folder = run_folder()?;
        let ways = ways(topology, ports).map_err(FileError::new("finding a free port"))?;
        let notes = notes(topology, &ways).map(|(name, text)| {
            let path = folder.path().join(name);
            fs::write(&path, text).map(|()| (name.to_owned(), path))
        });
        let notes = notes.into_iter().collect::<Result<_, _>>();
        let network = RouterNetwork {
            sockets: sockets(&folder, topology.cards),
            forwards: ways.iter().map(|way| way.forward).collect(),
            server: Some(server),
            notes: notes.map_err(FileError::new("writing the notes for the router"))?,
        };
        let boot = Boot::Direct {
            kernel: image.kernel(),
            initramfs: Some(image.initramfs()),
            command_line: "console=ttyS0,115200 panic=-1".to_owned(),
        };
        let machine = Machine::new().board(Board::default()).memory_mib(MEMORY_MIB).boot(boot);
        let machine = machine.accelerator(host.proof.accelerator);
        let machine = machine.network(Network::Router(network));
        let guest = Mutex::new(Guest::start(&machine, evidence, "router").await?);
        let said = Mutex::new(Recent::default());
        let router = Self { guest, said, folder, topology: topology.clone(), ways };
        match router.hear(host, "ready").await {
            Ok(_) => Ok(Ok(router)),
            Err(verdict) => {
                router.end().await;
                Ok(Err(verdict))
            }
        }
    }

    /// Returns the MAC addresses of the machine's cards.
    pub(crate) fn macs(&self) -> impl Iterator<Item = &str> {
        self.topology.macs()
    }

    /// Returns the sockets of its links.
    pub(crate) fn sockets(&self) -> Vec<PathBuf> {
        sockets(&self.folder, self.topology.cards)
    }

    /// Returns the host's ports that lead to a port of the machine, one for each of its addresses.
    pub(crate) fn ways_to(&self, port: u16) -> Vec<u16> {
        let ways = self.ways.iter().filter(|way| way.port == port);
        ways.map(|way| way.forward.host_port).collect()
    }

    /// Applies the topology to the router and to the old system, which then answers.
    ///
    /// The state of its network is left in `evidence`.
    pub(crate) async fn take_in(
        &self,
        host: &Host,
        ssh: &Ssh,
        sudo: &str,
        evidence: &Path,
    ) -> Result<(), Verdict> {
        let name = &self.topology.name;
        let fixture = |error: &CommandError| {
            let reason =
                format!("the old system could not be given the topology {name}: {}", whole(&error));
            Verdict::broken(Class::FixtureFailed, reason, Vec::new())
        };
        ssh.reach("true").await;
        let (cards, links) = (self.topology.cards, links(&self.topology));
        let script = format!("CARDS={cards}\n{WORDS}{links}{}", self.topology.machine);
        ssh.run(&format!("{sudo}sh -c {}", quote(&script))).await.map_err(|it| fixture(&it))?;
        ssh.run(&format!("{sudo}{APPLY}")).await.map_err(|it| fixture(&it))?;
        self.ask(host, "topology").await?;
        ssh.reach("true").await;
        if self.topology.later.is_some() {
            self.ask(host, "later").await?;
        }
        let shown = ssh.run(SHOW).await.map_err(|it| fixture(&it))?;
        fs::write(evidence.join("old-system.network.txt"), shown.stdout).map_err(|error| {
            let reason =
                format!("keeping what the old system's network is like: {}", whole(&error));
            Verdict::broken(Class::FixtureFailed, reason, Vec::new())
        })
    }

    /// Makes it run one of its scripts.
    async fn ask(&self, host: &Host, what: &str) -> Result<(), Verdict> {
        let typed = self.guest.lock().await.send_serial(&format!("{what}\n")).await;
        let failed = |reason: String, lines| {
            let reason = format!("the router of topology {}: {reason}", self.topology.name);
            Verdict::broken(Class::RouterFailed, reason, lines)
        };
        typed.map_err(|error| failed(error.to_string(), Vec::new()))?;
        let ended = self.hear(host, &format!("{what} ended")).await?;
        match ended.rsplit(' ').next() {
            Some("0") => Ok(()),
            _ => Err(failed(ended, self.lines().await)),
        }
    }

    /// Waits for an answer that starts with `word`; returns what follows the router's name.
    async fn hear(&self, host: &Host, word: &str) -> Result<String, Verdict> {
        let mut said = self.said.lock().await;
        let wanted = format!("{SAYS}{word}");
        let mut guest = self.guest.lock().await;
        let budget = host.budget(&format!("{word:?} of the router"), 30, 12);
        let heard = guest.wait(budget, |seen| {
            let What::Line(line) = &seen.what else { return None };
            said.remember(line);
            line.starts_with(&wanted).then(|| line[SAYS.len()..].to_owned())
        });
        let reason = match heard.await {
            Waited::Met(answer) => return Ok(answer),
            Waited::GaveUp(gave_up) => gave_up.to_string(),
            Waited::Ended(ended) => format!("QEMU ended by itself: {}", ended.stderr),
        };
        let reason = format!("the router of topology {}: {reason}", self.topology.name);
        Err(Verdict::broken(Class::RouterFailed, reason, said.lines()))
    }

    /// Returns the last lines of its console.
    async fn lines(&self) -> Vec<String> {
        let (mut said, mut guest) = (self.said.lock().await, self.guest.lock().await);
        while let Some(seen) = guest.next(Instant::now()).await {
            if let What::Line(line) = &seen.what {
                said.remember(line);
            }
        }
        said.lines()
    }

    /// Stops it, and returns the last lines of its console.
    pub(crate) async fn end(self) -> Vec<String> {
        let lines = self.lines().await;
        self.guest.into_inner().quit().await;
        lines
    }
}

fn sockets(folder: &TempDir, cards: usize) -> Vec<PathBuf> {
    (0..cards).map(|number| folder.path().join(format!("link-{number}"))).collect()
}

/// Returns a way to every port at every address.
fn ways(topology: &Topology, ports: &[u16]) -> io::Result<Vec<Way>> {
    let ports = ports.iter().flat_map(|port| topology.addresses.iter().map(|_| *port));
    let way = |(port, own): (u16, u16)| Ok(Way { port, forward: forward(own)? });
    ports.zip(FIRST_PORT..).map(way).collect()
}

/// Returns what the router reads, by the names of the notes.
fn notes(topology: &Topology, ways: &[Way]) -> [(&'static str, String); 3] {
    let to = topology.addresses.iter().cycle();
    let line =
        |(way, address): (&Way, _)| format!("{} {address} {}\n", way.forward.guest_port, way.port);
    [
        ("topology", topology.router.clone()),
        // An empty note would count as missing.
        ("later", topology.later.clone().unwrap_or_else(|| "true\n".to_owned())),
        ("ports", ways.iter().zip(to).map(line).collect()),
    ]
}

/// Names the cards for the script of the old system.
fn links(topology: &Topology) -> String {
    let named = |(number, mac)| format!("link{number}=$(named {mac})\n");
    topology.macs().enumerate().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let text = "about = 'a'\naddresses = ['192.0.2.1', '2001:db8::1']\nrouter = 'r'\n\
                    machine = 'm'\ncards = 2";
        Topology::parse(text).unwrap()
    }

    #[test]
    fn the_router_is_told_a_way_to_every_port_at_every_address() {
        let ways = ways(&topology(), &[22, 80]).unwrap();
        insta::assert_debug_snapshot!(notes(&topology(), &ways), @r#"
        [
            (
                "topology",
                "r",
            ),
            (
                "later",
                "true\n",
            ),
            (
                "ports",
                "1001 192.0.2.1 22\n1002 2001:db8::1 22\n1003 192.0.2.1 80\n1004 2001:db8::1 80\n",
            ),
        ]
        "#);
    }

    #[test]
    fn scripts_know_cards_by_their_names() {
        insta::assert_snapshot!(links(&topology()), @r"
        link0=$(named 52:54:00:a2:e3:05)
        link1=$(named 52:54:00:a2:e3:06)
        ");
    }
}
