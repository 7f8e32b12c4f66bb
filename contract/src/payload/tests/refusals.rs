//! Payloads that are refused, with the words for it.

use tar::EntryType;

use super::{file, folder, gzip, hard, link, planted, read, script, tarball, words, zstd};
use crate::payload::{Limits, PayloadError, inspect, unpack};

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn what_must_not_be_unpacked_is_refused_with_its_member() {
    let deploy = || script("deploy");
    let special = |kind, name| planted(kind, name, "", 0o600, b"");
    let cases = [
        (vec![deploy(), file("/etc/passwd", b"")], "member /etc/passwd: its name is absolute"),
        (vec![deploy(), file("a/../../b", b"")], "member a/../../b: its name contains `..`"),
        (vec![deploy(), file("..", b"")], "member ..: its name contains `..`"),
        (vec![deploy(), link("a", "/etc")], "member a: its link to /etc leaves the payload"),
        (vec![deploy(), link("a", "../b")], "member a: its link to ../b leaves the payload"),
        (
            vec![deploy(), link("x/up", ".."), link("out", "x/up/../y")],
            "member out: its link to x/up/../y leaves the payload",
        ),
        (
            vec![script("top/deploy"), link("top/a", "../b")],
            "member top/a: its link to ../b leaves the payload",
        ),
        (vec![deploy(), hard("a", "/etc/x")], "member a: its link to /etc/x leaves the payload"),
        (vec![deploy(), hard("a", "../x")], "member a: its link to ../x leaves the payload"),
        (
            vec![deploy(), hard("a", "later"), file("later", b"")],
            "member a: it is a hard link to later, which is not an earlier file",
        ),
        (
            vec![deploy(), link("a", "deploy"), hard("b", "a")],
            "member b: it is a hard link to a, which is not an earlier file",
        ),
        (
            vec![deploy(), folder("b/"), link("a", "b"), file("a/x", b"")],
            "member a/x: a is a symbolic link, so nothing can lie below it",
        ),
        (
            vec![deploy(), file("deploy/x", b"")],
            "member deploy/x: deploy is a file, so nothing can lie below it",
        ),
        (vec![deploy(), special(EntryType::Char, "c")], "member c: it is a character device node"),
        (vec![deploy(), special(EntryType::Block, "b")], "member b: it is a block device node"),
        (vec![deploy(), special(EntryType::Fifo, "p")], "member p: it is a named pipe"),
        (
            vec![deploy(), special(EntryType::Continuous, "c")],
            "member c: it is of the special type '7'",
        ),
        (vec![deploy(), deploy()], "member deploy: it is there twice"),
        (vec![deploy(), file("./a", b""), file("a", b"")], "member a: it is there twice"),
        (vec![deploy(), folder("d/"), folder("d/")], "member d: it is there twice"),
        (vec![deploy(), file("d/x", b""), file("d", b"")], "member d: it is there twice"),
        (
            vec![deploy(), file("IMGBUILD", b"")],
            "the payload is two kinds at once: deploy and IMGBUILD lie at its top",
        ),
        (
            vec![file("a", b""), file("b", b"")],
            "the payload has no `deploy`, `IMGBUILD` or `image.toml` at its top (there: a, b)",
        ),
        (
            vec![file("top/sub/x", b"")],
            "the payload has no `deploy`, `IMGBUILD` or `image.toml` at its top (there: sub)",
        ),
        (vec![file("deploy", b"#!/bin/sh")], "member deploy: it is not executable (mode 0644)"),
        (vec![link("deploy", "run"), script("run")], "member deploy: it is not a regular file"),
        (vec![script("run"), hard("deploy", "run")], "member deploy: it is not a regular file"),
        (vec![deploy(), folder("payload.toml/")], "member payload.toml: it is not a regular file"),
    ];
    for (members, want) in cases {
        let outcome = read(&members);
        assert_eq!(words(&outcome), want, "{members:?}");
        assert!(outcome.unwrap_err().is_refusal(), "{want}");
    }
}

#[test]
fn links_inside_are_no_offence() {
    let members = [
        script("top/deploy"),
        link("top/a/b/up", "../../deploy"),
        link("top/through", "a/b/up"),
        link("top/dangling", "nothing/../there"),
        link("top/loop", "loop"),
        hard("top/twin", "top/deploy"),
    ];
    assert_eq!(read(&members).unwrap().members, 6);
}

#[test]
fn a_deploy_that_the_kernel_could_not_run_is_refused() {
    for (content, want) in [
        (&b""[..], "it is empty"),
        (b"echo hello\n", "it begins with neither #! nor an ELF header"),
        (b"#!sh\n", "its #! line names no absolute path (\"sh\")"),
        (b"#!/bin/sh\r\n", "its lines end as on DOS, so its interpreter is not found"),
    ] {
        let outcome = read(&[planted(EntryType::Regular, "deploy", "", 0o755, content)]);
        let start = "member deploy: it is neither a script nor an executable: ";
        assert_eq!(words(&outcome), format!("{start}{want}"));
    }
}

#[test]
fn what_is_no_whole_tarball_is_refused() {
    let plain = tarball(&[script("deploy"), file("data", &vec![3; 100_000])]);
    let packed = gzip(&plain);
    let zpacked = zstd(&plain);
    let marked = |length: usize| gzip(&plain[..length]);
    let cases = [
        (vec![], "the payload is empty"),
        (
            b"hello, world".to_vec(),
            "the payload is not a tarball packed with gzip or zstd (it begins as \"hello, w\")",
        ),
        (
            b"\xfd7zXZ\0\0".to_vec(),
            "the payload is not a tarball packed with gzip or zstd (it begins as xz does)",
        ),
        (gzip(b""), "the payload is empty"),
        (gzip(&tarball(&[])), "the payload is empty"),
        (
            gzip(&[b'x'; 4000]),
            "the payload is not a tarball: what is packed in it is something else",
        ),
        (gzip(b"short"), "the payload is not a tarball: what is packed in it is something else"),
        (
            packed[..packed.len() - 20].to_vec(),
            "the payload is cut off: its gzip stream ends too early",
        ),
        (
            packed[..packed.len() - 4].to_vec(),
            "the payload is cut off: its gzip stream ends too early",
        ),
        (
            zpacked[..zpacked.len() - 3].to_vec(),
            "the payload is cut off: its zstd stream ends too early",
        ),
        (marked(1024), "the payload is cut off: its tarball ends after deploy without an end mark"),
        (marked(2048), "the payload is cut off: its tarball ends after data without an end mark"),
        ([&packed[..], b"more"].concat(), "rubbish follows the compressed stream of the payload"),
        ([&zpacked[..], b"m"].concat(), "rubbish follows the compressed stream of the payload"),
        (
            [&zpacked[..], &packed[..]].concat(),
            "rubbish follows the compressed stream of the payload",
        ),
        (gzip(&[&plain[..], b"more"].concat()), "rubbish follows the tarball of the payload"),
        (
            gzip(&[plain.clone(), vec![0; 2 << 20]].concat()),
            "rubbish follows the tarball of the payload",
        ),
        (
            gzip(&[plain.clone(), plain.clone()].concat()),
            "rubbish follows the tarball of the payload",
        ),
    ];
    for (bytes, want) in cases {
        let outcome = inspect(bytes.as_slice(), Limits::default());
        assert_eq!(words(&outcome), want, "{} bytes", bytes.len());
        assert!(!outcome.unwrap_err().hint().is_empty());
    }
}

#[test]
fn padding_of_tar_is_no_rubbish() {
    let plain = [tarball(&[script("deploy")]), vec![0; 10 * 1024]].concat();
    assert_eq!(inspect(zstd(&plain).as_slice(), Limits::default()).unwrap().members, 1);
}

#[test]
fn a_damaged_stream_is_refused() {
    let plain = tarball(&[script("deploy"), file("data", &vec![3; 100_000])]);
    let mut packed = gzip(&plain);
    let place = packed.len() - 8;
    packed[place] ^= 1;
    let words = words(&inspect(packed.as_slice(), Limits::default()));
    assert!(words.starts_with("the payload is damaged: its gzip stream"), "{words}");
}

#[test]
fn sizes_beyond_the_budget_are_refused_before_they_are_read() {
    let members = [script("deploy"), file("large", &[0; 5000])];
    let budget = |unpacked| Limits { unpacked, ..Limits::default() };
    let packed = gzip(&tarball(&members));
    assert_eq!(inspect(packed.as_slice(), budget(3 * 4096)).unwrap().unpacked, 3 * 4096);
    let want = "member large: unpacked, the payload would exceed 12287 bytes of memory";
    assert_eq!(words(&inspect(packed.as_slice(), budget(3 * 4096 - 1))), want);

    // A header alone may promise any size.
    let mut plain = tarball(&[script("deploy"), file("huge", b"")]);
    let size = &mut plain[1024 + 124..1024 + 136];
    size.copy_from_slice(b"\x80\0\0\0\x0f\xff\xff\xff\xff\xff\xff\xff");
    let mut header = tar::Header::from_byte_slice(&plain[1024..1536]).clone();
    header.set_cksum();
    plain[1024..1536].copy_from_slice(header.as_bytes());
    let want = "member huge: unpacked, the payload would exceed 1000000 bytes of memory";
    assert_eq!(words(&inspect(gzip(&plain).as_slice(), budget(1_000_000))), want);
}

#[test]
fn too_many_members_are_refused() {
    let members = [script("deploy"), file("a", b""), file("b", b"")];
    let packed = gzip(&tarball(&members));
    let limits = Limits { members: 2, ..Limits::default() };
    let want = "member b: the payload has too many members (more than 2)";
    assert_eq!(words(&inspect(packed.as_slice(), limits)), want);
}

#[test]
fn a_long_name_is_not_kept_without_limit() {
    let mut long = file("././@LongLink", &vec![b'a'; 2 << 20]);
    long.kind = EntryType::GNULongName;
    let want =
        "the payload is damaged: its tarball cannot be read after deploy: its header is too large";
    assert_eq!(words(&read(&[script("deploy"), long, file("a", b"")])), want);
}

#[test]
fn windows_that_need_much_memory_are_refused() {
    let plain = tarball(&[script("deploy"), file("data", &vec![5; 1 << 20])]);
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    std::io::Write::write_all(&mut encoder, &plain).unwrap();
    let packed = encoder.finish().unwrap();
    let want = "the payload needs more than 32 MiB of memory to decompress";
    assert_eq!(words(&inspect(packed.as_slice(), Limits::default())), want);
}

#[test]
fn a_source_that_fails_is_no_refusal() {
    struct Failing;
    impl std::io::Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("the disk is gone"))
        }
    }
    let packed = gzip(&tarball(&[script("deploy")]));
    for readable in [0, 5, packed.len() / 2, packed.len()] {
        let source = std::io::Read::chain(&packed[..readable], Failing);
        let error = inspect(source, Limits::default()).unwrap_err();
        assert!(matches!(error, PayloadError::Io { .. }), "after {readable} bytes: {error}");
    }
}

#[test]
fn unpacking_needs_an_empty_folder() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("mine"), "").unwrap();
    let packed = gzip(&tarball(&[script("deploy")]));
    let error = unpack(packed.as_slice(), place.path(), Limits::default()).unwrap_err();
    assert!(!error.is_refusal(), "{error}");
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
}
