//! Tests turning a tarball into an archive.

use initramfs::listing::{Entry, list};
use tar::{Builder, EntryType, Header};

use std::io::{self, Write};

use initramfs::archive::{Packing, Writer};

use super::links::Links;
use super::tarball::{self, Rules, relative};

fn convert(tarball: &[u8], output: impl Write, latest: u64) -> io::Result<()> {
    let skip = |name: &str| initramfs::base::DEBIAN.is_omitted(name);
    let rules = Rules { latest, skip: &skip, is_addition: false };
    let mut writer = Writer::new(output);
    writer.segment(Packing::Dense, |segment| {
        tarball::copy(tarball, segment, &mut Links::default(), &rules)
    })?;
    writer.finish().map(drop)
}

fn tarball(members: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, name, target, content) in members {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_700_000_000);
        header.set_size(content.len() as u64);
        header.set_device_major(5).unwrap();
        header.set_device_minor(1).unwrap();
        if !target.is_empty() {
            header.set_link_name(target).unwrap();
        }
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn every_kind_of_member_arrives() {
    let tarball = tarball(&[
        (EntryType::Directory, "./", "", b""),
        (EntryType::Directory, "./usr/bin/", "", b""),
        (EntryType::Regular, "./usr/bin/perl", "", b"12345"),
        (EntryType::Link, "./usr/bin/perl5", "./usr/bin/perl", b""),
        (EntryType::Symlink, "./bin", "usr/bin", b""),
        (EntryType::Char, "./console", "", b""),
        (EntryType::Regular, "./usr/share/doc/perl/README", "", b"long"),
    ]);
    let mut archive = Vec::new();
    convert(&tarball, &mut archive, 0).unwrap();
    let entry = |name: &str, mode, size, target: Option<&str>| Entry {
        name: name.to_owned(),
        mode,
        size,
        target: target.map(str::to_owned),
    };
    let want = [
        entry("usr/bin", 0o040_755, 0, None),
        entry("usr/bin/perl", 0o100_755, 5, None),
        entry("usr/bin/perl5", 0o120_777, 4, Some("perl")),
        entry("bin", 0o120_777, 7, Some("usr/bin")),
        entry("console", 0o020_755, 0, None),
    ];
    assert_eq!(list(archive.as_slice()).unwrap(), want);
}

#[test]
fn the_same_tarball_gives_the_same_bytes() {
    let tarball = tarball(&[(EntryType::Regular, "a", "", b"content")]);
    let bytes = || {
        let mut archive = Vec::new();
        convert(&tarball, &mut archive, 7).unwrap();
        archive
    };
    assert_eq!(bytes(), bytes());
}

#[test]
fn a_cut_off_tarball_is_an_error() {
    let tarball = tarball(&[(EntryType::Regular, "a", "", &[1; 2000])]);
    assert!(convert(&tarball[..1500], Vec::new(), 7).is_err());
}

#[test]
fn links_lead_from_one_folder_to_the_other() {
    for (from, to, want) in [
        ("usr/bin/a", "usr/bin/b", "b"),
        ("usr/bin/a", "usr/sbin/b", "../sbin/b"),
        ("a", "usr/b", "usr/b"),
        ("usr/lib/x/a", "b", "../../../b"),
    ] {
        assert_eq!(relative(from, to), want, "{from} to {to}");
    }
}
