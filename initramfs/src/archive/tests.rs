//! The archive as cpio(1), zstd(1) and the format itself see it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;

#[expect(clippy::disallowed_methods, reason = "the real tool is the other side of these tests")]
fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("starting {program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let bytes = input.to_vec();
    let feed = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    feed.join().unwrap().unwrap();
    assert!(output.status.success(), "{program} {arguments:?} ended with {}", output.status);
    output.stdout
}

fn archive(packing: Packing) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer
        .segment(packing, |segment| {
            segment.folder("etc", 0o755)?;
            segment.bytes("etc/motd", 0o644, b"hello\n")?;
            segment.symlink("etc/link", "motd")
        })
        .unwrap();
    writer.finish().unwrap()
}

#[test]
fn cpio_reads_a_raw_segment() {
    let listing = run("cpio", &["-itv", "--quiet", "--numeric-uid-gid"], &archive(Packing::Raw));
    let text = String::from_utf8(listing).unwrap();
    let names: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(names, ["drwxr-xr-x", "-rw-r--r--", "lrwxrwxrwx"], "{text}");
    assert!(text.contains("etc/link -> motd"), "{text}");
}

#[test]
fn zstd_and_cpio_read_a_compressed_segment() {
    let packed = archive(Packing::Zstd);
    let plain = run("zstd", &["-dc"], &packed);
    assert_eq!(run("cpio", &["-i", "--quiet", "--to-stdout", "etc/motd"], &plain), b"hello\n");
}

#[test]
fn every_segment_begins_on_a_word_and_nothing_follows_the_last_one() {
    let mut writer = Writer::new(Vec::new());
    writer.append(&mut &b"12345"[..]).unwrap();
    assert_eq!(writer.written(), 5);
    writer.segment(Packing::Raw, |segment| segment.bytes("a", 0o600, b"1")).unwrap();
    let whole = writer.finish().unwrap();
    assert_eq!(whole.get(..14), Some(&[&b"12345\0\0\0"[..], b"070701"].concat()[..]));
    let packed = archive(Packing::Zstd);
    assert!(run("zstd", &["-dc"], &packed).starts_with(b"070701"));
}

#[test]
fn a_member_of_another_size_is_refused() {
    for (size, content) in [(3, &b"12"[..]), (1, b"12")] {
        let mut writer = Writer::new(Vec::new());
        let error = writer
            .segment(Packing::Raw, |segment| {
                segment.member("f", Attributes::file(0o600), size, &mut &*content)
            })
            .unwrap_err();
        let want = format!("f changed its size of {size} bytes while it was read");
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn a_member_of_four_gib_is_refused_before_it_is_read() {
    let error = Writer::new(io::sink())
        .segment(Packing::Raw, |segment| {
            segment.member("big", Attributes::file(0o600), 1 << 32, &mut io::repeat(0))
        })
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        members in prop::collection::btree_map("[a-z]{1,12}", prop::collection::vec(any::<u8>(), 0..99), 0..9)
    ) {
        let mut writer = Writer::new(Vec::new());
        writer.segment(Packing::Raw, |segment| {
            members.iter().try_for_each(|(name, bytes)| segment.bytes(name, 0o600, bytes))
        }).unwrap();
        let bytes = writer.finish().unwrap();
        let mut rest = bytes.as_slice();
        let mut found = std::collections::BTreeMap::new();
        loop {
            let mut member = newc::Reader::new(rest).unwrap();
            if member.entry().is_trailer() { break }
            let name = member.entry().name().to_owned();
            let mut content = Vec::new();
            member.read_to_end(&mut content).unwrap();
            found.insert(name, content);
            rest = member.finish().unwrap();
        }
        prop_assert_eq!(found, members);
    }
}
