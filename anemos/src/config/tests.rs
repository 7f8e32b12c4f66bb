//! Tests what the configuration accepts, refuses and defaults to.

use super::{Config, parse, sections};
use crate::config::values::{Base, Location, Select, Selector};

fn refusal(text: &str) -> String {
    let refusal = parse(text).unwrap_err();
    format!("{refusal}\n{}", refusal.hint())
}

#[test]
fn the_example_holds_the_defaults() {
    let text = include_str!("../../../anemos.example.toml");
    assert_eq!(toml::from_str::<Config>(text).unwrap(), Config::default());
}

/// Keys that the example only shows in a comment must exist as well.
#[test]
fn the_example_is_valid_when_its_comments_are_switched_on() {
    let text = include_str!("../../../anemos.example.toml");
    let on: Vec<_> = text.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect();
    assert!(on.len() > 20 && text.contains("\n#: "), "the example shows optional keys");
    assert_eq!(parse(&on.join("\n")).map(|_| ()), Ok(()));
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_key() {
    insta::assert_snapshot!(refusal("[network]\nmode = \"dhcp\"\nadress = []\n"), @r#"
    line 3: unknown key "adress"
    the nearest known key is "address"; known here: mode, link, address, gateway, dns
    "#);
    insta::assert_snapshot!(refusal("[kernel]\n\n[dsk]\n"), @r#"
    line 3: unknown key "dsk"
    the nearest known key is "disk"; known here: payload, kernel, initramfs, network, firmware, disk, entry, access, failure, preflight
    "#);
    insta::assert_snapshot!(refusal("[disk]\nselect = { serail = \"x\" }\n"), @r#"
    line 2: unknown key "serail"
    the nearest known key is "serial"; known here: serial, wwn, table-id, by-id, size
    "#);
}

#[test]
fn a_wrong_value_is_named_with_its_line_and_what_is_allowed() {
    insta::assert_snapshot!(refusal("[network]\nmode = \"bridge\"\n"), @r#"
    line 2: mode cannot be "bridge"
    allowed: inherit, dhcp, static, none
    "#);
    insta::assert_snapshot!(refusal("[failure]\ntimeout = \"long\"\n"), @r#"
    line 2: timeout cannot be "long"
    allowed: a whole number, not below zero
    "#);
    insta::assert_snapshot!(refusal("[failure]\ntimeout = -1\n"), @r"
    line 2: timeout: invalid value: integer `-1`
    allowed: a whole number, not below zero
    ");
    insta::assert_snapshot!(refusal("[payload]\ndigest = \"md5:1\"\n"), @r#"
    line 2: digest: "md5:1" is not a digest
    allowed: "sha256:" and 64 hexadecimal digits
    "#);
    insta::assert_snapshot!(refusal("[disk]\nselect = \"sda\"\n"), @r#"
    line 2: select: "sda" selects no disk
    allowed: "root" or a table of serial, wwn, table-id, by-id, size: kernel names such as sda may change from boot to boot
    "#);
    insta::assert_snapshot!(refusal("[disk]\nselect = {}\n"), @r"
    line 2: select: the table selects no disk
    allowed: a key in it
    ");
    insta::assert_snapshot!(refusal("[network]\naddress = [\"10.0.0.1\"]\n"), @r#"
    line 2: address: "10.0.0.1" is not an address with its prefix
    allowed: e.g. "192.0.2.10/24"
    "#);
    insta::assert_snapshot!(refusal("[network]\naddress = [\"10.0.0.1/33\"]\n"), @r#"
    line 2: address: "10.0.0.1/33" is not an address with its prefix
    allowed: e.g. "192.0.2.10/24"
    "#);
    insta::assert_snapshot!(refusal("[kernel]\nsource = \"https://a/b\"\n"), @r#"
    line 2: source: "https://a/b" is a URL
    allowed: "running" or a path: kernels from elsewhere are not built in yet
    "#);
    insta::assert_snapshot!(refusal("[kernel\n"), @r"
    line 1: unclosed table
    allowed: ]
    ");
}

#[test]
fn paths_of_a_file_are_relative_to_its_folder() {
    let text = "[payload]\nsource = \"p.tar\"\n[initramfs]\nbase = \"/b\"\n\
                [access]\nauthorized-keys = \"inherit\"\n[kernel]\nmodules = \"m\"\n";
    let mut table = parse(text).unwrap();
    sections::resolve_paths(&mut table, "/etc".as_ref());
    let config = Config::deserialize_table(table).unwrap();
    let default = Config::default();
    assert_eq!(config.payload.source, Some(Location::Path("/etc/p.tar".into())));
    assert_eq!(config.initramfs.base, Base::At(Location::Path("/b".into())));
    assert_eq!(config.access, default.access);
    assert_eq!(config.kernel.modules, Some("/etc/m".into()));
}

#[test]
fn a_url_is_no_path() {
    let mut table = parse("[payload]\nsource = \"https://a/b\"\n").unwrap();
    sections::resolve_paths(&mut table, "/etc".as_ref());
    let config = Config::deserialize_table(table).unwrap();
    assert_eq!(config.payload.source, Some(Location::Url("https://a/b".into())));
}

#[test]
fn a_location_is_shown_without_secrets_and_called_by_the_last_part_of_its_path() {
    for (text, shown, name) in [
        ("p.tar.zst", "p.tar.zst", "p.tar.zst"),
        ("/a?b/me@p.tar", "/a?b/me@p.tar", "me@p.tar"),
        ("https://a/b/p.tar", "https://a/b/p.tar", "p.tar"),
        ("https://me:secret@a:1/b@c?token=secret/x", "https://a:1/b@c", "b@c"),
        ("https://[::1]/p?a@b", "https://[::1]/p", "p"),
        ("https://a/p/#secret", "https://a/p/", "p"),
        ("https://a?secret", "https://a", "a"),
    ] {
        let location = Location::from(text.to_owned());
        let said = (location.to_string(), location.file_name());
        assert_eq!(said, (shown.to_owned(), name.to_owned()), "{text}");
    }
}

#[test]
fn flags_replace_keys() {
    let args = <Arguments as clap::Parser>::parse_from([
        "anemos",
        "--network",
        "static",
        "--address",
        "10.0.0.2/24",
        "--address",
        "2001:db8::2/64",
        "--disk",
        "S1",
        "--timeout",
        "5",
    ]);
    let mut table = parse("[network]\nmode = \"dhcp\"\n[failure]\ntimeout = 7\n").unwrap();
    args.config.override_in(&mut table);
    let config = Config::deserialize_table(table).unwrap();
    config.check().unwrap();
    assert_eq!(config.network.address.len(), 2);
    assert_eq!(config.failure.timeout, 5);
    let selector = Selector { serial: Some("S1".into()), ..Selector::default() };
    assert_eq!(config.disk.select, Select::By(selector));
}

#[test]
fn a_wrong_flag_is_named_by_the_key_that_it_stands_for() {
    let args = <Arguments as clap::Parser>::parse_from(["anemos", "--address", "10.0.0.2/64"]);
    insta::assert_snapshot!(args.config.load().unwrap_err(), @r#""10.0.0.2/64" is not an address with its prefix, expected e.g. "192.0.2.10/24" in "network.address""#);
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    config: super::ConfigArgs,
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    for (text, want) in [
        ("[network]\nmode = \"static\"\n", "mode is \"static\", but there is no address"),
        ("[network]\naddress = [\"10.0.0.1/8\"]\n", "its mode is not \"static\""),
        (
            "[initramfs]\ndigest = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n",
            "built-in base",
        ),
    ] {
        let config: Config = toml::from_str(text).unwrap();
        let said = config.check().unwrap_err().to_string();
        assert!(said.contains(want), "{text}: {said}");
    }
}
