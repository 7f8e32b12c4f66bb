//! What is packed is unpacked again, by us and by tar(1), in every direction.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;

use proptest::prelude::*;

use super::SCRIPT;
use crate::payload::{Compression, Limits, pack, pack_file, unpack};

#[expect(clippy::disallowed_methods, reason = "the real tools are what we compare with")]
fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let output =
        std::process::Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    output
}

/// Lists everything in a folder: kind and mode, time, content or target, by name.
fn listing(folder: &Path) -> BTreeMap<String, (u32, i64, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![folder.to_owned()];
    while let Some(at) = ahead.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = if metadata.is_dir() {
                ahead.push(path.clone());
                Vec::new()
            } else if metadata.is_symlink() {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            found.insert(name, (metadata.mode(), metadata.mtime(), content));
        }
    }
    found
}

fn executable(path: &Path) {
    fs::write(path, SCRIPT).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// Fills a folder with everything that a payload may contain.
fn sample(folder: &Path) {
    fs::create_dir_all(folder.join("sub/deeper")).unwrap();
    executable(&folder.join("deploy"));
    fs::write(folder.join("sub/data"), vec![42; 100_000]).unwrap();
    fs::write(folder.join("sub/deeper/ünï"), "").unwrap();
    fs::write(folder.join(format!("sub/{}", "long".repeat(50))), "x").unwrap();
    symlink("../deploy", folder.join("sub/link")).unwrap();
    symlink(format!("deeper/{}", "far/".repeat(50)), folder.join("sub/long-link")).unwrap();
    fs::hard_link(folder.join("sub/data"), folder.join("twin")).unwrap();
    fs::set_permissions(folder.join("sub/deeper"), Permissions::from_mode(0o555)).unwrap();
}

#[test]
fn what_is_packed_is_unpacked_equal() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("payload");
    sample(&folder);
    for (name, compression) in [("a.tgz", Compression::Gzip), ("a.tar.zst", Compression::Zstd)] {
        let path = place.path().join(name);
        let packed = pack_file(&folder, &path, compression, None).unwrap();
        let out = place.path().join(format!("{name}.out"));
        let file = fs::File::open(&path).unwrap();
        let unpacked = unpack(file, &out, Limits::default()).unwrap();
        assert_eq!(packed, unpacked);
        assert_eq!(listing(&out), listing(&folder), "{name}");
        let inode = |name: &str| fs::metadata(out.join(name)).unwrap().ino();
        assert_eq!(inode("sub/data"), inode("twin"));
    }
}

#[test]
fn what_holds_secrets_is_for_the_caller_alone() {
    for secrets in ["secrets", "server/secrets.revealed"] {
        let place = tempfile::tempdir().unwrap();
        let (folder, path) = (place.path().join("payload"), place.path().join("a.tgz"));
        sample(&folder);
        fs::create_dir_all(folder.join(secrets)).unwrap();
        pack_file(&folder, &path, Compression::Gzip, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "{secrets}");
    }
}

#[test]
fn tar_reads_what_we_pack() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("payload");
    sample(&folder);
    for (name, compression) in [("a.tar.gz", Compression::Gzip), ("a.tar.zst", Compression::Zstd)] {
        pack_file(&folder, &place.path().join(name), compression, None).unwrap();
        let out = format!("{name}.out");
        fs::create_dir(place.path().join(&out)).unwrap();
        run(place.path(), "tar", &["-xpf", name, "-C", &out]);
        assert_eq!(listing(&place.path().join(&out)), listing(&folder), "{name}");
    }
}

#[test]
fn we_read_what_tar_packs_in_every_format() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("payload");
    sample(&folder);
    for format in ["gnu", "pax", "posix"] {
        for (filter, from) in [("--gzip", "."), ("--zstd", "payload")] {
            let base = if from == "." { folder.as_path() } else { place.path() };
            let name = format!("{format}{filter}.tar");
            let file = place.path().join(&name);
            let option = format!("--format={format}");
            run(base, "tar", &[&option, filter, "-cf", file.to_str().unwrap(), from]);
            let out = place.path().join(format!("{name}.out"));
            let found = unpack(fs::File::open(&file).unwrap(), &out, Limits::default()).unwrap();
            assert_eq!(found.top.as_deref(), (from != ".").then_some("payload"));
            assert_eq!(listing(&out), listing(&folder), "{name}");
        }
    }
}

#[test]
fn sparse_files_of_tar_are_refused() {
    let place = tempfile::tempdir().unwrap();
    executable(&place.path().join("deploy"));
    let hole = fs::File::create(place.path().join("hole")).unwrap();
    hole.set_len(10 << 20).unwrap();
    for format in ["gnu", "pax"] {
        let option = format!("--format={format}");
        let made = run(place.path(), "tar", &["-S", &option, "--gzip", "-c", "deploy", "hole"]);
        let outcome = crate::payload::inspect(made.stdout.as_slice(), Limits::default());
        assert!(outcome.unwrap_err().to_string().ends_with("it is a sparse file"), "{format}");
    }
}

#[test]
fn the_same_folder_gives_the_same_bytes() {
    let place = tempfile::tempdir().unwrap();
    let bytes = |name: &str| {
        let folder = place.path().join(name);
        sample(&folder);
        let mut packed = Vec::new();
        // The two folders were made at different times, but both after this one.
        pack(&folder, &mut packed, Compression::Gzip, Some(1_000_000_000)).unwrap();
        packed
    };
    assert_eq!(bytes("one"), bytes("two"));
}

#[test]
fn a_folder_that_is_no_payload_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("payload");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("deploy"), SCRIPT).unwrap();
    let outcome = pack_file(&folder, &place.path().join("a.tgz"), Compression::Gzip, None);
    let want = "member deploy: it is not executable (mode 0644)";
    assert_eq!(outcome.unwrap_err().to_string(), want);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_survives_packing_and_unpacking(
        files in prop::collection::btree_map(
            "[a-c]{1,2}(/[d-f]{1,120}){0,2}",
            (prop::collection::vec(any::<u8>(), 0..2000), 0_u32..0o1000, any::<u32>()),
            0..12,
        ),
        zstd in any::<bool>(),
    ) {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("payload");
        fs::create_dir(&folder).unwrap();
        executable(&folder.join("deploy"));
        for (name, (content, mode, time)) in files {
            let path = folder.join(name);
            // A name may lie below that of an earlier file.
            if fs::create_dir_all(path.parent().unwrap()).is_err() || path.exists() {
                continue;
            }
            fs::write(&path, content).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::from(time));
            fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode | 0o400)).unwrap();
        }
        let mut packed = Vec::new();
        let compression = if zstd { Compression::Zstd } else { Compression::Gzip };
        pack(&folder, &mut packed, compression, None).unwrap();
        let out = place.path().join("out");
        unpack(packed.as_slice(), &out, Limits::default()).unwrap();
        prop_assert_eq!(listing(&out), listing(&folder));
    }
}
