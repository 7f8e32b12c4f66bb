//! The machine that a system is installed on.

pub(crate) mod boot;
pub(crate) mod disk;
pub(crate) mod packages;
pub(crate) mod settings;

use std::env;
use std::path::{Path, PathBuf};

use contract::environment;
use contract::firmware::Firmware;

/// The machine that a system is installed on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its disk; all data on it is lost.
    pub disk: PathBuf,
    /// What starts the boot loader.
    pub firmware: Firmware,
    /// An empty folder to mount the new root on.
    pub root: PathBuf,
    /// Its name, for a system whose project sets none.
    pub hostname: Option<String>,
    /// Its serial console, as the kernel names it: `ttyS0,115200`.
    pub console: Option<String>,
    /// Files for the programs that configure the network, with a folder for each program.
    pub network: Option<PathBuf>,
    /// Public keys that can log in as root.
    pub authorized_keys: Option<PathBuf>,
    /// The folder with the host keys of its SSH server.
    pub host_keys: Option<PathBuf>,
}

impl Machine {
    /// Returns the machine that the environment of a payload describes, with this disk.
    ///
    /// The variables are `ANEMOS_FIRMWARE`, `ANEMOS_ROOT`, `ANEMOS_NETWORK`, ….
    pub fn from_environment(disk: &Path) -> Self {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let firmware = match text(environment::FIRMWARE) {
            Some(name) if name == Firmware::Uefi.name() => Firmware::Uefi,
            Some(_) => Firmware::Bios,
            None => Firmware::here(Path::new("/sys")),
        };
        Self {
            disk: disk.to_owned(),
            firmware,
            root: path(environment::ROOT).unwrap_or_else(|| PathBuf::from("/mnt")),
            hostname: text(environment::HOSTNAME),
            console: text(environment::CONSOLE),
            network: path(environment::NETWORK),
            authorized_keys: path(environment::AUTHORIZED_KEYS),
            host_keys: path(environment::HOST_KEYS),
        }
    }
}
