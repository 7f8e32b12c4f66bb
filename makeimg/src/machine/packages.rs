//! What a machine needs to boot and to be reachable, besides what IMGBUILD asks for.

use crate::alpine;
use crate::error::Problem;
use crate::project::{Project, Target};
use contract::firmware::Firmware;

/// Refuses packages that replace what configures a machine.
pub(crate) fn check(project: &Project) -> Result<(), Problem> {
    let other = ["sysvinit-core", "runit-init"];
    let debian = matches!(project.target, Target::Debian { .. });
    match project.packages.iter().find(|package| other.contains(&package.as_str())) {
        Some(other) if debian => {
            let reason =
                format!("{other} takes the place of systemd, by which services are started");
            Err(Problem::refused(reason, "leave it out, or use the format custom"))
        }
        _ => Ok(()),
    }
}

/// Adds the packages that are missing; of several that do the same, one is enough.
pub(crate) fn complete(project: &mut Project, firmware: Firmware, filesystem: &str) {
    let needed: Vec<&[&str]> = match &project.target {
        Target::Debian { .. } => {
            let boot: &[&[&str]] = match firmware {
                Firmware::Bios => &[&["grub-pc-bin", "grub-pc"], &["grub2-common", "grub-pc"]],
                Firmware::Uefi => {
                    &[&["grub-efi-amd64-bin"], &["grub-efi-amd64-signed"], &["shim-signed"]]
                }
            };
            let common: &[&[&str]] = &[
                &["systemd-sysv"],
                &["udev"],
                &["kmod"],
                &["iproute2"],
                &["apt"],
                &["linux-image-amd64", "linux-image-"],
                &["initramfs-tools", "dracut"],
                &["zstd"],
                &["openssh-server", "dropbear", "tinysshd"],
                &["systemd-resolved", "resolvconf", "openresolv", "ifupdown", "network-manager"],
            ];
            common.iter().chain(boot).copied().collect()
        }
        Target::Arch => {
            let boot: &[&[&str]] =
                if firmware == Firmware::Uefi { &[&["efibootmgr"]] } else { &[] };
            let common: &[&[&str]] = &[
                &["base"],
                &["linux", "linux-lts", "linux-hardened", "linux-zen"],
                &["grub"],
                &["openssh", "dropbear"],
            ];
            common.iter().chain(boot).copied().collect()
        }
        Target::Alpine => {
            let boot: &[&[&str]] = match firmware {
                Firmware::Bios => &[&["grub-bios"]],
                Firmware::Uefi => &[&["grub-efi"]],
            };
            let common: &[&[&str]] = &[
                &["alpine-base"],
                alpine::KERNELS,
                &["grub"],
                &["openssh", "dropbear"],
                &["iproute2"],
                // The clock of a machine goes wrong sooner or later, and certificates fail then.
                &["chrony", "openntpd", "ntpsec"],
            ];
            common.iter().chain(boot).copied().collect()
        }
    };
    for choice in needed {
        add(&mut project.packages, choice);
    }
    let repair = match (filesystem, &project.target) {
        ("ext2" | "ext3" | "ext4", _) => "e2fsprogs",
        ("xfs", _) => "xfsprogs",
        ("btrfs", _) => "btrfs-progs",
        _ => return,
    };
    add(&mut project.packages, &[repair]);
}

/// Adds the first of a choice, unless one of them is there.
///
/// A dash at the end stands for any name that begins like this.
fn add(packages: &mut Vec<String>, choice: &[&str]) {
    let is = |package: &String, name: &str| {
        package == name || (name.ends_with('-') && package.starts_with(name))
    };
    let there = packages.iter().any(|package| choice.iter().any(|name| is(package, name)));
    if let Some(first) = choice.first().filter(|_| !there) {
        packages.push((*first).to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn alpine_gets_a_kernel_unless_it_has_one() {
        for (package, want) in
            [("linux-firmware-none", true), ("linux-pam", true), ("linux-virt", false)]
        {
            let values = [("imgname", "i"), ("target", "alpine"), ("packages", package)];
            let values = values.map(|(name, value)| (name.to_owned(), value.into()));
            let made = Project::from_variables(Path::new("/"), values.into(), [].into(), None);
            let mut project = made.unwrap();
            complete(&mut project, Firmware::Bios, "ext4");
            let added = project.packages.iter().any(|package| package == "linux-lts");
            assert_eq!(added, want, "{package}: {:?}", project.packages);
        }
    }

    #[test]
    fn one_of_a_choice_is_enough() {
        for (has, choice, want) in [
            (&["nginx"][..], &["linux-image-amd64", "linux-image-"][..], Some("linux-image-amd64")),
            (&["linux-image-cloud-amd64"], &["linux-image-amd64", "linux-image-"], None),
            (&["dropbear"], &["openssh-server", "dropbear"], None),
            (&["udev-rules"], &["udev"], Some("udev")),
        ] {
            let mut packages: Vec<_> = has.iter().map(|name| (*name).to_owned()).collect();
            add(&mut packages, choice);
            assert_eq!(packages.get(has.len()).map(String::as_str), want, "{has:?}");
        }
    }
}
