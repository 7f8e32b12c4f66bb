//! Tests the real mmdebstrap with a repository and a package made here, checking signatures.

use std::fs;

use crate::world::World;

/// Makes two keys, a package with a shell in it, and a repository signed by the first key.
const REPOSITORY: &str = r#"
mkdir -m 700 gnupg
mkdir -p repo package/DEBIAN package/usr/bin package/etc
export GNUPGHOME=$PWD/gnupg
for name in good other; do
    gpg --batch --quiet --passphrase '' --quick-generate-key "$name <$name@makeimg.invalid>" default default never
    gpg --batch --quiet --export "$name@makeimg.invalid" >project/$name.gpg
done
cp /bin/busybox package/usr/bin/busybox
ln -s busybox package/usr/bin/sh
ln -s busybox package/usr/bin/cat
ln -s usr/bin package/bin
echo 'root:x:0:0::/root:/bin/sh' >package/etc/passwd
cat >package/DEBIAN/control <<END
Package: tiny
Version: 1
Architecture: all
Maintainer: test <test@makeimg.invalid>
Description: a shell for a test
END
dpkg-deb --root-owner-group --build package repo/tiny_1_all.deb >/dev/null
cd repo
dpkg-scanpackages --multiversion . >Packages 2>/dev/null
size=$(stat -c %s Packages)
cat >Release <<END
Origin: test
Suite: stable
Codename: stable
Date: $(LC_ALL=C date -u -d '1 hour ago' '+%a, %d %b %Y %H:%M:%S UTC')
SHA256:
 $(sha256sum Packages | cut -d ' ' -f 1) $size Packages
END
gpg --batch --quiet --local-user good@makeimg.invalid --clearsign --output InRelease Release
gpgconf --kill all
"#;

/// Returns a project with the real mmdebstrap, or reports why there is none.
fn project(more: &str) -> Option<World> {
    let world = World::new(&format!(
        "imgname=tiny\ntarget=debian\nformat=tar\npackages=tiny\ndebian_variant=extract\n\
         debian_keyring=good.gpg\nprovision() {{ cat /etc/passwd >/provisioned; }}\n{more}"
    ));
    fs::remove_file(world.path("bin/mmdebstrap")).expect("a stand-in");
    let missing = world.output("for tool in mmdebstrap gpg dpkg-deb dpkg-scanpackages; do command -v $tool >/dev/null || echo $tool; done");
    if !missing.is_empty() {
        let missing = missing.split_whitespace().collect::<Vec<_>>().join(", ");
        crate::skipped(&format!("{missing} missing: install mmdebstrap, gpg and dpkg-dev"));
        return None;
    }
    world.output(&format!("set -e\n{REPOSITORY}"));
    let mirror = format!("deb copy:{} ./", world.path("repo").display());
    Some(world.with("MIRROR", mirror))
}

fn check(world: &World, told: &str) {
    let passwd = world.output("tar -xOf out/tiny.tar.gz ./provisioned");
    assert_eq!(passwd, "root:x:0:0::/root:/bin/sh\n", "{told}");
}

#[test]
fn mmdebstrap_bootstraps_from_a_signed_repository() {
    let Some(world) = project("") else { return };
    let outcome = world.builds();
    check(&world, &outcome.told);
}

#[test]
fn mmdebstrap_needs_no_root() {
    let Some(world) = project("").filter(|_| nix::unistd::geteuid().is_root()) else { return };
    let outcome = world.builds_as_nobody();
    check(&world, &outcome.told);
}

#[test]
fn mmdebstrap_tells_what_is_wrong_with_packages_mirrors_and_signatures() {
    for (more, mirror, says) in [
        ("packages=nosuch\n", None, "Unable to locate package nosuch"),
        ("debian_keyring=other.gpg\n", None, "NO_PUBKEY"),
        ("", Some("http://127.0.0.1:9/"), "127.0.0.1"),
    ] {
        let Some(mut world) = project(more) else { return };
        world.options.mirror = mirror.map(str::to_owned);
        let outcome = world.build();
        let begin = "step bootstrap: mmdebstrap ended with exit status: 25: E";
        assert!(outcome.error.starts_with(begin), "{}", outcome.error);
        assert!(outcome.told.contains("| mmdebstrap --mode=root "), "the log has the whole line");
        assert!(outcome.error.contains(says), "{says}: {}", outcome.error);
        assert_eq!(fs::read_dir(world.path("out")).expect("a folder").count(), 0, "{says}");
    }
}
