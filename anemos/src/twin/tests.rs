//! Tests twins of machines with known facts.

use contract::network::{Address, Bond, Kind, Link, Network, Origin, Route};

use super::{Likeness, Twin, topology};
use crate::facts::Facts;

fn cloud() -> Facts {
    crate::plan::tests::cloud()
}

fn link(name: &str, mac: &str) -> Link {
    Link { name: name.to_owned(), mac: mac.to_owned(), mtu: 1500, ..Link::default() }
}

fn address(text: &str, prefix: u8, origin: Origin) -> Address {
    Address { origin, ..Address::fixed(text.parse().unwrap(), prefix) }
}

#[test]
fn a_cloud_guest_has_a_twin_of_its_kind() {
    let twin = Twin::of(&cloud());
    insta::assert_snapshot!(toml::to_string(&twin.setup).unwrap(), @r#"
    firmware = "bios"
    cpu = "v2"
    memory = "1G"
    network-card = "virtio-net"
    entry = "jump"
    disk-order = "kept"
    card-order = "kept"

    [[disk]]
    bus = "virtio-blk"
    sector = 512
    size = "4G"
    "#);
    let topology = twin.topology.unwrap();
    insta::assert_snapshot!(topology.router, @"
    ip route replace 203.0.113.5/32 dev link0
    ip route replace 2001:db8::2/128 dev link0
    ip address add 172.31.1.1/32 dev link0 nodad 2>/dev/null || true
    ip address add fe80::1/64 dev link0 nodad 2>/dev/null || true
    ip address add 10.0.2.3 dev lo nodad 2>/dev/null || true
    resolve 10.0.2.3
    ");
    assert_eq!(topology.macs, ["52:54:00:12:34:56"]);
}

#[test]
fn sectors_of_4096_bytes_layers_and_buses_decide_what_it_is_made_of() {
    let mut facts = cloud();
    facts.disks[0].candidate.bus = "nvme".to_owned();
    facts.disks[0].candidate.sector_size = 4096;
    let twin = Twin::of(&facts);
    assert!(twin.topology.is_none(), "nobody is there to have it");
    insta::assert_snapshot!(toml::to_string(&twin.setup).unwrap(), @r#"
    firmware = "bios"
    cpu = "v2"
    memory = "1G"
    network-card = "virtio-net"
    entry = "direct"
    disk-order = "kept"
    card-order = "kept"

    [[disk]]
    bus = "nvme"
    sector = 4096
    size = "4G"
    "#);
    for (kind, bus, fixture) in [
        ("lvm", "virtio", Some("debian-12-lvm")),
        ("raid1", "virtio", Some("debian-12-md")),
        ("partition", "ata", Some("debian-12-generic")),
        ("partition", "virtio", None),
    ] {
        let mut facts = cloud();
        facts.disks[0].content.inside[0].kind = kind.to_owned();
        facts.disks[0].candidate.bus = bus.to_owned();
        assert_eq!(Twin::of(&facts).setup.fixture.as_deref(), fixture, "{kind} {bus}");
    }
}

/// Returns VLAN 42 on a bond of two cards, with dynamic addresses.
fn vlan_on_bond() -> Network {
    let bond = Kind::Bond(Bond { mode: "active-backup".to_owned(), ..Bond::default() });
    let part = |number: u8| Link {
        master: Some("bond0".to_owned()),
        ..link(&format!("ens{number}"), &format!("52:54:00:00:00:0{number}"))
    };
    let vlan = Link {
        kind: Kind::Vlan { over: "bond0".to_owned(), id: 42, service: false },
        addresses: vec![
            address("203.0.113.10", 24, Origin::Dhcp),
            address("2001:db8:1::10", 64, Origin::Ra),
        ],
        ..link("bond0.42", "52:54:00:00:00:01")
    };
    let addresses = vlan.addresses.clone();
    let gateway = "203.0.113.1".parse().unwrap();
    Network {
        routes: vec![Route {
            origin: Origin::Dhcp,
            ..Route::default_over("bond0.42", gateway, &addresses)
        }],
        links: vec![
            part(1),
            part(2),
            Link { kind: bond, ..link("bond0", "52:54:00:00:00:01") },
            vlan,
        ],
        resolvers: vec!["198.51.100.53".parse().unwrap()],
        ..Network::default()
    }
}

#[test]
fn a_provider_is_guessed_from_what_it_gave() {
    let topology = topology::of(&vlan_on_bond()).unwrap();
    insta::assert_snapshot!(topology.router, @"
    ip link add trunk up type bridge
    ip link set link0 master trunk
    ip link set link1 master trunk
    ip link add link trunk name trunk.42 up type vlan id 42
    ip address add 203.0.113.1/24 dev trunk.42
    dhcp trunk.42 203.0.113.10 '203.0.113.1' '198.51.100.53'
    ip address add 2001:db8:1:0::1/64 dev trunk.42 nodad
    on trunk.42 --enable-ra --dhcp-range=2001:db8:1:0::,ra-only,64,1h
    ip address add 203.0.113.1/32 dev trunk.42 nodad 2>/dev/null || true
    ip address add 198.51.100.53 dev lo nodad 2>/dev/null || true
    resolve 198.51.100.53
    ");
    assert_eq!((topology.cards, topology.addresses.len()), (2, 2));
}

/// Returns what networkd of the old system reads about the cards, and about the links on top.
fn written_down() -> (String, String) {
    let written = topology::of(&vlan_on_bond()).unwrap().machine;
    let at = written.find("cat >10-bond0.netdev").unwrap();
    (written[..at].to_owned(), written[at..].to_owned())
}

#[test]
fn the_old_system_has_its_cards_written_down_for_networkd() {
    let (cards, _above) = written_down();
    insta::assert_snapshot!(cards, @"
    cat >10-ens1.network <<'END'
    [Match]
    PermanentMACAddress=52:54:00:00:00:01

    [Link]
    MTUBytes=1500

    [Network]
    Bond=bond0
    IPv6AcceptRA=no
    END
    cat >10-ens2.network <<'END'
    [Match]
    PermanentMACAddress=52:54:00:00:00:02

    [Link]
    MTUBytes=1500

    [Network]
    Bond=bond0
    IPv6AcceptRA=no
    END
    ");
}

#[test]
fn the_old_system_has_its_links_written_down_for_networkd() {
    let (_cards, above) = written_down();
    insta::assert_snapshot!(above, @"
    cat >10-bond0.netdev <<'END'
    [NetDev]
    Name=bond0
    Kind=bond
    MACAddress=52:54:00:00:00:01
    MTUBytes=1500

    [Bond]
    Mode=active-backup
    MIIMonitorSec=0ms
    END
    cat >10-bond0.network <<'END'
    [Match]
    Name=bond0

    [Link]
    MTUBytes=1500

    [Network]
    VLAN=bond0.42
    IPv6AcceptRA=no
    END
    cat >10-bond0.42.netdev <<'END'
    [NetDev]
    Name=bond0.42
    Kind=vlan
    MTUBytes=1500

    [VLAN]
    Id=42
    END
    cat >10-bond0.42.network <<'END'
    [Match]
    Name=bond0.42

    [Link]
    MTUBytes=1500

    [Network]
    DHCP=ipv4
    IPv6AcceptRA=yes

    [IPv6AcceptRA]
    Token=static:::10

    [DHCPv4]
    ClientIdentifier=mac
    END
    ");
}

#[test]
fn no_difference_is_silent() {
    let original = Likeness::of(&cloud());
    assert_eq!(original.compare(&original).differences, [""; 0]);
    let mut other = cloud();
    other.memory.total *= 2;
    other.hostname = "debian".to_owned();
    other.network.links[0].mtu = 1400;
    let text = original.compare(&Likeness::of(&other)).render();
    insta::assert_snapshot!(text, @"
    twin: alike in 14 statements, 4 differences in what it copies
      differs: missing: memory: 1024 MiB
      differs: added: memory: 2048 MiB
      differs: missing: link ens3: MTU 1500
      differs: added: link ens3: MTU 1400
      not copied: missing: host name: vps
      not copied: added: host name: debian
    ");
}
