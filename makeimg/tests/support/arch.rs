//! pacstrap itself, with a repository and packages made here, and signatures checked.

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
info busybox >busybox/.PKGINFO
info base busybox >base/.PKGINFO
for name in busybox base; do
    package=$PWD/repo/$name-1-1-x86_64.pkg.tar.gz
    (cd $name && tar --owner=0 --group=0 -czf "$package" .PKGINFO *)
    gpg --batch --quiet --detach-sign "$package"
done
cd repo
repo-add --quiet --sign test.db.tar.gz ./*.pkg.tar.gz >/dev/null
gpgconf --kill all
"#;

/// The whole of pacman's configuration: no repository but ours, and nothing that is not signed.
fn configuration(world: &World) -> String {
    format!(
        "[options]\nArchitecture = x86_64\nSigLevel = Required DatabaseRequired\n\
         GPGDir = {}/\n[test]\nServer = file://{}\n",
        world.path("gnupg").display(),
        world.path("repo").display(),
    )
}

/// Returns a project with the real pacstrap, or says why there is none.
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
    world.write("project/pacman.conf", &configuration(&world));
    Some(world)
}

fn check(world: &World, told: &str) {
    let read = |name: &str| world.output(&format!("tar -xOf out/arch.tar.gz ./{name}"));
    assert_eq!(read("provisioned"), "Arch-style\n", "{told}");
    let list = world.output("tar -tf out/arch.tar.gz");
    assert!(list.contains("./var/lib/pacman/local/busybox-1-1/desc\n"), "{list}");
    assert!(
        !list.contains("./etc/pacman.conf\n") && !list.contains("./etc/pacman.d/gnupg/"),
        "{list}"
    );
}

#[test]
fn pacstrap_bootstraps_from_a_signed_repository() {
    let Some(world) = project() else { return };
    let outcome = world.builds();
    check(&world, &outcome.told);
}

#[test]
fn pacstrap_needs_no_root() {
    let Some(world) = project().filter(|_| nix::unistd::geteuid().is_root()) else { return };
    let outcome = world.builds_as_nobody();
    check(&world, &outcome.told);
}

#[test]
fn pacstrap_refuses_a_package_that_was_changed_after_it_was_signed() {
    let Some(world) = project() else { return };
    // Still the size that the repository has for it, and a good archive.
    world.output(
        "printf 'X' | dd of=repo/base-1-1-x86_64.pkg.tar.gz bs=1 seek=9 conv=notrunc status=none",
    );
    let outcome = world.build();
    assert!(outcome.error.starts_with("step bootstrap: pacstrap ended with "), "{}", outcome.error);
    assert!(outcome.error.contains("invalid or corrupted package"), "{}", outcome.error);
    assert_eq!(fs::read_dir(world.path("out")).expect("a folder").count(), 0);
}
