//! Rows 42 to 45: the formats, and what all of them promise.

use std::fs;

use crate::world::{SMALLEST, World};

fn smallest(more: &str) -> World {
    World::new(&format!("{SMALLEST}{more}"))
}

#[test]
fn row_42_format_raw_makes_a_disk_image() {
    let world = smallest("format='raw 64M gpt'\n");
    // The defaults of newer tools must not matter, because the GRUB of an older image cannot read
    // them.
    world.write(
        "mke2fs.conf",
        "[fs_types]\next4 = {\nfeatures = has_journal,extent,mmp,encrypt\n}\n",
    );
    let configuration = world.path("mke2fs.conf");
    let world = world.with("MKE2FS_CONFIG", configuration);
    world.write("project/files/etc/hostname", "raw\n");
    assert_eq!(world.builds().made, Some(world.path("out/small.img")));
    assert_eq!(world.stat("out/small.img").0, 0o600);
    assert_eq!(fs::metadata(world.path("out/small.img")).expect("an image").len(), 64 << 20);
    let table = world.output("sfdisk --dump out/small.img");
    assert!(table.contains("label: gpt") && table.contains("start=        2048,"), "{table}");
    let device = "out/small.img?offset=1048576";
    let name = world.output(&format!("debugfs -R 'cat /etc/hostname' '{device}'"));
    assert_eq!(name, "raw\n");
    let owners = world.output(&format!("debugfs -R 'ls -p /etc' '{device}'"));
    assert!(owners.contains("/100640/0/0/numbers/"), "{owners}");
    world.output(
        "dd if=out/small.img of=fs bs=1M skip=1 status=none && truncate -s 62M fs && \
         e2fsck -fn fs >e2fsck 2>&1 || { cat e2fsck; false; }",
    );
    let features = world.output("dumpe2fs -h fs 2>/dev/null | grep features:");
    assert!(features.contains("metadata_csum") && !features.contains("mmp"), "{features}");
    let fstab = world.output(&format!("debugfs -R 'cat /etc/fstab' '{device}'"));
    let uuid = world.output("blkid -o value -s UUID fs");
    assert_eq!(fstab, format!("UUID={} / ext4 defaults 0 1\n", uuid.trim()));
}

#[test]
fn row_42_format_raw_has_defaults() {
    let world = World::new("imgname=small\ntarget=debian\n");
    world.builds();
    assert_eq!(fs::metadata(world.path("out/small.img")).expect("an image").len(), 8 << 30);
    let table = world.output("sfdisk --dump out/small.img");
    assert!(table.contains("label: dos") && table.contains("type=83, bootable"), "{table}");
}

#[test]
fn row_43_format_tar() {
    for (format, name) in
        [("tar", "small.tar.gz"), ("tar xz", "small.tar.xz"), ("tar zst", "small.tar.zst")]
    {
        let world = smallest(&format!("format='{format}'\n"));
        assert_eq!(world.builds().made, Some(world.path("out").join(name)));
        let mode = world.stat(&format!("out/{name}")).0;
        assert_eq!(mode, 0o600, "it has hashes of passwords and host keys in it");
        let list = world.output(&format!("tar -tvf out/{name} --numeric-owner"));
        assert!(list.contains("-rw-r----- 0/0 ") && list.contains(" ./etc/numbers\n"), "{list}");
        assert!(list.contains(" ./bin -> usr/bin\n"), "{list}");
    }
}

#[test]
fn row_44_format_dir() {
    let world = smallest("");
    assert_eq!(world.builds().made, Some(world.path("out/small")));
    assert_eq!(world.stat("out/small").0, 0o755);
    world.write("out/small/older", "");
    world.builds();
    assert!(!world.path("out/small/older").exists(), "an older result is replaced");
    let left = fs::read_dir(world.path("out")).expect("a folder").flatten();
    let mut left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, [".small.makeimg-made", "small"]);
    fs::remove_dir_all(world.path("out/small")).expect("a result");
    world.write("out/small/mine", "");
    assert!(world.build().refused, "another folder of that name is somebody else's");
    assert!(world.path("out/small/mine").exists());
}

/// A custom format that mounts its root folder, and unmounts it again.
const CUSTOM: &str = "format=custom\n\
    setup() { kept=\"it's $format\"; mount -t tmpfs none \"$1\"; test \"$1\" = \"$root\"; }\n\
    cleanup() { echo \"$result $kept\" >\"$OUT/cleaned\"; cp -a \"$root/.\" \"$OUT/copy\"; umount \"$root\"; }\n";

#[test]
fn row_45_format_custom_calls_setup_and_cleanup() {
    for (more, result) in [("", "success"), ("provision() { false; }\n", "failure")] {
        let world = smallest(&format!("{CUSTOM}{more}"));
        let out = world.path("out");
        let world = world.with("OUT", out);
        let outcome = world.build();
        assert_eq!(outcome.error.is_empty(), more.is_empty(), "{}", outcome.error);
        assert_eq!(outcome.made, None, "naming is that of setup and cleanup");
        assert_eq!(
            world.read("out/cleaned"),
            format!("{result} it's custom\n"),
            "{}",
            outcome.told
        );
        assert!(world.path("out/copy/etc/passwd").exists());
        assert_eq!(fs::read_dir(world.path("out")).expect("a folder").count(), 2);
    }
}

#[test]
fn what_is_left_in_the_background_holds_nothing_up() {
    // After a minute the test would have failed by itself.
    let world = smallest(
        "format=custom\nsleep 600 &\n\
         setup() { sleep 600 & (while :; do echo again; sleep 0.01; done) & }\n\
         cleanup() { sleep 600 & }\nprovision() { sleep 600 & }\n",
    );
    world.program("project/secrets/etc/key", "#!/bin/sh\necho x\nsleep 600 &\n");
    let begun = std::time::Instant::now();
    world.builds();
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

#[test]
fn a_build_needs_no_root() {
    let world = smallest(
        "format='tar'\nprovision() { chown www:www /etc/numbers; id -u >/id; mount >/mounts; }\n",
    );
    if !nix::unistd::geteuid().is_root() {
        world.builds();
        return;
    }
    // Root creates such a user, with subordinate IDs that are only visible in here.
    let outcome = world.builds_as_nobody();
    let list = world.output("tar -tvf out/small.tar.gz --numeric-owner");
    assert!(
        list.contains("-rw-r----- 33/33 ") && list.contains(" ./etc/numbers\n"),
        "{list}\n{}",
        outcome.told
    );
    assert_eq!(world.output("tar -xOf out/small.tar.gz ./id"), "0\n");
}

#[test]
fn with_a_source_date_the_same_inputs_give_the_same_bytes() {
    for (format, name) in [("tar gz", "small.tar.gz"), ("raw 32M gpt ext4", "small.img")] {
        let digest = || {
            let world = smallest(&format!(
                "format='{format}'\nprovision() {{ mkdir /srv; echo x >/srv/x; cat /srv/x; }}\n"
            ));
            world.write("project/files/etc/hostname", "x\n");
            let world = world.with("SOURCE_DATE_EPOCH", "1700000000");
            let told = world.builds().told;
            assert!(!told.contains("| debugfs 1."), "{told}");
            world.output(&format!("sha256sum <out/{name}"))
        };
        let first = digest();
        // File systems record seconds, so the next build must be in another one.
        let begun = second();
        while second() == begun {
            std::thread::yield_now();
        }
        assert_eq!(digest(), first, "{format}");
    }
}

fn second() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map(|since| since.as_secs()).unwrap_or_default()
}
