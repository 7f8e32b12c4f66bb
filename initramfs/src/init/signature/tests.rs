//! Tests of the judgement, one line per case.

use super::*;

const TABLE: &str = "partition-table";

fn signature(offset: u64, kind: &str, uuid: Option<&str>, usage: &str) -> Signature {
    let uuid = uuid.map(str::to_owned);
    Signature { offset, kind: kind.to_owned(), uuid, usage: usage.to_owned() }
}

/// Returns a signature on a partition at 1 MiB; the sector has one byte.
fn found(offset: u64, kind: &str, uuid: &str, usage: &str, sector: u8) -> Found {
    let uuid = (!uuid.is_empty()).then_some(uuid);
    Found { signature: signature(offset, kind, uuid, usage), start: 1 << 20, sector: vec![sector] }
}

#[test]
fn what_wipefs_lists_is_understood() {
    let (md, swap) =
        ("8e7568fd-f05d-c4ce-3cb4-79b909a7aada", "d9b4625c-a2bb-44c7-a68e-215df15b1790");
    for (listed, want) in [
        // wipefs of util-linux 2.38.1. The partition of the fixture debian-12-md, after busybox's
        // mkswap has written to it.
        (
            include_str!("../testdata/swap-over-md.json"),
            vec![
                signature(0x1000, "linux_raid_member", Some(md), "raid"),
                signature(0xff6, "swap", Some(swap), "other"),
            ],
        ),
        // The disk of that fixture.
        (
            include_str!("../testdata/gpt.json"),
            vec![
                signature(0x200, "gpt", None, TABLE),
                signature(0xffff_fe00, "gpt", None, TABLE),
                signature(0x1fe, "PMBR", None, TABLE),
            ],
        ),
        ("{\n   \"signatures\": [\n\n   ]\n}\n", vec![]),
        ("", vec![]),
    ] {
        assert_eq!(parse(listed).unwrap(), want, "{listed}");
    }
}

#[test]
fn what_wipefs_does_not_list_is_an_error() {
    for (listed, want) in [
        ("DEVICE OFFSET", "parsing the list of wipefs"),
        (r#"{"signatures": [{"offset": "8", "type": "a", "usage": "b"}]}"#, "an offset has no 0x"),
    ] {
        assert_eq!(parse(listed).unwrap_err().to_string(), want, "{listed}");
    }
}

#[test]
fn what_could_be_assembled_is_told_from_file_systems() {
    for (kind, usage, want) in [
        ("linux_raid_member", "raid", true),
        ("LVM2_member", "raid", true),
        ("crypto_LUKS", "crypto", true),
        ("swap", "other", true),
        ("btrfs", "filesystem", true),
        ("ext4", "filesystem", false),
        ("gpt", TABLE, false),
    ] {
        assert_eq!(signature(0, kind, None, usage).is_holder(), want, "{kind}");
    }
}

/// Summarises a judgement: what is left over, or why nothing is.
fn short(device: Device, now: &[Found], old: &[Found]) -> String {
    let kinds = |found: Vec<&Found>| {
        let kinds: Vec<_> = found.iter().map(|found| found.signature.kind.clone()).collect();
        kinds.join(" ")
    };
    match judge(device, now, old) {
        Judgement::New => "new".to_owned(),
        Judgement::Untouched(old) => format!("untouched: {}", kinds(old)),
        Judgement::Doubtful(old) => format!("doubtful: {}", kinds(old)),
        Judgement::LeftOver { old, beside } => {
            format!("left over: {} beside {}", kinds(old), beside.signature.kind)
        }
    }
}

#[test]
fn only_what_nobody_wrote_is_left_over_and_only_beside_something_new() {
    let md = found(4096, "linux_raid_member", "old", "raid", 1);
    let end = found(1 << 30, "linux_raid_member", "old", "raid", 1);
    let squash = found(0, "squashfs", "", "filesystem", 1);
    let (fat, ext4) =
        (found(82, "vfat", "id", "filesystem", 1), found(1080, "ext4", "old", "filesystem", 1));
    let new = |kind, usage| found(0, kind, "new", usage, 2);
    let again = |found: &Found| Found { sector: vec![3], ..found.clone() };
    let (swap, root) = (new("swap", "other"), new("ext4", "filesystem"));
    for (case, now, old, want) in [
        ("nothing", vec![], vec![&md], "new"),
        ("a new one", vec![&root], vec![&md], "new"),
        ("left", vec![&md, &swap], vec![&md], "left over: linux_raid_member beside swap"),
        ("at the end", vec![&root, &end], vec![&end], "left over: linux_raid_member beside ext4"),
        ("a file system", vec![&ext4, &swap], vec![&md, &ext4], "left over: ext4 beside swap"),
        ("kept, or the same again", vec![&md], vec![&md], "untouched: linux_raid_member"),
        ("both again", vec![&ext4, &end], vec![&ext4, &end], "untouched: ext4 linux_raid_member"),
        ("made again", vec![&again(&md), &swap], vec![&md], "new"),
        (
            "a member that is mounted",
            vec![&again(&ext4), &end],
            vec![&ext4, &end],
            "untouched: linux_raid_member",
        ),
        (
            "in a new array",
            vec![&fat, &new("linux_raid_member", "raid")],
            vec![&fat],
            "doubtful: vfat",
        ),
        (
            "without identity",
            vec![&squash, &new("DM_verity_hash", "crypto")],
            vec![&squash],
            "doubtful: squashfs",
        ),
        ("a boot sector", vec![&ext4, &new("dos", TABLE)], vec![&ext4], "untouched: ext4"),
    ] {
        let (now, old): (Vec<_>, Vec<_>) =
            (now.into_iter().cloned().collect(), old.into_iter().cloned().collect());
        assert_eq!(short(Device::Partition, &now, &old), want, "{case}");
    }
}

#[test]
fn a_new_table_on_the_disk_leaves_over_what_holds_other_devices() {
    let table = |byte| found(512, "gpt", "", TABLE, byte);
    let pv = found(536, "LVM2_member", "old", "raid", 1);
    let iso = found(32769, "iso9660", "date", "filesystem", 1);
    for (now, old, want) in [
        ([&table(2), &pv], [&table(1), &pv], "left over: LVM2_member beside gpt"),
        ([&table(1), &pv], [&table(1), &pv], "untouched: LVM2_member"),
        ([&table(2), &iso], [&table(1), &iso], "doubtful: iso9660"),
        ([&table(1), &table(1)], [&table(1), &table(1)], "new"),
    ] {
        let (now, old) = (now.map(Found::clone), old.map(Found::clone));
        assert_eq!(short(Device::Disk, &now, &old), want, "{want}");
    }
}

#[test]
fn a_signature_is_the_same_on_another_partition_that_has_it_in_the_same_place() {
    let old = found(4096, "linux_raid_member", "old", "raid", 1);
    let mut moved = old.clone();
    (moved.start, moved.signature.offset) = ((1 << 20) + 4096, 0);
    let new = found(0, "swap", "new", "other", 2);
    let want = "left over: linux_raid_member beside swap";
    assert_eq!(short(Device::Partition, &[moved, new], &[old]), want);
}
