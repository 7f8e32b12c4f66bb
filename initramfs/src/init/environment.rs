//! The environment of `deploy` (a contract).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::written::Selected;
use contract::deploy::Deploy;
use contract::disk::partition_prefix;
use contract::environment;
use contract::firmware::Firmware;
use contract::paths;

/// The environment of a root login (environ(7)), with systemd's default language.
///
/// systemd uses this language if none is configured (`src/core/locale-setup.c`). The built-in base
/// has no such locale; its programs continue in C without a message, which bash would not do with
/// `LC_ALL`, and every new system has it.
const USUAL: [(&str, &str); 7] = [
    ("PATH", environment::PATH),
    ("HOME", "/root"),
    ("SHELL", "/bin/sh"),
    ("USER", "root"),
    ("LOGNAME", "root"),
    ("TERM", "linux"),
    ("LANG", "C.UTF-8"),
];

/// Renders the variables; those of `anemos.env` come first, so that they cannot replace ours.
pub(super) fn of(
    deploy: &Deploy,
    disk: &Selected,
    settings: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut variables = settings.clone();
    for (name, value) in USUAL {
        variables.entry(name.to_owned()).or_insert_with(|| value.to_owned());
    }
    let firmware = deploy.firmware.unwrap_or_else(|| Firmware::here(Path::new("/sys")));
    let ours = [
        (environment::VERSION, deploy.version.clone()),
        (environment::DISK, disk.device.clone()),
        (environment::DISK_PART, partition_prefix(&disk.device)),
        (environment::ALSO_WRITE, also_write(disk)),
        (environment::FIRMWARE, firmware.name().to_owned()),
        (environment::ARCH, deploy.arch.clone()),
        (environment::HOSTNAME, deploy.hostname.clone()),
        (environment::MACHINE_ID, deploy.machine_id.clone().unwrap_or_default()),
        (environment::CONSOLE, deploy.console.clone().unwrap_or_else(main_console)),
        (environment::ROOT, paths::NEW_ROOT.to_owned()),
        (environment::NETWORK, paths::NETWORK.to_owned()),
        (environment::AUTHORIZED_KEYS, format!("/{}", paths::AUTHORIZED_KEYS)),
        (environment::HOST_KEYS, format!("/{}", paths::HOST_KEYS)),
    ];
    variables.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    variables
}

/// Returns the other disks that may be written, in the order of the configuration.
fn also_write(disk: &Selected) -> String {
    let devices: Vec<_> = disk.also.iter().map(|other| other.device.as_str()).collect();
    devices.join(" ")
}

/// Returns the console that `/dev/console` stands for: the last one of the list.
fn main_console() -> String {
    let list = fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
    list.split_whitespace().next_back().unwrap_or_default().to_owned()
}
