//! Tests facts from file trees of real machines.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::root::Root;
use super::sshd::{Settings, Sshd};
pub(crate) use super::watchdog::tests::i6300esb;
use super::{Disk, Facts, Keyring, disks, is_machine_id, kernel, users};

/// The files of a Debian 12 cloud guest under QEMU.
const CLOUD: &str = include_str!("testdata/debian-12-virtio.tree");
/// A server with RAID 1, LVM and encryption on two disks.
const SERVER: &str = include_str!("testdata/raid-lvm-crypt.tree");

/// Two SCSI disks with two partitions each; nothing is mounted.
const TWO_DISKS: &str = include_str!("testdata/two-disks.tree");

/// Creates a tree from lines `path = text` and `path -> link`; `\n` stands for a newline.
fn lay_out(root: &Path, text: &str) {
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (path, content, is_link) = match (line.split_once(" = "), line.split_once(" -> ")) {
            (Some((path, content)), _) => (path, content, false),
            (None, Some((path, target))) => (path, target, true),
            (None, None) => (line, "", false),
        };
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if is_link {
            symlink(content, path).unwrap();
        } else {
            fs::write(path, content.replace("\\n", "\n")).unwrap();
        }
    }
}

/// Returns the keys in a tree, whose machine has a directory service with one more user.
fn keyring(root: &Path, invoker: Option<&str>) -> Keyring {
    let ask = |name: &str| match name {
        "eve" => Ok("EVE:x:70000:70000::/srv/eve:/bin/sh\n".to_owned()),
        _ => Err(anyhow::anyhow!("nobody knows")),
    };
    Keyring::read(&Root::new(root), &Sshd::absent(), invoker, ask)
}

fn facts(text: &str) -> Facts {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), text);
    let image = root.path().join("boot/vmlinuz-6.1.0-18-cloud-amd64");
    if image.exists() {
        fs::write(&image, kernel::tests::bzimage("6.1.0-18-cloud-amd64 (debian)")).unwrap();
    }
    if root.path().join("boot/grub").exists() {
        fs::write(root.path().join("boot/grub/grubenv"), [b'#'; 1024]).unwrap();
    }
    let keyring = keyring(root.path(), Some("debian"));
    let mut facts = Facts::read(root.path(), &keyring).unwrap();
    // This is not from the tree but from the machine that runs the test.
    facts.privileged = true;
    facts.arch = "x86_64".to_owned();
    facts.clock = super::Clock { now: 1_700_000_000, kernel_installed: 1_690_000_000 };
    let loader = &mut facts.boot_loader;
    let volumes = [
        loader.grub.as_mut().map(|grub| &mut grub.volume),
        loader.esp.as_mut().map(|esp| &mut esp.volume),
    ];
    volumes.into_iter().flatten().for_each(|volume| volume.free = 1 << 30);
    facts
}

/// Returns the facts of the cloud guest, for tests of decisions about them.
pub(crate) fn cloud() -> Facts {
    facts(CLOUD)
}

/// Returns the facts of the server, which was booted by UEFI and has no kernel image.
pub(crate) fn server() -> Facts {
    facts(SERVER)
}

/// Returns the two disks with these mounts and these additional files.
fn two_disks(mounts: &[String], more: &str) -> Vec<Disk> {
    let place = tempfile::tempdir().unwrap();
    let mounts = mounts.join("\\n");
    lay_out(place.path(), &format!("{TWO_DISKS}proc/self/mountinfo = {mounts}\n{more}"));
    disks::read(&Root::new(place.path())).unwrap()
}

#[test]
fn a_cloud_guest_is_read() {
    insta::assert_json_snapshot!(facts(CLOUD));
}

#[test]
fn layers_between_disk_and_root_are_walked() {
    let facts = facts(SERVER);
    assert_eq!(facts.root_disks, ["nvme0n1", "nvme1n1"]);
    assert_eq!(facts.boot_disks, facts.root_disks);
    insta::assert_json_snapshot!(facts.disks[0].content, @r#"
    {
      "name": "nvme0n1",
      "kind": "disk",
      "size": 512000000,
      "inside": [
        {
          "name": "nvme0n1p2",
          "kind": "partition",
          "size": 460800000,
          "inside": [
            {
              "name": "md0",
              "kind": "raid1",
              "size": 455680000,
              "inside": [
                {
                  "name": "md0_crypt",
                  "kind": "crypt",
                  "size": 450560000,
                  "inside": [
                    {
                      "name": "vg-root",
                      "kind": "lvm",
                      "size": 358400000,
                      "filesystem": "ext4",
                      "mounts": [
                        "/",
                        "/mnt/bind"
                      ]
                    },
                    {
                      "name": "vg-swap",
                      "kind": "lvm",
                      "size": 46080000,
                      "filesystem": "swap",
                      "label": "swapspace",
                      "swap": true
                    }
                  ]
                }
              ]
            }
          ]
        }
      ]
    }
    "#);
}

#[test]
fn facts_survive_a_file() {
    let facts = facts(CLOUD);
    let text = serde_json::to_string(&facts).unwrap();
    assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
}

#[test]
fn a_machine_boots_from_the_disks_of_its_boot_loader() {
    for (mounts, want) in [
        (&["8:18 / /"][..], &["sdb"][..]),
        (&["8:18 / /", "8:1 / /boot"], &["sda"]),
        (&["8:18 / /", "8:1 / /boot/efi"], &["sda"]),
        (&["8:18 / /", "8:17 / /boot", "8:1 / /efi"], &["sda", "sdb"]),
        (&["8:18 / /", "8:1 / /boot/grub/themes"], &["sdb"]),
        (&["0:30 / /"], &[]),
    ] {
        let line = |mount: &&str| format!("25 1 {mount} rw - ext4 any rw");
        let disks = two_disks(&mounts.iter().map(line).collect::<Vec<_>>(), "");
        assert_eq!(disks::booted_from(&disks), want, "{mounts:?}");
    }
}

#[test]
fn a_btrfs_lies_on_all_of_its_members() {
    let mapped = "sys/block/dm-3 -> ../devices/virtual/block/dm-3\n\
                  sys/devices/virtual/block/dm-3/dev = 253:3\n\
                  sys/devices/virtual/block/dm-3/dm/name = b_crypt\n\
                  sys/devices/pci0000:00/0000:00:05.0/host0/target0:0:1/0:0:1:0/block/sdb/sdb2/\
                  holders/dm-3 -> ../../../../../../../../../../virtual/block/dm-3\n";
    for (source, members, want) in [
        ("/dev/sda2", &["sda2"][..], &["sda"][..]),
        ("/dev/sda2", &["sda2", "sdb2"], &["sda", "sdb"]),
        ("/dev/sda2", &["sda2", "dm-3"], &["sda", "sdb"]),
        ("/dev/mapper/b_crypt", &["sda2", "dm-3"], &["sda", "sdb"]),
        ("/dev/sdb1", &["sda2", "sda1"], &["sdb"]),
    ] {
        let member = |name: &&str| format!("sys/fs/btrfs/0a1b/devices/{name}\n");
        let more = mapped.to_owned() + &members.iter().map(member).collect::<String>();
        let mount = format!("25 1 0:30 /@ / rw - btrfs {source} rw,subvol=/@");
        let disks = two_disks(&[mount], &more);
        assert_eq!(disks::below_root(&disks), want, "{source} {members:?}");
    }
}

#[test]
fn facts_of_an_older_version_know_no_disk_that_is_booted_from() {
    let mut older = serde_json::to_value(facts(CLOUD)).unwrap();
    older.as_object_mut().unwrap().remove("boot-disks");
    assert_eq!(serde_json::from_value::<Facts>(older).unwrap().boot_disks, [""; 0]);
}

#[test]
fn only_an_identity_is_one() {
    for (text, want) in [
        ("0123456789abcdef0123456789abcdef", true),
        ("0123456789ABCDEF0123456789ABCDEF", false),
        ("0123456789abcdef", false),
        ("uninitialized", false),
        ("", false),
    ] {
        assert_eq!(is_machine_id(text), want, "{text:?}");
    }
}

#[test]
fn administrators_get_in_without_being_the_one_behind_sudo() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), CLOUD);
    let keys = |invoker| {
        let keyring = keyring(root.path(), invoker);
        assert_eq!(keyring.warnings, Vec::<String>::new());
        keyring.authorized_keys.into_iter().map(|key| key.line).collect::<Vec<_>>()
    };
    assert_eq!(keys(None), ["ssh-ed25519 AAAAC3Nza me@laptop"]);
    let both = ["ssh-ed25519 AAAAC3Nza me@laptop", "ssh-rsa AAAAB3Nza other"];
    assert_eq!(keys(Some("debian")), both);
    fs::write(root.path().join("etc/group"), "sudo:x:27:debian\n").unwrap();
    assert_eq!(keys(None), both);
}

#[test]
fn who_called_sudo_is_looked_up_beyond_the_user_database_and_missed_with_a_word() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), "srv/eve/.ssh/authorized_keys = ssh-rsa AAAAE eve");
    let found = |invoker| {
        let keyring = keyring(root.path(), Some(invoker));
        let lines: Vec<_> = keyring.authorized_keys.into_iter().map(|key| key.line).collect();
        (lines, keyring.warnings)
    };
    assert_eq!(found("eve"), (vec!["ssh-rsa AAAAE eve".to_owned()], vec![]));
    let warning = "keys of the user behind sudo are left out: looking up bob, whom /etc/passwd lacks: \
                   nobody knows";
    assert_eq!(found("bob"), (vec![], vec![warning.to_owned()]));
}

#[test]
fn whose_certificates_are_accepted_goes_along_for_each_user_or_is_missed_with_a_word() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path(), "etc/ssh/ca.pub = # ours\\nssh-rsa AAAAC ca\\n\\nno-pty ssh-rsa AAAAD\\n");
    let users = users::parse("root:x:0:0::/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n");
    let lost = "certificates signed by a key of";
    for (settings, want) in [
        (
            "trustedusercakeys /etc/ssh/ca.pub\nauthorizedprincipalsfile none",
            "cert-authority,principals=\"root\" ssh-rsa AAAAC ca\n\
             cert-authority,principals=\"ada\" ssh-rsa AAAAC ca"
                .to_owned(),
        ),
        ("trustedusercakeys none", String::new()),
        (
            "trustedusercakeys /etc/ssh/gone",
            format!("{lost} /etc/ssh/gone are not accepted afterwards: it cannot be read"),
        ),
        (
            "trustedusercakeys /etc/ssh/ca.pub\nauthorizedprincipalsfile /etc/ssh/names/%u",
            format!(
                "{lost} /etc/ssh/ca.pub are not accepted afterwards: AuthorizedPrincipalsFile says \
                 whom they must name"
            ),
        ),
    ] {
        let mut keyring = Keyring::default();
        for user in &users {
            keyring.add_authorities(&Root::new(root.path()), &Settings::parse(settings), user);
        }
        let keys = keyring.authorized_keys.into_iter().map(|key| key.line);
        let said: Vec<_> = keys.chain(keyring.warnings).collect();
        assert_eq!(said.join("\n"), want, "{settings}");
    }
}
