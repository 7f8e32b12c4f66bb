//! `payload.toml` and `anemos.env`.

use super::{file, read, script, words};
use crate::payload::environment::parse as parse_environment;
use crate::payload::settings::parse as parse_settings;
use crate::payload::{PayloadError, Settings};

fn refusal<T: std::fmt::Debug>(outcome: Result<T, PayloadError>) -> String {
    let error = outcome.unwrap_err();
    format!("{error} / {}", error.hint())
}

#[test]
fn every_setting_is_read() {
    let text = r#"
        name = "Debian"
        memory = "1G"
        tools = ["sfdisk", "mkfs.ext4"]
        expect = "login: $"
        fixture = "debian-12"
        firmware = ["bios", "uefi"]
        network = false
        disks = ["nvme"]
        disk-size = "2G"
        sectors = [512, 4096]
    "#;
    let want = Settings {
        network: Some(false),
        name: Some("Debian".to_owned()),
        memory: Some(1 << 30),
        tools: vec!["sfdisk".to_owned(), "mkfs.ext4".to_owned()],
        expect: Some("login: $".to_owned()),
        fixture: Some("debian-12".to_owned()),
        firmware: vec!["bios".to_owned(), "uefi".to_owned()],
        disks: vec!["nvme".to_owned()],
        disk_size: Some(2 << 30),
        sectors: vec![512, 4096],
    };
    assert_eq!(parse_settings(text).unwrap(), want);
    assert_eq!(parse_settings("").unwrap(), Settings::default());
}

#[test]
fn settings_are_refused_with_their_line() {
    for (text, want) in [
        ("sectors = [512, 520]", "line 1: sectors knows no 520 / a sector has 512 or 4096 bytes"),
        ("\nmemroy = \"1G\"", "line 2: unknown key memroy / did you mean memory"),
        (
            "[kernel-image]\n",
            "line 1: unknown key kernel-image / the keys are name, memory, disk-size, tools, expect, fixture, \
             firmware, disks, sectors, network",
        ),
        (
            "name = \"a\"\nmemory = \"1 GB\"",
            "line 2: \"1 GB\" is not a size such as \"512M\" or \"2G\" / the keys are name, memory, disk-size, \
             tools, expect, fixture, firmware, disks, sectors, network",
        ),
        (
            "\n\nexpect = \"(\"",
            "line 3: expect is not a regular expression: error: unclosed group / the syntax is that \
             of the Rust crate regex",
        ),
        (
            "\ndisks = [\"ide\"]",
            "line 2: disks knows no \"ide\" / the words are virtio-blk, virtio-scsi, nvme, sata",
        ),
        (
            "tools = [\"/sbin/sfdisk\"]",
            "line 1: \"/sbin/sfdisk\" is not the name of a program / name programs without their \
             folder: sfdisk",
        ),
    ] {
        assert_eq!(refusal(parse_settings(text)), format!("member payload.toml: {want}"));
    }
}

#[test]
fn sizes_are_binary_multiples() {
    for (text, want) in [("\"512M\"", 512 << 20), ("\"2G\"", 2 << 30), ("1048576", 1 << 20)] {
        let settings = parse_settings(&format!("memory = {text}")).unwrap();
        assert_eq!(settings.memory, Some(want), "{text}");
    }
}

#[test]
fn variables_are_taken_as_they_are_written() {
    let text =
        "# sizes\n\nSIZE=2G\n  NAME = \"two words \" \nEMPTY=\nPATTERN='a\"b'\nRAW=$HOME\\n=x\r\n";
    let got = parse_environment(text).unwrap();
    let want = [
        ("SIZE", "2G"),
        ("NAME", "two words "),
        ("EMPTY", ""),
        ("PATTERN", "a\"b"),
        ("RAW", "$HOME\\n=x"),
    ];
    assert_eq!(got, want.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
}

#[test]
fn variables_are_refused_with_their_line() {
    for (text, want) in [
        ("A=1\nhello", "line 2: this is not KEY=value / write KEY=value, or # before a comment"),
        (
            "export A=1",
            "line 1: what is before = is not a variable name / a name is made of letters, digits \
             and _, and begins with no digit",
        ),
        ("A=1\nA=2", "line 2: A is there twice / keep one of the two lines"),
        ("ANEMOS_DISK=x", "line 1: ANEMOS_DISK is set by anemos / choose a name without ANEMOS_"),
        (
            "A=\"x",
            "line 1: the quotes of A do not match / end the value with the quote that it begins \
             with, and use it nowhere else",
        ),
    ] {
        assert_eq!(
            refusal(parse_environment(text).map_err(PayloadError::from)),
            format!("member anemos.env: {want}")
        );
    }
}

#[test]
fn texts_in_a_payload_are_bounded_and_utf8() {
    for (content, want) in [
        (vec![b'#'; 70_000], "member payload.toml: it is larger than 65536 bytes"),
        (
            b"name = \"\xff\"".to_vec(),
            "member payload.toml: line 1: invalid utf-8 sequence of 1 bytes from index 8",
        ),
    ] {
        assert_eq!(words(&read(&[script("deploy"), file("payload.toml", &content)])), want);
    }
}
