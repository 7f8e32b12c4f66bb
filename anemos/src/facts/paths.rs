//! The devices between the machine and each of its disks and links, with their drivers.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::root::Root;

/// The way to a disk or a link.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DevicePath {
    /// Kernel name of the disk or the link.
    pub(crate) to: String,
    /// Its devices, beginning with the one nearest to it.
    pub(crate) devices: Vec<Device>,
}

/// A device that a driver is bound to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Device {
    /// The alias by which modules claim it.
    pub(crate) alias: String,
    pub(crate) driver: String,
    /// The module that contains the driver; none if it is built into the running kernel.
    pub(crate) module: Option<String>,
}

/// Reads the way to each of these: kernel names of disks, then of links.
pub(super) fn read<'n>(
    root: &Root,
    disks: impl Iterator<Item = &'n str>,
    links: impl Iterator<Item = &'n str>,
) -> Vec<DevicePath> {
    let disks = disks.map(|name| (name, root.path(format!("sys/block/{name}"))));
    let links = links.map(|name| (name, root.path(format!("sys/class/net/{name}"))));
    let path = |(name, folder): (&str, std::path::PathBuf)| DevicePath {
        to: name.to_owned(),
        devices: devices_above(root, &folder),
    };
    disks.chain(links).map(path).collect()
}

/// Returns the devices above a folder of `/sys`, beginning with the nearest one.
pub(super) fn devices_above(root: &Root, folder: &Path) -> Vec<Device> {
    let (Ok(folder), Ok(top)) = (folder.canonicalize(), root.path("sys/devices").canonicalize())
    else {
        return Vec::new();
    };
    let above = folder.ancestors().skip(1).take_while(|folder| **folder != top);
    above.filter_map(device).collect()
}

/// Returns the device of a folder, if a driver is bound to it.
pub(super) fn device(folder: &Path) -> Option<Device> {
    let alias = std::fs::read_to_string(folder.join("modalias")).ok()?;
    let driver = folder.join("driver").canonicalize().ok()?;
    let last = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    // A link to the module that contains the driver (Linux, `ABI/testing/sysfs-module`); built-in
    // drivers have no `initstate` there, or no such link at all.
    let module = driver.join("module").canonicalize().ok();
    let module = module.filter(|module| module.join("initstate").exists());
    Some(Device {
        alias: alias.trim().to_owned(),
        driver: last(&driver)?,
        module: module.as_deref().and_then(last),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn drivers_on_the_way_are_told_with_their_modules() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join("sys").join(path);
        let pci = "devices/pci0000:00/0000:00:04.0";
        for folder in [
            &format!("{pci}/virtio1/block/vda"),
            "bus/pci/drivers/virtio-pci",
            "bus/virtio/drivers/virtio_blk",
            "module/virtio_blk",
            "block",
        ] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at(&format!("{pci}/modalias")), "pci:v00001AF4d00001001\n").unwrap();
        fs::write(at(&format!("{pci}/virtio1/modalias")), "virtio:d00000002v00001AF4\n").unwrap();
        fs::write(at("module/virtio_blk/initstate"), "live\n").unwrap();
        for (target, link) in [
            ("bus/pci/drivers/virtio-pci", format!("{pci}/driver")),
            ("bus/virtio/drivers/virtio_blk", format!("{pci}/virtio1/driver")),
            ("module/virtio_blk", "bus/virtio/drivers/virtio_blk/module".to_owned()),
            (&format!("{pci}/virtio1/block/vda"), "block/vda".to_owned()),
        ] {
            symlink(at(target), at(&link)).unwrap();
        }
        let found = read(&Root::new(root.path()), ["vda"].into_iter(), [].into_iter());
        let device = |alias: &str, driver: &str, module: Option<&str>| Device {
            alias: alias.to_owned(),
            driver: driver.to_owned(),
            module: module.map(str::to_owned),
        };
        let devices = vec![
            device("virtio:d00000002v00001AF4", "virtio_blk", Some("virtio_blk")),
            device("pci:v00001AF4d00001001", "virtio-pci", None),
        ];
        assert_eq!(found, [DevicePath { to: "vda".to_owned(), devices }]);
    }
}
