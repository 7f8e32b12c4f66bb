//! Selects the modules for the deploy environment, by names and devices, in load order.

mod aliases;
mod built_in;
mod compressed;
mod index;
mod modinfo;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::Context;

pub(crate) use compressed::{open, plain_name};
pub(crate) use index::names;
pub(crate) use modinfo::firmware_of;

use aliases::Aliases;
use built_in::BuiltIn;
use index::Index;

use crate::facts::Device;
use crate::files::words;

/// Drivers that are always loaded.
const DRIVERS: &str = include_str!("modules/drivers.txt");
/// Modules that are always packed.
const ON_DEMAND: &str = include_str!("modules/on-demand.txt");

/// Folders of a module tree whose drivers lead to a disk or to the network, in load order.
///
/// A machine's other devices (graphics, sound, sensors) stay inactive in the deploy environment. A
/// watchdog comes first, because it watches over everything that follows.
const USEFUL: &[&str] = &[
    "kernel/drivers/watchdog/",
    "kernel/drivers/ata/",
    "kernel/drivers/block/",
    "kernel/drivers/bus/",
    "kernel/drivers/hv/",
    // Intel's watchdog depends on these two.
    "kernel/drivers/i2c/busses/i2c-i801",
    "kernel/drivers/message/",
    "kernel/drivers/mfd/lpc_ich",
    "kernel/drivers/mmc/",
    "kernel/drivers/net/",
    "kernel/drivers/nvme/",
    "kernel/drivers/pci/",
    "kernel/drivers/scsi/",
    "kernel/drivers/usb/host/",
    "kernel/drivers/usb/storage/",
    "kernel/drivers/virtio/",
    "kernel/net/8021q/",
    "kernel/net/bridge/",
    "kernel/drivers/xen/",
];

/// The modules of one kernel that go into the initramfs.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    /// The folder of the kernel, `…/lib/modules/RELEASE`.
    pub(crate) folder: PathBuf,
    /// All files, as paths below `folder`.
    pub(crate) files: BTreeSet<String>,
    /// Those to load, dependencies before the modules that need them.
    pub(crate) load: Vec<String>,
    /// Those to load for the devices of this machine, whose firmware is needed.
    pub(crate) own: Vec<String>,
    /// `modules.dep`, `modules.alias` and `modules.softdep`, cut to what is packed, for modprobe.
    pub(crate) indexes: Vec<(&'static str, String)>,
    built_in: BuiltIn,
}

impl Modules {
    /// Returns whether this kernel, with these modules, has a driver for a device.
    ///
    /// For the `running` kernel it is known which module drives the device; for another one only
    /// what its modules and its built-in drivers claim. A kernel that does not list what is built
    /// in gets the benefit of the doubt.
    pub(crate) fn drives(&self, device: &Device, running: bool) -> bool {
        let is_packed = |name: &str| self.files.iter().any(|file| names(file, name));
        let claimed = |text: &str| {
            let claims = Aliases::parse(text);
            claims.modules_of(&device.alias).into_iter().any(is_packed)
        };
        match &device.module {
            None if running => true,
            Some(module) if running => is_packed(module) || self.built_in.has(module),
            _ => {
                let claims = self.indexes.iter().find(|(name, _)| *name == "modules.alias");
                claims.is_some_and(|(_, text)| claimed(text)) || self.built_in.claims(&device.alias)
            }
        }
    }
}

/// Collects the modules of a kernel for a machine with these device aliases.
///
/// `folder` is the module folder of the kernel; `drivers` are known by name. It is not an error if
/// the kernel lacks a driver, or has it built in.
pub(crate) fn collect(
    folder: &Path,
    devices: &BTreeSet<String>,
    drivers: &[&str],
) -> anyhow::Result<Modules> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    let dependencies = read("modules.dep")?;
    let aliases = read("modules.alias")?;
    // Kernels without soft dependencies come without this file.
    let soft = fs::read_to_string(folder.join("modules.softdep")).unwrap_or_default();
    let index = Index::parse(&dependencies, &soft);
    let table = Aliases::parse(&aliases);

    let is_in =
        |name: &str, folder: &str| index.file(name).is_some_and(|file| file.starts_with(folder));
    let names: Vec<_> = devices.iter().flat_map(|device| table.modules_of(device)).collect();
    let mut own = Vec::new();
    for folder in USEFUL {
        for name in names.iter().filter(|name| is_in(name, folder)) {
            index.add_closure(&table, name, &mut own);
        }
    }
    // Modules that a vendor or DKMS has built are in `updates/`, `extra/` or `weak-updates/`.
    for name in drivers {
        index.add_closure(&table, name, &mut own);
    }
    let mut load = own.clone();
    words(DRIVERS).for_each(|name| index.add_closure(&table, name, &mut load));
    let mut files = load.clone();
    words(ON_DEMAND).for_each(|name| index.add_closure(&table, name, &mut files));
    let files: BTreeSet<_> = files.into_iter().collect();
    let indexes = vec![
        ("modules.dep", index::keep_dependencies(&dependencies, &files)),
        ("modules.alias", index::keep_named(&aliases, 2, &files)),
        ("modules.softdep", index::keep_named(&soft, 1, &files)),
    ];
    let built_in = BuiltIn::read(folder);
    Ok(Modules { folder: folder.to_owned(), files, load, own, indexes, built_in })
}

/// Reads the aliases of all devices below `devices`, which is `/sys/devices`.
pub(crate) fn device_aliases(devices: &Path) -> io::Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut folders = vec![devices.to_owned()];
    while let Some(folder) = folders.pop() {
        // A device may disappear meanwhile.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if entry.file_name() == "modalias"
                && let Ok(alias) = fs::read_to_string(entry.path())
            {
                found.insert(alias.trim().to_owned());
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        // Lines from the indexes of a Debian 12 cloud kernel.
        for (name, text) in [
            (
                "modules.dep",
                "kernel/drivers/virtio/virtio.ko:\n\
                 kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko\n\
                 kernel/drivers/net/virtio_net.ko.xz: kernel/drivers/net/net_failover.ko.xz \
                 kernel/net/core/failover.ko.xz kernel/drivers/virtio/virtio_ring.ko \
                 kernel/drivers/virtio/virtio.ko\n\
                 kernel/drivers/net/net_failover.ko.xz: kernel/net/core/failover.ko.xz\n\
                 kernel/net/core/failover.ko.xz:\n\
                 kernel/drivers/gpu/drm/tiny/bochs.ko:\n\
                 kernel/fs/xfs/xfs.ko: kernel/lib/libcrc32c.ko\n\
                 kernel/lib/libcrc32c.ko:\n\
                 kernel/drivers/watchdog/i6300esb.ko:\n\
                 kernel/crypto/crc32c_generic.ko:\n",
            ),
            (
                "modules.alias",
                "# Aliases extracted from modules themselves.\n\
                 alias virtio:d00000001v* virtio_net\n\
                 alias pci:v00001234d00001111sv*sd*bc*sc*i* bochs\n\
                 alias pci:v00008086d000025ABsv*sd*bc*sc*i* i6300esb\n\
                 alias fs-xfs xfs\n",
            ),
            ("modules.softdep", "softdep libcrc32c pre: crc32c\nsoftdep xfs pre: crc32c_generic\n"),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn modules_load_after_what_they_need() {
        let folder = tree();
        let devices = [
            "virtio:d00000001v00001AF4",
            "pci:v00001234d00001111sv00001AF4sd00001100bc03sc80i00",
            "pci:v00008086d000025ABsv00001AF4sd00001100bc08sc80i00",
        ];
        let modules =
            collect(folder.path(), &devices.iter().map(|&d| d.to_owned()).collect(), &[]).unwrap();
        assert_eq!(
            modules.load,
            [
                "kernel/drivers/watchdog/i6300esb.ko",
                "kernel/drivers/virtio/virtio.ko",
                "kernel/drivers/virtio/virtio_ring.ko",
                "kernel/net/core/failover.ko.xz",
                "kernel/drivers/net/net_failover.ko.xz",
                "kernel/drivers/net/virtio_net.ko.xz",
            ]
        );
        assert!(modules.files.contains("kernel/fs/xfs/xfs.ko"), "packed on demand");
        assert!(modules.files.contains("kernel/crypto/crc32c_generic.ko"), "by soft dependency");
        assert!(!modules.files.contains("kernel/drivers/gpu/drm/tiny/bochs.ko"), "no use for it");
    }

    #[test]
    fn drivers_in_use_go_along_from_whatever_folder() {
        let folder = tempfile::tempdir().unwrap();
        let dependencies = "updates/dkms/mlx5_core.ko: updates/dkms/mlx_compat.ko\n\
                            updates/dkms/mlx_compat.ko:\n\
                            weak-updates/vendor/hpdsa-core.ko.xz:\n";
        fs::write(folder.path().join("modules.dep"), dependencies).unwrap();
        let aliases = "alias pci:v000015B3d00001017sv*sd*bc*sc*i* mlx5_core\n";
        fs::write(folder.path().join("modules.alias"), aliases).unwrap();
        let card = ["pci:v000015B3d00001017sv000015B3sd00000006bc02sc00i00".to_owned()].into();
        let network = ["updates/dkms/mlx_compat.ko", "updates/dkms/mlx5_core.ko"];
        for (drivers, want) in [
            (&[][..], &[][..]),
            (&["mlx5_core"], &network),
            (&["mlx5_core", "mlx5_core", "of_another_kernel"], &network),
            (&["hpdsa_core"], &["weak-updates/vendor/hpdsa-core.ko.xz"]),
        ] {
            let modules = collect(folder.path(), &card, drivers).unwrap();
            assert_eq!(modules.load, want, "{drivers:?}");
            assert_eq!(modules.own, want, "with the firmware of {drivers:?}");
        }
    }

    #[test]
    fn a_soft_dependency_by_alias_brings_the_modules_that_serve_it() {
        let folder = tempfile::tempdir().unwrap();
        // Lines from Debian 12's generic kernel, where ext4 and its checksums are modules.
        for (name, text) in [
            (
                "modules.dep",
                "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko\nkernel/fs/jbd2/jbd2.ko:\n\
                 kernel/crypto/crc32c_generic.ko:\nkernel/arch/x86/crypto/crc32c-intel.ko:\n",
            ),
            (
                "modules.alias",
                "alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\n\
                 alias crc32c crc32c_generic\nalias fs-ext4 ext4\n",
            ),
            (
                "modules.softdep",
                "softdep ext4 pre: crypto-crc32c\nsoftdep ext4 pre: gone\n\
                 softdep jbd2 pre: ext4\n",
            ),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(
            collect(folder.path(), &BTreeSet::new(), &[]).unwrap().load,
            [
                "kernel/arch/x86/crypto/crc32c-intel.ko",
                "kernel/crypto/crc32c_generic.ko",
                "kernel/fs/jbd2/jbd2.ko",
                "kernel/fs/ext4/ext4.ko"
            ]
        );
    }

    #[test]
    fn indexes_name_what_is_packed_and_as_it_is_called_there() {
        let folder = tree();
        let modules = collect(folder.path(), &BTreeSet::new(), &[]).unwrap();
        let text: String = modules
            .indexes
            .iter()
            .flat_map(|(name, text)| {
                [
                    name, ":
", text,
                ]
            })
            .collect();
        insta::assert_snapshot!(text, @r"
        modules.dep:
        kernel/drivers/virtio/virtio.ko:
        kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
        kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
        kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
        kernel/net/core/failover.ko:
        kernel/fs/xfs/xfs.ko: kernel/lib/libcrc32c.ko
        kernel/lib/libcrc32c.ko:
        kernel/crypto/crc32c_generic.ko:
        modules.alias:
        alias virtio:d00000001v* virtio_net
        alias fs-xfs xfs
        modules.softdep:
        softdep libcrc32c pre: crc32c
        softdep xfs pre: crc32c_generic
        ");
    }

    #[test]
    fn a_device_has_a_driver_by_its_module_or_by_what_claims_it() {
        let folder = tree();
        let own = ["virtio:d00000001v00001AF4".to_owned()].into();
        let modules = collect(folder.path(), &own, &[]).unwrap();
        let device = |alias: &str, module: Option<&str>| Device {
            alias: alias.to_owned(),
            driver: "any".to_owned(),
            module: module.map(str::to_owned),
        };
        let card = "pci:v00001234d00001111sv00001AF4sd00001100bc03sc80i00";
        fs::write(folder.path().join("modules.builtin.modinfo"), "").unwrap();
        let telling = collect(folder.path(), &own, &[]).unwrap();
        for (name, modules, device, running, want) in [
            ("its module is packed", &modules, device("x", Some("virtio_net")), true, true),
            ("its module is not", &modules, device("x", Some("bochs")), true, false),
            ("built in", &modules, device(card, None), true, true),
            ("claimed", &telling, device("virtio:d00000001v00001AF4", None), false, true),
            ("claimed by none", &telling, device(card, Some("bochs")), false, false),
            ("perhaps built in", &modules, device(card, Some("bochs")), false, true),
        ] {
            assert_eq!(modules.drives(&device, running), want, "{name}");
        }
    }

    #[test]
    fn a_folder_without_index_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = collect(folder.path(), &BTreeSet::new(), &[]).unwrap_err();
        assert!(error.to_string().ends_with("/modules.dep"), "{error}");
    }
}
