//! Tests against the real tools.

use std::fs::File;

use super::*;

/// Writes some sectors of what `fat` or `swap` makes into the partition.
const PUT: &str = r#"
put() { # FIRST COUNT MAKE
    truncate -s 32M "$0.part"; "$3" "$0.part" >/dev/null 2>&1
    dd if="$0.part" of="$0" bs=512 skip="$1" seek="$((2048 + $1))" count="$2" conv=notrunc 2>/dev/null
}
fat() { mkfs.vfat -i 11223344 "$1"; }
swap() { mkswap "$1"; }
"#;

/// Reads a disk of 64 MiB with a GPT of one partition after spoiling it.
async fn found(id: u8, spoil: &str) -> Disk {
    let folder = tempfile::tempdir().unwrap();
    let raw = folder.path().join("raw");
    File::create(&raw).unwrap().set_len((64 << 20) + 512).unwrap();
    let id = format!("label-id: {id:08}-2222-3333-4444-555555555555");
    let script =
        format!("{PUT} printf 'label: gpt\\n{id}\\nstart=2048\\n' | sfdisk -q \"$0\"; {spoil}");
    Command::new("sh").args(["-c", &script]).arg(&raw).run().await.unwrap();
    let disk = folder.path().join("disk.qcow2");
    let convert = Command::new("qemu-img").args(["convert", "-O", "qcow2"]);
    convert.arg(&raw).arg(&disk).run().await.unwrap();
    Disk::read(&disk, folder.path()).await.unwrap()
}

#[tokio::test]
async fn a_whole_table_has_an_identifier_and_nothing_wrong() {
    let whole = found(1, "true").await;
    assert_eq!(whole.complaints, [""; 0]);
    assert_eq!(whole.id.as_deref(), Some("00000001-2222-3333-4444-555555555555"));
    assert_eq!(warnings(&whole, &whole), ["the partition table is still the old system's"]);
}

#[tokio::test]
async fn a_second_header_that_is_gone_is_told() {
    let spoilt =
        found(1, "dd if=/dev/zero of=\"$0\" bs=512 seek=131072 count=1 conv=notrunc").await;
    let warnings = warnings(&Disk::default(), &spoilt);
    assert!(warnings[0].contains("backup GPT table is corrupt"), "{warnings:?}");
}

#[tokio::test]
async fn no_table_is_an_answer() {
    let none = found(1, "dd if=/dev/zero of=\"$0\" bs=1M count=64 conv=notrunc").await;
    assert_eq!((&none.id, none.areas.len()), (&None, 1));
    assert_eq!(warnings(&Disk::default(), &none), [""; 0]);
}

#[tokio::test]
async fn a_signature_of_the_old_system_is_told_where_a_new_one_is_too() {
    let (old, new) = (found(1, "put 0 1 fat").await, found(2, "put 0 64 swap").await);
    let left = found(2, "put 0 1 fat; put 1 15 swap").await;
    let still = "signature: partition 1 still has vfat of the old system beside swap";
    let ambivalent = "signature: partition 1 is ambivalent: vfat, swap";
    let kept = found(2, "put 0 1 fat").await;
    let nothing = Disk::default();
    for (before, after, want) in [
        (&old, &new, &[][..]),
        (&old, &kept, &[]),
        (&old, &left, &[still]),
        (&nothing, &left, &[ambivalent]),
    ] {
        assert_eq!(warnings(before, after), want);
    }
}

#[tokio::test]
async fn a_device_that_the_old_system_had_without_a_table_is_told_beside_a_new_one() {
    // The superblock of md, version 0.90, is in the last whole 64 KiB: magic, version, size of the
    // array in KiB and, as its checksum, the sum of these words.
    let end = r#"put_bytes() {
            printf "$2" | dd of="$0" bs=1 seek="$((130944 * 512 + $1))" conv=notrunc 2>/dev/null
        }
        put_bytes 0 '\374\116\053\251\0\0\0\0\132'
        put_bytes 32 '\300\377'
        put_bytes 152 '\026\117\054\251'"#;
    let (before, after) = (found(1, end).await, found(2, end).await);
    let want = "signature: the disk still has linux_raid_member of the old system beside gpt";
    assert_eq!(warnings(&before, &after), [want]);
}
