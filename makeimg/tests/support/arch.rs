//! Tests the real pacstrap with a repository and packages made here, and with signatures checked.

use std::fs;

use crate::world::World;

/// Makes a key, two packages, and a repository of them, all of it signed.
const REPOSITORY: &str = r#"
mkdir -m 700 gnupg
mkdir -p repo busybox/usr/bin busybox/etc base/etc
export GNUPGHOME=$PWD/gnupg
gpg --batch --quiet --passphrase '' --quick-generate-key 'makeimg test <test@makeimg.invalid>' default default never
cp /bin/busybox busybox/usr/bin/busybox
ln -s busybox busybox/usr/bin/sh
ln -s busybox busybox/usr/bin/cat
ln -s usr/bin busybox/bin
echo 'root:x:0:0::/root:/bin/sh' >busybox/etc/passwd
echo 'root:x:0:' >busybox/etc/group
echo 'Arch-style' >base/etc/os-release
info() {
    echo "pkgname = $1"
    echo "pkgver = 1-1"
    echo "pkgdesc = $1 for a test"
    echo "arch = x86_64"
    echo "size = 1"
    [ -z "${2-}" ] || echo "depend = $2"
}
cat >base/.INSTALL <<'END'
post_install() {
    # What scripts of packages use, and a folder that only the building host has.
    if printf 'by dev' | cat /dev/stdin >/from-stdin &&
        printf x | cat /dev/fd/0 >/dev/null; then
        echo "TMPDIR=${TMPDIR-}" >/from-script
    fi
}
END
info busybox >busybox/.PKGINFO
info base busybox >base/.PKGINFO
for name in busybox base; do
    package=$PWD/repo/$name-1-1-x86_64.pkg.tar.gz
    (cd $name && tar --owner=0 --group=0 -czf "$package" .[A-Z]* *)
    gpg --batch --quiet --detach-sign "$package"
done
cd repo
repo-add --quiet --sign test.db.tar.gz ./*.pkg.tar.gz >/dev/null
gpgconf --kill all
"#;

/// Packages of kernels: one that is complete, and one whose hook does not make the initramfs.
const KERNELS: &str = r#"
export GNUPGHOME=$PWD/gnupg
for name in linux-good linux-bad; do
    mkdir -p $name/usr/lib/modules/$name $name/usr/share/libalpm/hooks $name/usr/bin
    echo kernel >$name/usr/lib/modules/$name/vmlinuz
    echo $name >$name/usr/lib/modules/$name/pkgbase
    echo '#!/bin/sh' >$name/usr/bin/mkinitcpio
    exec='/bin/sh -c "cat /usr/lib/modules/*/vmlinuz >/boot/vmlinuz-'$name
    [ $name = linux-bad ] || exec=$exec' && cat /etc/mkinitcpio.conf.d/* >/boot/initramfs-'$name.img
    [ $name = linux-good ] || exec=$exec' && false'
    {
        echo '[Trigger]'
        echo 'Type = Path'
        echo 'Operation = Install'
        echo 'Target = usr/lib/modules/*/vmlinuz'
        echo '[Action]'
        echo 'Description = Updating linux initcpios...'
        echo 'When = PostTransaction'
        echo "Exec = $exec\""
    } >$name/usr/share/libalpm/hooks/90-test.hook
    mkdir $name/boot
    printf 'pkgname = %s\npkgver = 1-1\npkgdesc = x\narch = x86_64\nsize = 1\ndepend = base\n' $name >$name/.PKGINFO
    package=$PWD/repo/$name-1-1-x86_64.pkg.tar.gz
    (cd $name && tar --owner=0 --group=0 -czf "$package" .PKGINFO *)
    gpg --batch --quiet --detach-sign "$package"
done
cd repo
repo-add --quiet --sign test.db.tar.gz ./linux-*.pkg.tar.gz >/dev/null
gpgconf --kill all
"#;

/// The keys in the layout of the package archlinux-keyring.
const KEYS: &str = r"
export GNUPGHOME=$PWD/gnupg
mkdir project/keyring
gpg --batch --quiet --export >project/keyring/test.gpg
gpg --batch --quiet --with-colons --list-keys | sed -n 's/^fpr:*\([0-9A-F]*\):/\1:4:/p' | head -n 1 \
    >project/keyring/test-trusted
gpgconf --kill all
";

/// Returns the whole configuration of pacman: only our repository, and everything must be signed.
fn configuration(world: &World, ring: &str) -> String {
    format!(
        "[options]\nArchitecture = x86_64\nSigLevel = Required DatabaseRequired\n\
         GPGDir = {}/\n[test]\nServer = file://{}\n",
        world.path(ring).display(),
        world.path("repo").display(),
    )
}

/// Returns a project with the real pacstrap, or reports why there is none.
fn project() -> Option<World> {
    let world = World::new(
        "imgname=arch\ntarget=arch\nformat=tar\nprovision() { cat /etc/os-release >/provisioned; }\n",
    );
    let missing = "for tool in pacman repo-add gpg bsdtar; do command -v $tool >/dev/null || echo $tool; done";
    fs::remove_file(world.path("bin/pacstrap")).expect("a stand-in");
    let missing =
        world.output(&format!("{missing}; ls /usr/bin/pacstrap >/dev/null || echo pacstrap"));
    if !missing.is_empty() {
        let missing = missing.split_whitespace().collect::<Vec<_>>().join(", ");
        crate::skipped(&format!(
            "{missing} missing: install arch-install-scripts, makepkg and pacman-package-manager"
        ));
        return None;
    }
    world.output(&format!("set -e\n{REPOSITORY}"));
    world.write("project/pacman.conf", &configuration(&world, "gnupg"));
    Some(world)
}

fn check(world: &World, told: &str) {
    let read = |name: &str| world.output(&format!("tar -xOf out/arch.tar.gz ./{name}"));
    assert_eq!(read("provisioned"), "Arch-style\n", "{told}");
    assert_eq!(read("from-stdin"), "by dev", "{told}");
    assert_eq!(read("from-script"), "TMPDIR=\n", "{told}");
    let list = world.output("tar -tf out/arch.tar.gz");
    assert!(!list.contains("./var/tmp/makeimg") && !list.contains("/.tmp"), "{list}");
    assert!(list.contains("./var/lib/pacman/local/busybox-1-1/desc\n"), "{list}");
    assert!(
        !list.contains("./etc/pacman.conf\n") && !list.contains("./etc/pacman.d/gnupg/"),
        "{list}"
    );
}

#[test]
fn pacstrap_bootstraps_from_a_signed_repository() {
    let Some(world) = project() else { return };
    world.output("mkdir temporary");
    let temporary = world.path("temporary");
    let world = world.with("TMPDIR", temporary);
    let outcome = world.builds();
    check(&world, &outcome.told);
}

#[test]
fn pacstrap_needs_no_root() {
    let Some(world) = project().filter(|_| nix::unistd::geteuid().is_root()) else { return };
    world.output("mkdir temporary");
    let temporary = world.path("temporary");
    let world = world.with("TMPDIR", temporary);
    let outcome = world.builds_as_nobody();
    check(&world, &outcome.told);
}

#[test]
fn pacstrap_refuses_a_package_that_was_changed_after_it_was_signed() {
    let Some(world) = project() else { return };
    // It still has the size that the repository states, and is a good archive.
    world.output(
        "printf 'X' | dd of=repo/base-1-1-x86_64.pkg.tar.gz bs=1 seek=9 conv=notrunc status=none",
    );
    let outcome = world.build();
    assert!(outcome.error.starts_with("step bootstrap: pacstrap ended with "), "{}", outcome.error);
    assert!(outcome.error.contains("invalid or corrupted package"), "{}", outcome.error);
    assert_eq!(fs::read_dir(world.path("out")).expect("a folder").count(), 0);
}

#[test]
fn pacman_takes_the_keys_beside_the_description() {
    let Some(world) = project() else { return };
    world.output(KEYS);
    world.write("project/pacman.conf", &configuration(&world, "nowhere"));
    // Longer than the path of a socket can be, as a path in somebody's home easily is.
    let mut world = world;
    world.options.output = Some(format!("out/{}", "long-".repeat(20)).into());
    let outcome = world.builds();
    world.output("mv out/long-*/arch.tar.gz out/");
    check(&world, &outcome.told);
    assert!(outcome.told.contains("| making a keyring of test in "), "{}", outcome.told);
}

#[test]
fn pacman_without_any_key_is_refused_before_anything_is_built() {
    let Some(world) = project() else { return };
    world.write("project/pacman.conf", &configuration(&world, "nowhere"));
    let outcome = world.build();
    assert!(outcome.refused, "{}", outcome.error);
    assert_eq!(outcome.error, "step prepare: pacman has no keys to verify packages with");
}

#[test]
fn a_hook_that_leaves_no_initramfs_fails_the_build_by_its_name() {
    let Some(world) = project() else { return };
    world.output(KERNELS);
    world.write(
        "project/IMGBUILD",
        "imgname=arch\ntarget=arch\nformat=tar\npackages='base\nlinux-bad'\n",
    );
    let outcome = world.build();
    assert_eq!(
        outcome.error,
        "step bootstrap: there is no initramfs for /boot/vmlinuz-linux-bad: \
         this failed while packages were installed: Updating linux initcpios"
    );
    assert!(!outcome.hint.is_empty());
    world.write(
        "project/IMGBUILD",
        "imgname=arch\ntarget=arch\nformat=tar\npackages='base\nlinux-good'\n",
    );
    world.builds();
    let setting = world.output("tar -xOf out/arch.tar.gz ./boot/initramfs-linux-good.img");
    assert!(setting.contains("autodetect"), "the hook has read it: {setting}");
    let list = world.output("tar -tf out/arch.tar.gz");
    assert!(!list.contains("zz-makeimg"), "{list}");
}
