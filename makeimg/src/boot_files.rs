//! What a boot loader starts: each kernel in `/boot`, with the initramfs that belongs to it.

use std::path::{Path, PathBuf};

use crate::error::Problem;
use crate::project::{Project, Target};
use crate::root::Root;

/// Programs that make an initramfs for each kernel, called by hooks of the distribution's packages.
///
/// Arch has others, which `provision` must call.
fn generators(target: &Target) -> &'static [&'static str] {
    match target {
        Target::Arch => &["usr/bin/mkinitcpio"],
        Target::Alpine => &["usr/sbin/mkinitfs", "sbin/mkinitfs"],
        Target::Debian { .. } => &["usr/sbin/update-initramfs", "usr/bin/dracut"],
    }
}

/// How the names of kernels begin.
const KERNEL: &str = "vmlinuz";

/// Refuses a system whose packages have left a kernel without a file that it needs to boot.
///
/// `failed` is what went wrong while the packages were installed. pacman(8) reports hooks that fail
/// but still exits with success; the boot loader then finds no kernel, or starts one that does not
/// find its root. Nothing is checked if no program makes an initramfs, because then `provision` may
/// make it.
pub(crate) fn check(project: &Project, root: &Root, failed: &[String]) -> Result<(), Problem> {
    if !generators(&project.target).iter().any(|program| root.has(Path::new(program))) {
        return Ok(());
    }
    let mut kernels = kernels(root);
    if project.target == Target::Arch {
        // A hook copies the kernel from here and names the copy after its package.
        for version in root.names("usr/lib/modules") {
            let folder = Path::new("usr/lib/modules").join(&version);
            if !root.has(&folder.join(KERNEL)) {
                continue;
            }
            let base = root.read(&folder.join("pkgbase")).ok().flatten().unwrap_or_default();
            let base = String::from_utf8_lossy(&base).trim().to_owned();
            let kernel = PathBuf::from(format!("/boot/{KERNEL}-{base}"));
            if !base.is_empty() && is_empty(root, &kernel) {
                return Err(missing(&format!("no kernel {}", kernel.display()), failed));
            }
            kernels.push(kernel);
        }
    }
    for kernel in kernels {
        let found = initramfs(root, &kernel);
        if found.is_none_or(|path| is_empty(root, Path::new(&path))) {
            return Err(missing(&format!("no initramfs for {}", kernel.display()), failed));
        }
    }
    Ok(())
}

fn missing(what: &str, failed: &[String]) -> Problem {
    let hint = "what the hook reported is above; see that its packages are complete, or make the file in \
                a package of your own";
    let failed = match failed {
        [] => "no hook of the packages has made it, and none has reported a failure".to_owned(),
        failed => format!("this failed while packages were installed: {}", failed.join(", ")),
    };
    Problem::refused(format!("there is {what}: {failed}"), hint)
}

fn is_empty(root: &Root, path: &Path) -> bool {
    root.size(path).unwrap_or_default() == 0
}

/// Returns the paths of the kernels in `/boot`.
pub(crate) fn kernels(root: &Root) -> Vec<PathBuf> {
    let names = root.names("boot").into_iter().filter(|name| {
        name.strip_prefix(KERNEL).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    names.map(|name| Path::new("/boot").join(name)).collect()
}

/// Returns the initramfs of a kernel, as the distributions name them.
pub(crate) fn initramfs(root: &Root, kernel: &Path) -> Option<String> {
    let name = kernel.file_name()?.to_string_lossy().into_owned();
    let suffix = name.strip_prefix(KERNEL).unwrap_or_default();
    let names = [
        format!("/boot/initrd.img{suffix}"),
        format!("/boot/initramfs{suffix}.img"),
        format!("/boot/initramfs{suffix}"),
    ];
    names.into_iter().find(|name| root.has(Path::new(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks a system with these files, each with one byte in it unless its name ends in `=`.
    fn checked(target: &str, files: &[&str], failed: &[&str]) -> Result<(), String> {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        for name in files {
            let (name, text) = name.split_once('=').unwrap_or((name, "x"));
            root.place(Path::new(name), &mut text.as_bytes(), 0o600).unwrap();
        }
        let values = [("imgname", "i"), ("target", target), ("format", "dir")];
        let values = values.map(|(name, value)| (name.to_owned(), value.into()));
        let project = Project::from_variables(Path::new("/"), values.into(), [].into(), None);
        let failed: Vec<String> = failed.iter().map(|text| (*text).to_owned()).collect();
        check(&project.unwrap(), &root, &failed).map_err(|problem| problem.to_string())
    }

    #[test]
    fn every_kernel_must_have_its_initramfs() {
        let arch = [
            "usr/bin/mkinitcpio",
            "usr/lib/modules/6.1/vmlinuz",
            "usr/lib/modules/6.1/pkgbase=linux\n",
        ];
        let arch = |more: &[&'static str]| [&arch[..], more].concat();
        let none = "no hook of the packages has made it, and none has reported a failure";
        for (target, files, failed, want) in [
            ("arch", arch(&["boot/vmlinuz-linux", "boot/initramfs-linux.img"]), &[][..], String::new()),
            (
                "arch",
                arch(&[]),
                &["Updating linux initcpios"],
                "there is no kernel /boot/vmlinuz-linux: this failed while packages were installed: \
                 Updating linux initcpios"
                    .to_owned(),
            ),
            (
                "arch",
                arch(&["boot/vmlinuz-linux"]),
                &[],
                format!("there is no initramfs for /boot/vmlinuz-linux: {none}"),
            ),
            (
                "arch",
                arch(&["boot/vmlinuz-linux", "boot/initramfs-linux.img="]),
                &[],
                format!("there is no initramfs for /boot/vmlinuz-linux: {none}"),
            ),
            ("arch", vec!["boot/vmlinuz-own"], &[], String::new()),
            ("arch", vec!["usr/bin/dracut", "boot/vmlinuz-linux"], &[], String::new()),
            ("alpine", vec!["sbin/mkinitfs", "boot/vmlinuz-virt", "boot/initramfs-virt"], &[], String::new()),
            (
                "alpine",
                vec!["sbin/mkinitfs", "boot/vmlinuz-virt", "boot/initramfs-lts"],
                &[],
                format!("there is no initramfs for /boot/vmlinuz-virt: {none}"),
            ),
            (
                "debian",
                vec!["usr/sbin/update-initramfs", "boot/vmlinuz-6.1", "boot/vmlinuz.old", "boot/initrd.img-6.1"],
                &[],
                String::new(),
            ),
            (
                "debian",
                vec!["usr/sbin/update-initramfs", "boot/vmlinuz-6.1", "boot/vmlinuz-6.2", "boot/initrd.img-6.1"],
                &[],
                format!("there is no initramfs for /boot/vmlinuz-6.2: {none}"),
            ),
            ("debian", vec!["usr/sbin/update-initramfs"], &[], String::new()),
        ] {
            let said = checked(target, &files, failed).err().unwrap_or_default();
            assert_eq!(said, want, "{target} {files:?}");
        }
    }
}
