//! Checks the final initramfs with other readers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use contract::deploy::PayloadMember;
use contract::disk::DiskIdentity;
use contract::firmware::Firmware;
use contract::network::Restore;
use initramfs::listing;

use super::*;

fn description() -> Deploy {
    Deploy {
        version: "1".to_owned(),
        hostname: "vps".to_owned(),
        machine_id: None,
        firmware: Some(Firmware::Bios),
        arch: "x86_64".to_owned(),
        console: None,
        disk: DiskIdentity::default(),
        also_write: Vec::new(),
        ssh_ports: Vec::new(),
        restore: Restore::None,
        network: None,
        watchdog: false,
        needs_network: true,
        answered: None,
        origins: Vec::new(),
        modules: Vec::new(),
        payload: PayloadMember {
            name: "p.tar.gz".to_owned(),
            size: 7,
            sha256: String::new(),
            unpacked_limit: 0,
        },
        mode: contract::attempt::Mode::Deployment,
        after_commit: contract::deploy::AfterCommit::Rescue,
        began: None,
        report: None,
        deploy_limit_secs: 1,
        written_at: 0,
    }
}

fn member(name: &str, text: &str) -> Member {
    Member::new(name, Source::Bytes { bytes: text.as_bytes().to_vec(), permissions: 0o600 })
}

fn contents(base: BaseContents) -> Contents {
    Contents {
        base,
        members: vec![member("init", "init"), member("usr/lib/modules/1/a.ko", "module")],
        packed: vec![member(paths::PAYLOAD, "payload")],
        load: Vec::new(),
        drivers_missing: Vec::new(),
    }
}

fn built_in() -> BaseContents {
    let link = Member::new("lib", Source::Symlink("usr/lib".to_owned()));
    BaseContents::BuiltIn(vec![link, member("usr/bin/sh", "shell")])
}

fn write_in(folder: &Path, name: &str, base: BaseContents) -> Vec<u8> {
    let path = folder.join(name);
    let size = write(&contents(base), &description(), &path).unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, size);
    bytes
}

#[test]
fn the_manifest_is_our_first_file_and_the_canary_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_in(folder.path(), "final", built_in());
    let entries = listing::list(bytes.as_slice()).unwrap();
    let files = entries.iter().filter(|entry| entry.mode & 0o170_000 == 0o100_000);
    let names: Vec<_> = files.map(|entry| entry.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "usr/bin/sh",
            "anemos/manifest.json",
            "anemos/deploy.json",
            "init",
            "usr/lib/modules/1/a.ko",
            "anemos/payload",
            "anemos/canary"
        ]
    );
}

#[test]
fn the_same_contents_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [one, two] = ["one", "two"].map(|name| write_in(folder.path(), name, built_in()));
    assert_eq!(one, two);
}

#[test]
fn a_base_of_ones_own_is_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base");
    fs::write(&path, write_in(folder.path(), "first", built_in())).unwrap();
    let base = fs::read(&path).unwrap();
    let size = base.len() as u64;
    let bytes = write_in(
        folder.path(),
        "final",
        BaseContents::File { path, size, unpacked: 0, entries: Vec::new() },
    );
    assert_eq!(bytes.get(..base.len()), Some(base.as_slice()));
}

#[test]
fn keys_are_for_the_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_in(folder.path(), "final", built_in());
    let mode = fs::metadata(folder.path().join("final")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "of the file itself");
    let entries = listing::list(bytes.as_slice()).unwrap();
    let modes: BTreeMap<_, _> =
        entries.iter().map(|entry| (entry.name.as_str(), entry.mode & 0o777)).collect();
    assert_eq!(modes.get("anemos"), Some(&0o700));
    assert_eq!(modes.get("anemos/host-keys"), Some(&0o700));
    assert_eq!(modes.get("anemos/deploy.json"), Some(&0o600));
}

#[test]
fn nothing_is_left_behind_when_a_member_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let mut contents = contents(built_in());
    let gone = Source::File { path: folder.path().join("gone"), size: 1, permissions: 0o644 };
    contents.members.push(Member::new("gone", gone));
    let error = write(&contents, &description(), &folder.path().join("final")).unwrap_err();
    assert!(format!("{error:#}").contains("packing gone: No such file"), "{error:#}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn cpio_reads_the_raw_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_in(folder.path(), "final", built_in());
    // Its first member, after a newc header of 110 bytes.
    let name = b"anemos/payload\0";
    let start = bytes.windows(name.len()).rposition(|window| window == name).unwrap() - 110;
    let raw = folder.path().join("raw");
    fs::write(&raw, &bytes[start..]).unwrap();
    let list = crate::command::output(
        Path::new("/bin/cpio"),
        ["-t".as_ref(), "--quiet".as_ref(), "-F".as_ref(), raw.as_os_str()],
    );
    assert_eq!(list.unwrap(), "anemos/payload\nanemos/canary\n");
}

#[test]
fn cpio_reads_the_devices_that_pid_1_starts_with() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("devices");
    let mut writer = Writer::new(File::create(&path).unwrap());
    writer.segment(Packing::Raw, |segment| put_devices(segment, &mut BTreeSet::new())).unwrap();
    writer.finish().unwrap();
    let list = crate::command::output(
        Path::new("/bin/cpio"),
        ["-tvn".as_ref(), "--quiet".as_ref(), "-F".as_ref(), path.as_os_str()],
    );
    let list = list.unwrap();
    let devices = list.lines().filter(|line| line.starts_with('c'));
    let lines = devices.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let told: Vec<_> = lines.map(|words| [&words[..1], &words[4..6]].concat().join(" ")).collect();
    assert_eq!(told, ["crw------- 5, 1", "crw-rw-rw- 1, 3"]);
}

#[test]
fn the_devices_are_in_the_final_initramfs_but_not_in_its_manifest() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = write_in(folder.path(), "final", built_in());
    let names: Vec<_> =
        listing::list(bytes.as_slice()).unwrap().into_iter().map(|entry| entry.name).collect();
    let manifest = manifest_of(&contents(built_in()), &member(paths::DEPLOY, ""));
    for (name, _, _) in DEVICES {
        assert!(names.iter().any(|one| one == name), "{name} in {names:?}");
        assert!(manifest.members.iter().all(|one| one.name != name), "{name} in the manifest");
    }
}
