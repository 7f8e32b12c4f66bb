//! Claims about what a payload is recognised as.

use super::{SCRIPT, file, folder, gzip, link, planted, read, script, tarball, zstd};
use crate::payload::{Compression, Description, Kind, Limits, Settings, inspect};
use tar::EntryType;

fn deploy(interpreter: &str) -> Kind {
    Kind::Deploy { interpreter: Some(interpreter.to_owned()), program: None }
}

#[test]
fn the_first_bytes_decide_about_the_compression() {
    let plain = tarball(&[script("deploy")]);
    for (packed, want) in [(gzip(&plain), Compression::Gzip), (zstd(&plain), Compression::Zstd)] {
        let found = inspect(packed.as_slice(), Limits::default()).unwrap();
        assert_eq!(found.compression, want);
        assert_eq!(found.size, packed.len() as u64);
    }
}

#[test]
fn a_payload_is_described_as_a_whole() {
    let packed = zstd(&tarball(&[
        folder("new/"),
        script("new/deploy"),
        file("new/payload.toml", b"memory = \"512M\"\n"),
        file("new/anemos.env", b"SIZE=2G\n"),
        file("new/rootfs.tar.zst", &[7; 5000]),
        link("new/latest", "rootfs.tar.zst"),
    ]));
    let want = Description {
        compression: Compression::Zstd,
        kind: deploy("/bin/sh"),
        top: Some("new".to_owned()),
        members: 6,
        // Folder, three small files, one of two pages, link.
        unpacked: 7 * 4096,
        settings: Settings { memory: Some(512 << 20), ..Settings::default() },
        environment: [("SIZE".to_owned(), "2G".to_owned())].into(),
        sha256: crate::payload::packed::hexadecimal(&<sha2::Sha256 as sha2::Digest>::digest(
            &packed,
        )),
        size: packed.len() as u64,
    };
    assert_eq!(inspect(packed.as_slice(), Limits::default()).unwrap(), want);
}

#[test]
fn the_file_at_the_top_decides_about_the_kind() {
    let cases = [
        (vec![script("deploy")], deploy("/bin/sh"), None),
        (vec![folder("./"), script("./deploy")], deploy("/bin/sh"), None),
        (vec![script("top/deploy")], deploy("/bin/sh"), Some("top")),
        (vec![folder("deploy/"), script("deploy/deploy")], deploy("/bin/sh"), Some("deploy")),
        (vec![file("IMGBUILD", b""), folder("files/")], Kind::Imgbuild, None),
        (vec![file("image.toml", b"")], Kind::Image, None),
        // Only the top level counts.
        (vec![script("deploy"), file("doc/IMGBUILD", b"")], deploy("/bin/sh"), None),
        (vec![script("top/deploy"), file("top/a/deploy", b"")], deploy("/bin/sh"), Some("top")),
    ];
    for (members, kind, top) in cases {
        let found = read(&members).unwrap();
        assert_eq!((found.kind, found.top.as_deref()), (kind, top), "{members:?}");
    }
}

#[test]
fn the_interpreter_is_what_the_kernel_would_start() {
    let executable = std::fs::read("/bin/sh").unwrap();
    let cases: &[(&[u8], Option<&str>, Option<&str>)] = &[
        (SCRIPT, Some("/bin/sh"), None),
        (b"#! /bin/bash -eu\n", Some("/bin/bash"), None),
        (b"#!/usr/bin/env python3\n", Some("/usr/bin/env"), Some("python3")),
        (b"#!/usr/bin/env -S A=1 perl -w\n", Some("/usr/bin/env"), Some("perl")),
        (b"#!/bin/sh", Some("/bin/sh"), None),
        (&executable, Some("/lib64/ld-linux-x86-64.so.2"), None),
    ];
    for (content, interpreter, program) in cases {
        let member = planted(EntryType::Regular, "deploy", "", 0o755, content);
        let want = Kind::Deploy {
            interpreter: interpreter.map(str::to_owned),
            program: program.map(str::to_owned),
        };
        let start = &content[..content.len().min(40)];
        assert_eq!(read(&[member]).unwrap().kind, want, "{}", start.escape_ascii());
    }
}

#[test]
fn a_stream_of_several_pieces_is_one_payload() {
    let plain = tarball(&[script("deploy"), file("data", &[1; 3000])]);
    let (head, tail) = plain.split_at(700);
    for pieces in [[gzip(head), gzip(tail)].concat(), [zstd(head), zstd(tail)].concat()] {
        assert_eq!(inspect(pieces.as_slice(), Limits::default()).unwrap().members, 2);
    }
}
