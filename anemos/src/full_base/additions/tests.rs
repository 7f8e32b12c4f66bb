//! Tests what can be added to a base.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use flate2::Compression;
use flate2::write::GzEncoder;
use initramfs::listing::list;
use tar::{EntryType, Header};

use super::*;

/// Returns a part of an .apk: a compressed tarball without the zeros at its end.
fn part(members: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for (kind, name, content) in members {
        let mut header = Header::new_ustar();
        header.set_entry_type(*kind);
        // The crate refuses to write names that lead outside, so write them by hand.
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let link = matches!(kind, EntryType::Symlink | EntryType::Link);
        if link {
            header.set_link_name(content).unwrap();
        }
        let content = if link { "" } else { content };
        header.set_size(content.len() as u64);
        header.set_cksum();
        encoder.write_all(header.as_bytes()).unwrap();
        let padded = content.len().next_multiple_of(512);
        let mut bytes = content.as_bytes().to_vec();
        bytes.resize(padded, 0);
        encoder.write_all(&bytes).unwrap();
    }
    encoder.finish().unwrap()
}

fn apk(data: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let signature = part(&[(EntryType::Regular, ".SIGN.RSA.a.rsa.pub", "s")]);
    let control = part(&[(EntryType::Regular, ".PKGINFO", "pkgname = a")]);
    [signature, control, part(data)].concat()
}

/// Returns what a base with a link `lib` to `usr/lib` contains after these additions.
fn added(paths: &[&Path]) -> Vec<(String, u32, Option<String>)> {
    let mut links = Links::default();
    links.note("lib", Some("usr/lib"));
    let mut writer = Writer::new(Vec::new());
    for path in paths {
        let addition = Addition::open(path).unwrap();
        addition.write(&mut writer, Packing::Dense, &mut links, 0).unwrap();
    }
    let entries = list(writer.finish().unwrap().as_slice()).unwrap();
    entries.into_iter().map(|entry| (entry.name, entry.mode, entry.target)).collect()
}

#[test]
fn an_apk_brings_its_files_through_the_links_of_the_base_and_nothing_about_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.apk");
    let data = [
        (EntryType::Directory, "lib/", ""),
        (EntryType::Regular, "lib/libz.so.1", "z"),
        (EntryType::Link, "lib/libz.so", "lib/libz.so.1"),
        (EntryType::Symlink, "etc/z", "../lib/libz.so"),
    ];
    fs::write(&path, apk(&data)).unwrap();
    let link = |name: &str, target: &str| (name.to_owned(), 0o120_777, Some(target.to_owned()));
    let want = [
        ("usr/lib".to_owned(), 0o040_755, None),
        ("usr/lib/libz.so.1".to_owned(), 0o100_755, None),
        link("usr/lib/libz.so", "libz.so.1"),
        link("etc/z", "../lib/libz.so"),
    ];
    assert_eq!(added(&[&path]), want);
}

#[test]
fn a_folder_keeps_its_modes_and_links_and_a_later_addition_replaces_an_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    for (root, mode) in [(&first, 0o644), (&second, 0o4755)] {
        fs::create_dir_all(root.join("lib")).unwrap();
        fs::write(root.join("lib/tool"), "text").unwrap();
        fs::set_permissions(root.join("lib/tool"), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("tool", second.join("lib/also")).unwrap();
    let names: Vec<_> = added(&[&first, &second]).into_iter().collect();
    assert!(names.contains(&("usr/lib/tool".to_owned(), 0o104_755, None)), "{names:?}");
    assert!(names.contains(&("usr/lib/also".to_owned(), 0o120_777, Some("tool".to_owned()))));
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn newc_archives_are_appended_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("more.cpio");
    for packing in [Packing::Raw, Packing::Zstd] {
        let mut writer = Writer::new(Vec::new());
        writer.segment(packing, |segment| segment.bytes("etc/more", 0o600, b"more")).unwrap();
        let archive = writer.finish().unwrap();
        fs::write(&path, &archive).unwrap();
        assert_eq!(added(&[&path]), [("etc/more".to_owned(), 0o100_600, None)], "{packing:?}");
    }
}

#[test]
fn what_cannot_be_added_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("it");
    let fifo = apk(&[(EntryType::Fifo, "run/pipe", "")]);
    let outside = apk(&[(EntryType::Regular, "etc/../../x", "")]);
    for (content, want) in [
        (&b"ADB.\0\0"[..], "is an .apk of the format 3 (ADB), which only apk itself reads"),
        (b"\x7fELF", "is neither an .apk, a tarball nor a newc archive"),
        (b"", "is neither an .apk, a tarball nor a newc archive"),
        (&fifo, "cannot be added: run/pipe is neither a file, a folder nor a link (Fifo)"),
        (&outside, "cannot be added: the name etc/../../x contains .."),
    ] {
        fs::write(&path, content).unwrap();
        let error = Addition::open(&path).unwrap_err().to_string();
        assert_eq!(error, format!("{} {want}", path.display()));
    }
    let special = folder.path().join("special");
    fs::create_dir(&special).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(special.join("socket")).unwrap();
    let error = Addition::open(&special).unwrap_err().to_string();
    assert!(
        error.ends_with("cannot be added: socket is neither a file, a folder nor a link"),
        "{error}"
    );
}
