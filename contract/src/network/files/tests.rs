//! Renders every network of `testdata` in every format, as a person reads it.
//!
//! Whether the programs understand the files the same way is tested by the scenario
//! `network/formats`.

use std::fmt::Write as _;

use super::*;
use crate::network::Link;

/// Returns all files of a network, one below the other, with the notes about what is left out.
fn rendered(network: &Network) -> String {
    let mut text = String::new();
    for (name, render) in FORMATS {
        let rendered = render(network);
        for file in rendered.files {
            let _infallible =
                writeln!(text, "==> {name}/{} {:o}\n{}", file.name, file.mode, file.text);
        }
        for note in rendered.notes {
            let _infallible = writeln!(text, "--> {name}: {note}\n");
        }
    }
    text
}

fn network(name: &str) -> Network {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("src/network/files/testdata/{name}.json"));
    let text = fs::read_to_string(&path).expect(name);
    serde_json::from_str(&text).expect(name)
}

#[test]
fn a_network_is_the_same_in_every_format() {
    for name in [
        "dual-stack",
        "point-to-point",
        "ipv6-only",
        "several-addresses",
        "dhcp",
        "vlan-on-bond",
        "lacp",
        "two-uplinks",
        "bridge",
        "vrf",
        "out-of-the-ordinary",
    ] {
        insta::assert_snapshot!(name, rendered(&network(name)));
    }
}

#[test]
fn what_a_format_has_no_words_for_is_told_and_written_there() {
    let folder = tempfile::tempdir().unwrap();
    let notes = write(&network("out-of-the-ordinary"), folder.path()).unwrap();
    let note = "netplan: left out: neighbour 198.51.100.1 of ens3";
    assert!(notes.iter().any(|one| one == note), "{notes:?}");
    let text = fs::read_to_string(folder.path().join("netplan/50-anemos.yaml")).unwrap();
    assert!(text.contains("# left out: neighbour 198.51.100.1 of ens3\n"), "{text}");
}

#[test]
fn a_card_without_use_keeps_its_name_and_stays_down() {
    let mut network = network("two-uplinks");
    let idle =
        Link { name: "ens9".into(), mac: "52:54:00:aa:00:09".into(), ..network.links[0].clone() };
    network.links.push(Link { addresses: Vec::new(), accepts_ra: true, ..idle });
    let text = rendered(&network);
    let files: Vec<_> = text.lines().filter(|line| line.contains("ens9")).collect();
    insta::assert_snapshot!(files.join("\n"), @r"
    ==> networkd/10-ens9.link 644
    Name=ens9
    ==> ifupdown/10-ens9.link 644
    Name=ens9
    ==> networkmanager/10-ens9.link 644
    Name=ens9
    ");
}

#[test]
fn advertised_addresses_keep_their_second_half() {
    let mut network = network("dhcp");
    assert!(!rendered(&network).contains("oken"), "the MAC address gives it");
    network.links[0].addresses[2].address = "2001:db8:3::1f2e:3d4c:5b6a:7988".parse().unwrap();
    let text = rendered(&network);
    let note = "--> alpine: the second half of an address of ens3 needs iproute2";
    assert!(text.lines().any(|line| line == note), "{text}");
    let lines: Vec<_> = text.lines().filter(|line| line.contains("oken")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    Token=static:::1f2e:3d4c:5b6a:7988
        pre-up ip token set ::1f2e:3d4c:5b6a:7988 dev ens3 || true
    token=::1f2e:3d4c:5b6a:7988
          ipv6-address-token: "::1f2e:3d4c:5b6a:7988"
        pre-up ip token set ::1f2e:3d4c:5b6a:7988 dev ens3 || true
    "#);
}

#[test]
fn name_servers_that_were_configured_stay_beside_dhcp() {
    let mut network = network("dhcp");
    for (fixed, wanted) in [(false, 0), (true, 5)] {
        network.fixed_resolvers = fixed;
        assert_eq!(rendered(&network).matches("10.0.2.3").count(), wanted, "{fixed}");
    }
}

#[test]
fn others_may_not_read_what_network_manager_would_ignore_then() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    write(&network("dual-stack"), folder.path()).unwrap();
    let file = folder.path().join("networkmanager/ens3.nmconnection");
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_search_list_comes_before_the_name_servers() {
    insta::assert_snapshot!(resolv_conf(&network("dual-stack")), @r"
    search example.org example.net
    nameserver 192.0.2.53
    nameserver 2001:db8::53
    ");
}
