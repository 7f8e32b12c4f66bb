//! Tests the real apk with a repository and packages made here, and with signatures checked.

use std::fs;

use crate::world::World;

/// Makes a key, two packages, and a repository of them, all of it signed.
///
/// The format is apk-v2(5): gzip streams of tar segments, without zeroes at their end.
const REPOSITORY: &str = r#"
arch=$(apk --print-arch)
mkdir -p project/keys repo/$arch busybox/usr/bin busybox/etc alpine-base/etc
openssl genrsa -out test.rsa 2048 2>log
openssl rsa -in test.rsa -pubout -out project/keys/test.rsa.pub 2>log
cp /bin/busybox busybox/usr/bin/busybox
ln -s busybox busybox/usr/bin/sh
ln -s busybox busybox/usr/bin/cat
ln -s usr/bin busybox/bin
echo 'root:x:0:0::/root:/bin/sh' >busybox/etc/passwd
echo 'root:x:0:' >busybox/etc/group
echo 'Alpine-style' >alpine-base/etc/os-release
segment() {
    tar -b 1 --format=ustar --owner=0 --group=0 --no-recursion -c "$@" | head -c -1024
}
# The digest of a file as a pax header, which apk 3 insists on: a file whose type is made x, 72 more than 0.
digest() {
    printf '68 APK-TOOLS.checksum.SHA1=%s\n' "$(sha1sum "$1" | cut -d ' ' -f 1)" >../digest
    segment -C .. digest >../header
    sum=$(head -c 154 ../header | tail -c 6)
    head -c 148 ../header
    printf '%06o\0 x' $((0$sum + 72))
    tail -c +158 ../header
}
sign() {
    openssl dgst -sha256 -sign test.rsa -out .SIGN.RSA256.test.rsa.pub "$1"
    (segment .SIGN.RSA256.test.rsa.pub | gzip -n; cat "$1") >"$2"
}
for name in busybox alpine-base; do
    (
        cd $name
        segment $(find * ! -type f)
        for file in $(find * -type f); do digest $file; segment $file; done
        head -c 1024 /dev/zero
    ) | gzip -n >data.tar.gz
    {
        echo "pkgname = $name"
        echo "pkgver = 1-r0"
        echo "pkgdesc = $name for a test"
        echo "url = https://makeimg.invalid"
        echo "arch = $arch"
        echo "license = none"
        echo "size = 1"
        [ $name = busybox ] || echo "depend = busybox"
        echo "datahash = $(sha256sum data.tar.gz | cut -d ' ' -f 1)"
    } >.PKGINFO
    segment .PKGINFO | gzip -n >control.tar.gz
    sign control.tar.gz signed
    cat signed data.tar.gz >repo/$arch/$name-1-r0.apk
done
apk index --allow-untrusted --output index.tar.gz repo/$arch/*.apk >&2
sign index.tar.gz repo/$arch/APKINDEX.tar.gz
"#;

/// Returns a project with the real apk, or reports why there is none.
fn project() -> Option<World> {
    let world = World::new(
        "imgname=alpine\ntarget=alpine\nformat=tar\nprovision() { cat /etc/os-release >/provisioned; }\n",
    );
    fs::remove_file(world.path("bin/apk")).expect("a stand-in");
    for tool in ["apk", "openssl"] {
        if world.output(&format!("command -v {tool} || :")).is_empty() {
            crate::skipped(&format!("{tool} is not installed"));
            return None;
        }
    }
    world.output(&format!("set -e\n{REPOSITORY}"));
    world.write("project/repositories", &format!("{}\n", world.path("repo").display()));
    Some(world)
}

fn check(world: &World, told: &str) {
    let read = |name: &str| world.output(&format!("tar -xOf out/alpine.tar.gz ./{name}"));
    assert_eq!(read("provisioned"), "Alpine-style\n", "{told}");
    assert_eq!(read("etc/apk/keys/test.rsa.pub"), world.read("project/keys/test.rsa.pub"));
    let list = world.output("tar -tf out/alpine.tar.gz");
    assert!(list.contains("/apk/db/installed\n"), "{list}");
}

#[test]
fn apk_bootstraps_from_a_signed_repository() {
    let Some(world) = project() else { return };
    let outcome = world.builds();
    check(&world, &outcome.told);
}

#[test]
fn apk_needs_no_root() {
    let Some(world) = project().filter(|_| nix::unistd::geteuid().is_root()) else { return };
    let outcome = world.builds_as_nobody();
    check(&world, &outcome.told);
}

#[test]
fn apk_refuses_what_another_key_has_signed() {
    let Some(world) = project() else { return };
    world.output(
        "set -e; openssl genrsa -out other.rsa 2048 2>log; \
         openssl rsa -in other.rsa -pubout -out project/keys/test.rsa.pub 2>log",
    );
    let outcome = world.build();
    assert!(outcome.error.starts_with("step bootstrap: apk ended with "), "{}", outcome.error);
    assert_eq!(fs::read_dir(world.path("out")).expect("a folder").count(), 0);
}
