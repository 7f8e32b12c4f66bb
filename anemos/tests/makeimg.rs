//! Tests the payloads with an IMGBUILD, installed by the distributions' own tools.
//!
//! They are installed onto a disk and into images, from the repositories that scenarios serve to
//! guests.
//!
//! `ANEMOS_TEST_SERVED` names the folders of those repositories (`anemos fixture build
//! served/arch`, `served/alpine`); without it the tests are skipped and say so. Scenarios test
//! whether the systems boot.
#![expect(clippy::expect_used, reason = "the helpers of a test may fail it")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Makes a loop device of an image, and nodes for it and its partitions.
///
/// $1 is the image, $2 a name by which GRUB knows disks. The kernel need not read partition tables
/// by itself.
const DISK: &str = r#"
printf '1: size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n2: type=linux\n' |
    sfdisk --quiet --label gpt "$1"
loop=$(losetup --find --show "$1")
partx --add "$loop"
for pair in "$loop $2" "${loop}p1 ${2}1" "${loop}p2 ${2}2"; do
    set -- $pair
    mknod "$2" b $(stat -c '0x%t 0x%T' "$1")
done
echo "$loop"
"#;

/// Looks into the root file system on $1 with the command that follows.
const LOOK: &str = r#"
disk=$1 folder=$2
shift 2
mount -o ro "$disk" "$folder"
cd "$folder"
status=0
sh -euc "$1" || status=$?
cd /
umount "$folder"
exit $status
"#;

/// Mounts the repository in the folder $1, also for users who cannot enter its cache.
const ROOT: &str = r#"
mount --bind "$REPOSITORY" "$1/repository"
shift
exec "$@"
"#;

/// Becomes an unprivileged user who only has subordinate IDs in here: $1 is a folder to own.
const NOBODY: &str = r#"
folder=$1
shift
echo nobody:200000:65536 >"$folder/ids"
chown -R nobody "$folder"
mount --bind "$REPOSITORY" "$folder/repository"
mount --bind "$folder/ids" /etc/subuid
mount --bind "$folder/ids" /etc/subgid
mount -t tmpfs -o mode=1777 none "$folder/tmp"
exec setpriv --reuid=nobody --regid=65534 --clear-groups "$@"
"#;

/// Replaces udevadm, which GRUB asks where a partition begins.
///
/// Alpine does not have it; then GRUB asks the driver (`HDIO_GETGEO`), and that of loop devices
/// does not answer.
const UDEVADM: &str = r#"
mkdir -p project/files/usr/local/bin
cat >project/files/usr/local/bin/udevadm <<'END'
#!/bin/sh
number=$(printf '%d:%d' "0x$(stat -c %t "$5")" "0x$(stat -c %T "$5")")
readlink -f "/sys/dev/block/$number" | sed 's#^/sys##'
END
chmod 755 project/files/usr/local/bin/udevadm
"#;

/// A payload with mirror and keys, and what else a build needs.
struct Project {
    folder: TempDir,
    repository: PathBuf,
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Returns the payload of a distribution, or reports why it is skipped.
fn project(name: &str) -> Option<Project> {
    let folders = env::var_os("ANEMOS_TEST_SERVED").unwrap_or_default();
    let place = format!("served-{name}-");
    let is_it = |path: &PathBuf| path.to_string_lossy().contains(&place);
    let Some(repository) = env::split_paths(&folders).find(is_it) else {
        skipped(&format!("ANEMOS_TEST_SERVED names no folder {place}…"));
        return None;
    };
    if !nix::unistd::geteuid().is_root() {
        skipped("loop devices and other users are for root");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let project = Project { folder, repository };
    project.sh("chmod 755 . && mkdir out tmp root bin repository && cp \"$ANEMOS\" bin/anemos");
    project.sh(&format!("cp -r '{}' project", payload(name).display()));
    match name {
        "arch" => project.sh(
            "cp -r $REPOSITORY/keyring project/ && \
             sed \"s#https://MIRROR#file://$PWD/repository#\" \
             project/pacman.conf.example >project/pacman.conf",
        ),
        _ => project.sh("cp -r $REPOSITORY/keys project/ && cp -r $REPOSITORY/apk . && \
             printf '%s\\n' \"$PWD\"/repository/main \"$PWD\"/repository/community >project/repositories && \
             printf '#!/bin/sh\\nt=%s/apk/usr\\nexec $t/lib/ld-musl-x86_64.so.1 --library-path \
             $t/lib/apk-musl $t/bin/apk \"$@\"\\n' \"$PWD\" >bin/apk && chmod 755 bin/apk"),
    };
    Some(project)
}

fn payload(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../payloads/{name}-imgbuild"))
}

impl Project {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// Runs a shell script in its folder, and returns what it printed; the script must succeed.
    fn sh(&self, script: &str) -> String {
        self.run("sh", &["-euc", script])
    }

    fn run(&self, program: &str, words: &[&str]) -> String {
        let output = self.start(program, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last: Vec<&str> = said.lines().rev().take(30).collect();
        assert!(output.status.success(), "{words:?}: {last:#?}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &said
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of this file that starts programs"
    )]
    fn start(&self, program: &str, words: &[&str]) -> Output {
        let path = format!("{}:{}", self.path("bin"), env::var("PATH").unwrap_or_default());
        let mut command = Command::new(program);
        command.args(words).current_dir(self.folder.path()).env("PATH", path);
        command.env("REPOSITORY", &self.repository).env("ANEMOS", env!("CARGO_BIN_EXE_anemos"));
        for (name, value) in [
            ("ANEMOS_FIRMWARE", "bios"),
            ("ANEMOS_HOSTNAME", "vps"),
            ("ANEMOS_CONSOLE", "ttyS0,115200"),
            ("ANEMOS_ROOT", &self.path("root")),
            ("SITE", "here"),
            ("NOBODY", NOBODY),
        ] {
            command.env(name, value);
        }
        command.output().expect("a program")
    }

    /// Builds a result of one format as somebody who is not root.
    ///
    /// The folder for temporary files is on a tmpfs that the image does not have.
    fn builds_as_nobody(&self, format: &str) -> String {
        let (folder, anemos) = (self.path(""), self.path("bin/anemos"));
        let (tmp, project, out) = (self.path("tmp"), self.path("project"), self.path("out"));
        let script = format!(
            "unshare --mount sh -euc \"$NOBODY\" sh '{folder}' env TMPDIR='{tmp}' '{anemos}' makeimg \
             -C '{project}' --format '{format}' --output '{out}'"
        );
        self.sh(&script)
    }
}

/// A disk that exists as long as it is held.
struct Disk<'a> {
    project: &'a Project,
    device: String,
    loop_device: String,
}

impl<'a> Disk<'a> {
    fn new(project: &'a Project) -> Self {
        project.sh("truncate -s 2G disk");
        let letters =
            project.path("").bytes().map(|byte| char::from(b'a' + byte % 26)).collect::<String>();
        let device = format!("/dev/sd{}", &letters[letters.len() - 8..]);
        let loop_device = project.run("sh", &["-euc", DISK, "sh", &project.path("disk"), &device]);
        Self {
            project,
            device,
            loop_device: loop_device.lines().next().unwrap_or_default().to_owned(),
        }
    }

    fn look(&self, command: &str) -> String {
        let (root, folder) = (format!("{}2", self.device), self.project.path("root"));
        self.project.run("sh", &["-euc", LOOK, "sh", &root, &folder, command])
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let Self { device, loop_device, .. } = self;
        let script = format!(
            "partx --delete {loop_device} || :; losetup --detach {loop_device} || :; \
             rm -f {device} {device}1 {device}2"
        );
        drop(self.project.start("sh", &["-c", &script]));
    }
}

/// Installs a payload onto a disk after its check, and returns the disk and the output.
fn installed(project: &Project) -> (Disk<'_>, String) {
    let disk = Disk::new(project);
    let makeimg = ["makeimg", "-C", "project", "--cache", "../cache", "--disk", &disk.device];
    let (folder, anemos) = (project.path(""), project.path("bin/anemos"));
    let run = |more: &[&str]| {
        let first = ["--mount", "sh", "-euc", ROOT, "sh", &folder, &anemos];
        project.run("unshare", &[&first[..], &makeimg, more].concat())
    };
    let checked = run(&["--check"]);
    let said = run(&[]);
    (disk, checked + &said)
}

#[test]
fn arch_is_installed_onto_a_disk_as_its_payload_is() {
    let Some(project) = project("arch") else { return };
    let (disk, said) = installed(&project);
    for line in ["checking package integrity", "Updating linux initcpios", "installing GRUB"] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // Exactly the packages fetched for the check were installed.
    let fetched = |line: &&str| line.trim().starts_with("linux-") && line.contains("downloading");
    assert_eq!(said.lines().filter(fetched).count(), 1, "{said}");
    assert!(!Path::new(&project.path("cache/packages")).exists());
    let found = disk.look(
        "ls boot etc/mkinitcpio.conf.d; cat boot/grub/grub.cfg etc/hostname etc/pacman.d/mirrorlist; \
         ls -d etc/pacman.d/gnupg/pubring.*; cat srv/www/index.html",
    );
    for word in
        ["vmlinuz-linux", "initramfs-linux.img", "root=UUID=", "console=ttyS0,115200", "vps"]
    {
        assert!(found.contains(word), "{word}: {found}");
    }
    assert!(found.contains("/$repo/os/$arch") && found.contains("pubring."), "{found}");
    assert!(found.contains("<h1>here</h1>") && !found.contains("zz-makeimg"), "{found}");
    let enabled = disk.look("ls etc/systemd/system/*.wants");
    for unit in ["caddy", "sshd", "systemd-networkd", "systemd-timesyncd"] {
        assert!(enabled.contains(unit), "{unit}: {enabled}");
    }
}

#[test]
fn alpine_is_installed_onto_a_disk_as_its_payload_is() {
    let Some(project) = project("alpine") else { return };
    project.sh(UDEVADM);
    let (disk, _said) = installed(&project);
    let found = disk.look(
        "ls boot etc/runlevels/*; cat boot/grub/grub.cfg etc/hostname etc/apk/repositories etc/inittab \
         srv/www/index.html; ls etc/apk/keys",
    );
    for word in [
        "vmlinuz-virt",
        "initramfs-virt",
        "root=UUID=",
        "rootfstype=ext4",
        "console=ttyS0,115200",
        "vps",
        "/community",
        "ttyS0::respawn:/sbin/getty -L 115200 ttyS0 vt100",
        "<h1>here</h1>",
        "anemos-test.rsa.pub",
        "nginx",
        "chronyd",
        "acpid",
        "seedrng",
    ] {
        assert!(found.contains(word), "{word}: {found}");
    }
}

/// Checks that the list of an initramfs contains drivers.
fn drivers(project: &Project, unpack: &str) {
    let list = project.sh(unpack);
    for driver in ["virtio_blk", "virtio_scsi", "nvme", "ahci", "ext4"] {
        assert!(list.contains(&format!("/{driver}.ko")), "{driver}: {list}");
    }
}

#[test]
fn arch_needs_no_root_and_looks_at_no_building_host() {
    let Some(project) = project("arch") else { return };
    let said = project.builds_as_nobody("raw 1500M gpt ext4");
    assert!(said.contains("bootable by BIOS: GRUB starts /boot/vmlinuz-linux"), "{said}");
    project.builds_as_nobody("tar gz");
    drivers(
        &project,
        "tar -xzf out/arch-imgbuild.tar.gz ./boot/initramfs-linux.img && \
         zstd -qdc boot/initramfs-linux.img | cpio --quiet -t",
    );
    project.builds_as_nobody("dir");
    project.sh("test -s out/arch-imgbuild/boot/vmlinuz-linux");
    project.sh("test -s out/arch-imgbuild/etc/pacman.d/gnupg/pubring.gpg");
}

#[test]
fn alpine_needs_no_root() {
    let Some(project) = project("alpine") else { return };
    let said = project.builds_as_nobody("raw 500M msdos ext4");
    assert!(said.contains("bootable by BIOS: GRUB starts /boot/vmlinuz-virt"), "{said}");
    project.builds_as_nobody("tar gz");
    let menu = project.sh("tar -tzf out/alpine-imgbuild.tar.gz");
    assert!(!menu.contains("boot/grub/grub.cfg"), "of the building host");
    project.builds_as_nobody("dir");
    project.sh("test -s out/alpine-imgbuild/boot/initramfs-virt");
}
