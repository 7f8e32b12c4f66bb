//! The hardware watchdog of the machine, according to its driver in the running system.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::paths::{self, Device};
use super::root::Root;

/// Where watchdogs are (Linux, `ABI/testing/sysfs-class-watchdog`).
pub(crate) const CLASS: &str = "/sys/class/watchdog";

/// The identity of the driver that uses a kernel timer as hardware; it ends with the kernel.
const SOFTDOG: &str = "Software Watchdog";

/// A watchdog that needs no kernel to reset the machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Watchdog {
    /// Its name in `/dev` and `/sys/class/watchdog`.
    pub(crate) name: String,
    /// Its identity, according to its driver.
    pub(crate) identity: String,
    /// The longest timeout in seconds; none if its driver does not state it.
    ///
    /// Some drivers feed a watchdog by themselves that waits for less time than is asked for.
    pub(crate) max_timeout: Option<u32>,
    /// The folder of its device, below `/sys/devices`.
    pub(crate) device: PathBuf,
    /// The drivers of that device, and of those between it and the machine.
    pub(crate) devices: Vec<Device>,
}

/// Reads the first one that can be found again elsewhere: it has a device with a driver.
pub(super) fn read(root: &Root) -> Option<Watchdog> {
    root.names(CLASS).into_iter().find_map(|name| {
        let attribute = |attribute: &str| root.may(format!("{CLASS}/{name}/{attribute}"));
        let identity = attribute("identity").filter(|identity| identity != SOFTDOG)?;
        let max_timeout = attribute("max_timeout").and_then(|text| text.parse().ok());
        let folder = root.path(format!("{CLASS}/{name}/device")).canonicalize().ok();
        let folder = folder.or_else(|| namesake(root, &identity))?;
        let mut devices = vec![paths::device(&folder)?];
        devices.extend(paths::devices_above(root, &folder));
        let top = root.path("sys").canonicalize().ok()?;
        let device = Path::new("/sys").join(folder.strip_prefix(top).ok()?);
        let max_timeout = max_timeout.filter(|max| *max > 0);
        Some(Watchdog { name, identity, max_timeout, device, devices })
    })
}

/// Returns the only device of the driver with the same name as the watchdog.
///
/// Some drivers do not show which device a watchdog belongs to (`i6300esb`).
fn namesake(root: &Root, identity: &str) -> Option<PathBuf> {
    let buses = root.names("sys/bus").into_iter();
    let drivers = buses.map(|bus| format!("sys/bus/{bus}/drivers/{identity}"));
    let devices = drivers.flat_map(|driver| {
        let names = root.names(&driver).into_iter();
        names.filter_map(move |name| root.path(format!("{driver}/{name}")).canonicalize().ok())
    });
    let mut devices = devices.filter(|folder| paths::device(folder).is_some());
    devices.next().filter(|_| devices.next().is_none())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Returns the watchdog of the machines that QEMU makes.
    pub(crate) fn i6300esb() -> Watchdog {
        let device = Device {
            alias: "pci:v00008086d000025AB".to_owned(),
            driver: "i6300ESB timer".to_owned(),
            module: Some("i6300esb".to_owned()),
        };
        Watchdog {
            name: "watchdog1".to_owned(),
            identity: "i6300ESB timer".to_owned(),
            max_timeout: Some(2046),
            device: "/sys/devices/pci0000:00/0000:00:05.0".into(),
            devices: vec![device],
        }
    }

    #[test]
    fn the_first_watchdog_that_is_hardware_is_told() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join("sys").join(path);
        let pci = "devices/pci0000:00/0000:00:05.0";
        let soft = "devices/virtual/watchdog/watchdog0";
        let hard = &format!("{pci}/watchdog/watchdog1");
        let driver = "bus/pci/drivers/i6300ESB timer";
        for folder in [soft, hard, driver, "module/i6300esb", "class/watchdog"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for (path, text) in [
            (&format!("{soft}/identity"), "Software Watchdog\n"),
            (&format!("{hard}/identity"), "i6300ESB timer\n"),
            (&format!("{hard}/max_timeout"), "2046\n"),
            (&format!("{pci}/modalias"), "pci:v00008086d000025AB\n"),
            (&"module/i6300esb/initstate".to_owned(), "live\n"),
        ] {
            fs::write(at(path), text).unwrap();
        }
        for (target, link) in [
            (driver, format!("{pci}/driver")),
            ("module/i6300esb", format!("{driver}/module")),
            (pci, format!("{hard}/device")),
            (soft, "class/watchdog/watchdog0".to_owned()),
        ] {
            symlink(at(target), at(&link)).unwrap();
        }
        assert_eq!(read(&Root::new(root.path())), None);
        symlink(at(hard), at("class/watchdog/watchdog1")).unwrap();
        assert_eq!(read(&Root::new(root.path())), Some(i6300esb()));
        // This is what the driver really does: there is no device, but one is bound to the driver.
        fs::remove_file(at(&format!("{hard}/device"))).unwrap();
        symlink(at(pci), at(&format!("{driver}/0000:00:05.0"))).unwrap();
        assert_eq!(read(&Root::new(root.path())), Some(i6300esb()));
        // Its driver may have a limit that it does not show (`max_hw_heartbeat_ms`).
        fs::write(at(&format!("{hard}/max_timeout")), "0\n").unwrap();
        assert_eq!(read(&Root::new(root.path())).unwrap().max_timeout, None);
    }
}
