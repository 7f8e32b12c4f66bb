//! Virtual surroundings that decide whether another kernel can be entered.

use serde::{Deserialize, Serialize};

use super::root::Root;

/// Surroundings from which not every way into another kernel works.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Virtualization {
    /// The container that this is, e.g. `lxc`, which has no kernel of its own.
    pub(crate) container: Option<String>,
    /// Whether it is a paravirtual guest of Xen, which has no firmware and no real mode.
    pub(crate) xen_pv: bool,
    /// What protects the memory of this guest from its host, e.g. `sev-snp`.
    pub(crate) confidential: Option<String>,
}

pub(super) fn read(root: &Root) -> Virtualization {
    let guest_type = root.may("sys/hypervisor/guest_type");
    Virtualization {
        container: container(root),
        xen_pv: guest_type.as_deref() == Some("PV"),
        confidential: confidential(root),
    }
}

/// Returns the kind of container, by the ways in which containers identify themselves.
///
/// These are systemd's "Container Interface", and what `OpenVZ` and Docker leave.
fn container(root: &Root) -> Option<String> {
    let named = root.may("run/systemd/container").filter(|name| !name.is_empty());
    let variable = || {
        let environment = root.may("proc/1/environ")?;
        let value = environment.split('\0').find_map(|one| one.strip_prefix("container="))?;
        Some(value.to_owned()).filter(|value| !value.is_empty())
    };
    let left = || {
        // Only the host of OpenVZ has `/proc/bc`.
        let openvz = root.path("proc/vz").exists() && !root.path("proc/bc").exists();
        let docker = root.path(".dockerenv").exists();
        openvz.then_some("openvz").or(docker.then_some("docker")).map(str::to_owned)
    };
    named.or_else(variable).or_else(left)
}

/// Returns what protects this guest's memory.
///
/// TDX guests have flags; SEV-SNP and TDX guests have devices for attestation (Linux,
/// `Documentation/virt/coco`).
fn confidential(root: &Root) -> Option<String> {
    let processors = root.may("proc/cpuinfo").unwrap_or_default();
    let flags = processors.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has_flag = |flag: &str| flags.split_whitespace().any(|word| word == flag);
    let signs = [
        ("tdx", has_flag("tdx_guest") || root.path("dev/tdx_guest").exists()),
        ("sev-snp", root.path("dev/sev-guest").exists()),
    ];
    signs.into_iter().find(|(_, is)| *is).map(|(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Root, Virtualization, read};

    fn of(files: &[(&str, &str)]) -> Virtualization {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        read(&Root::new(root.path()))
    }

    #[test]
    fn containers_are_told_by_what_they_leave() {
        for (files, want) in [
            (&[("run/systemd/container", "lxc\n")][..], Some("lxc")),
            (&[("proc/1/environ", "PATH=/bin\0container=podman\0TERM=x\0")], Some("podman")),
            (&[("proc/vz/version", "")], Some("openvz")),
            (&[("proc/vz/version", ""), ("proc/bc/0", "")], None),
            (&[(".dockerenv", "")], Some("docker")),
            (&[("proc/1/environ", "PATH=/bin\0")], None),
            (&[], None),
        ] {
            assert_eq!(of(files).container.as_deref(), want, "{files:?}");
        }
    }

    #[test]
    fn guests_that_cannot_jump_are_told() {
        assert!(of(&[("sys/hypervisor/guest_type", "PV\n")]).xen_pv);
        assert!(!of(&[("sys/hypervisor/guest_type", "HVM\n")]).xen_pv);
        for (files, want) in [
            (&[("proc/cpuinfo", "processor : 0\nflags : fpu tdx_guest\n")][..], Some("tdx")),
            (&[("dev/sev-guest", "")], Some("sev-snp")),
            (&[("proc/cpuinfo", "flags : fpu\n")], None),
        ] {
            assert_eq!(of(files).confidential.as_deref(), want, "{files:?}");
        }
    }
}
