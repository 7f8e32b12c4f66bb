//! Claims about reading an initramfs back.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use proptest::prelude::*;

use super::{Entry, find, list};
use crate::archive::{Packing, Writer};

#[expect(clippy::disallowed_methods, reason = "the real tools are what we compare with")]
fn shell(folder: &Path, script: &str) -> Output {
    let output = Command::new("sh").args(["-ec", script]).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    output
}

fn entry(name: &str, mode: u32, size: u64, target: Option<&str>) -> Entry {
    Entry { name: name.to_owned(), mode, size, target: target.map(str::to_owned) }
}

fn written(packings: &[Packing]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (index, packing) in packings.iter().enumerate() {
        let fill = |segment: &mut crate::archive::Segment<'_>| {
            segment.folder("usr", 0o755)?;
            segment.symlink("bin", "usr")?;
            segment.bytes(&format!("usr/file{index}"), 0o644, &vec![1; 10_000 + index])
        };
        writer.segment(*packing, fill).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn every_segment_is_read_whatever_its_packing() {
    let bytes = written(&[Packing::Raw, Packing::Zstd, Packing::Raw]);
    let want = [
        entry("usr/file0", 0o100_644, 10_000, None),
        entry("usr/file1", 0o100_644, 10_001, None),
        entry("usr", 0o040_755, 0, None),
        entry("bin", 0o120_777, 3, Some("usr")),
        entry("usr/file2", 0o100_644, 10_002, None),
    ];
    assert_eq!(list(bytes.as_slice()).unwrap(), want);
}

#[test]
fn what_cpio_writes_is_listed() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    fs::create_dir_all(folder.join("root/etc")).unwrap();
    fs::write(folder.join("root/etc/motd"), "hello").unwrap();
    shell(folder, "cd root; find . | sort | cpio --quiet -o -H newc > ../raw");
    shell(folder, "gzip -k raw; zstd -q raw; cat raw raw.gz raw raw.zst > all");
    for name in ["raw", "raw.gz", "raw.zst", "all"] {
        let found = list(fs::File::open(folder.join(name)).unwrap()).unwrap();
        let names: Vec<_> = found.iter().map(|one| (one.name.as_str(), one.size)).collect();
        assert_eq!(names, [(".", 0), ("etc", 0), ("etc/motd", 5)], "{name}");
    }
}

#[test]
fn links_lead_to_what_they_stand_for() {
    let entries = [
        entry("usr", 0o040_755, 0, None),
        entry("usr/bin", 0o040_755, 0, None),
        entry("usr/bin/sh", 0o120_777, 4, Some("dash")),
        entry("usr/bin/dash", 0o100_755, 9, None),
        entry("bin", 0o120_777, 7, Some("usr/bin")),
        entry("etc", 0o040_755, 0, None),
        entry("etc/shell", 0o120_777, 7, Some("/bin/sh")),
        entry("etc/up", 0o120_777, 15, Some("../usr/./bin/sh")),
        entry("loop", 0o120_777, 4, Some("loop")),
    ];
    for (path, want) in [
        ("/bin/sh", Some("usr/bin/dash")),
        ("usr/bin/dash", Some("usr/bin/dash")),
        ("/etc/shell", Some("usr/bin/dash")),
        ("/etc/up", Some("usr/bin/dash")),
        ("/bin/zsh", None),
        ("/loop", None),
    ] {
        assert_eq!(find(&entries, path).map(|found| found.name.as_str()), want, "{path}");
    }
}

#[test]
fn what_is_no_initramfs_is_named_with_its_place() {
    let good = written(&[Packing::Raw]);
    let junk = [good.as_slice(), b"junk"].concat();
    let error = list(junk.as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "no initramfs from byte 10480 of the file on");
    assert_eq!(error.source.to_string(), "neither a newc archive nor gzip or zstd (junk)");
    let cut = &written(&[Packing::Zstd])[..60];
    assert!(list(cut).is_err());
    assert!(list(&good[..good.len() - 130]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_never_panics(
        place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()
    ) {
        let mut bytes = written(&[Packing::Raw, Packing::Zstd]);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        bytes.truncate(cut.index(bytes.len()));
        drop(list(bytes.as_slice()));
    }
}
