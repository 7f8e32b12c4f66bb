//! Gathers the facts of this machine, as its running system knows them, without deciding anything.

mod access;
pub(crate) mod authorized_keys;
mod boot;
mod boot_loader;
mod cpu;
mod disks;
mod host_keys;
mod kernel;
mod memory;
mod mounts;
mod not_captured;
mod occupants;
mod paths;
mod redact;
mod resolvers;
mod root;
mod sshd;
mod users;
mod virtualization;
mod watchdog;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use contract::firmware::Firmware;
use contract::network::Network;
use contract::network::capture::{Captured, capture};
use serde::{Deserialize, Serialize};

pub(crate) use self::access::{Access, Keyring};
pub(crate) use self::authorized_keys::AuthorizedKey;
pub(crate) use self::boot::{Kexec, Lockdown, Permission, consoles_of};
#[cfg(test)]
pub(crate) use self::boot_loader::Extlinux;
pub(crate) use self::boot_loader::{BootLoader, Esp, Volume};
pub(crate) use self::cpu::Cpu;
pub(crate) use self::disks::Disk;
pub(crate) use self::host_keys::HostKey;
pub(crate) use self::kernel::{ImageFormat, KernelImage, Modules};
pub(crate) use self::memory::Memory;
pub(crate) use self::not_captured::NotCaptured;
pub(crate) use self::occupants::Occupant;
pub(crate) use self::paths::{Device, DevicePath};
pub(crate) use self::redact::Redaction;
use self::root::Root;
pub(crate) use self::virtualization::Virtualization;
pub(crate) use self::watchdog::{CLASS as WATCHDOGS, Watchdog};
use crate::places;

/// What a deployment needs to know about the machine and its running system; contains no secrets.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Facts {
    /// Version of the `anemos` that gathered them.
    pub(crate) version: String,
    pub(crate) hostname: String,
    /// The ID of machine-id(5).
    pub(crate) machine_id: Option<String>,
    /// The architecture, as in `uname -m`.
    pub(crate) arch: String,
    /// The platform firmware.
    pub(crate) firmware: Firmware,
    /// Whether they were gathered as root; if not, some are missing.
    pub(crate) privileged: bool,
    pub(crate) virtualization: Virtualization,
    pub(crate) clock: Clock,
    pub(crate) kernel: Kernel,
    pub(crate) kexec: Kexec,
    pub(crate) boot_loader: BootLoader,
    /// Whether a deployment was staged that was neither entered nor undone.
    pub(crate) staged: bool,
    pub(crate) cpu: Cpu,
    pub(crate) memory: Memory,
    pub(crate) disks: Vec<Disk>,
    /// Kernel names of the disks below `/`: one, or several if it spans them.
    pub(crate) root_disks: Vec<String>,
    /// Kernel names of the disks that contain what the firmware starts.
    ///
    /// None if that is not known, as in facts that an older `anemos` gathered.
    #[serde(default)]
    pub(crate) boot_disks: Vec<String>,
    pub(crate) network: Network,
    /// What else belongs to the network but cannot be recreated elsewhere, such as tunnels.
    pub(crate) not_captured: Vec<NotCaptured>,
    /// The devices between the machine and its disks and links.
    pub(crate) paths: Vec<DevicePath>,
    /// Consoles with their speed, e.g. `ttyS0,115200`, in the order of the kernel command line.
    pub(crate) consoles: Vec<String>,
    /// Absent if there is none, or if the running system has no driver for it.
    pub(crate) watchdog: Option<Watchdog>,
    pub(crate) access: Access,
}

/// The clock, and a moment that it must have passed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Clock {
    /// The time of the clock, in seconds since 1970.
    pub(crate) now: u64,
    /// When the kernel was installed, which must have been before; 0 if that is not known.
    pub(crate) kernel_installed: u64,
}

/// The kernel of the running system.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Kernel {
    /// Its release, as in `uname -r`.
    pub(crate) release: String,
    /// Absent if it was not found on the disk.
    pub(crate) image: Option<KernelImage>,
    /// Absent if there is no folder for that release.
    pub(crate) modules: Option<Modules>,
    pub(crate) command_line: String,
}

impl Facts {
    /// Gathers the facts of this machine, which has these keys.
    pub(crate) fn gather(keyring: &Keyring) -> anyhow::Result<Self> {
        let mut facts = Self::read(Path::new("/"), keyring)?;
        let Captured { network, left_out } = capture(Path::new("/"))?;
        let Network { resolvers, search, .. } = std::mem::take(&mut facts.network);
        facts.network = Network { resolvers, search, ..network };
        facts.not_captured = left_out.into_iter().map(NotCaptured::from).collect();
        let root = Root::new(Path::new("/"));
        let disks = facts.disks.iter().map(|disk| disk.candidate.name.as_str());
        let links = facts.network.links.iter().map(|link| link.name.as_str());
        facts.paths = paths::read(&root, disks, links);
        Ok(facts)
    }

    /// Reads what files below `root` contain: everything but links, addresses and routes.
    fn read(root: &Path, keyring: &Keyring) -> anyhow::Result<Self> {
        let root = Root::new(root);
        let release = root.must("proc/sys/kernel/osrelease")?;
        let command_line = root.must("proc/cmdline")?;
        let disks = disks::read(&root)?;
        let image = kernel::find(&root, &release, &command_line);
        let (resolvers, search) = resolvers::read(&root);
        Ok(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: root.must("proc/sys/kernel/hostname")?,
            machine_id: root.may("etc/machine-id").filter(|text| is_machine_id(text)),
            arch: std::env::consts::ARCH.to_owned(),
            firmware: boot::firmware(&root),
            privileged: nix::unistd::geteuid().is_root(),
            virtualization: virtualization::read(&root),
            clock: Clock {
                now: seconds(SystemTime::now()),
                kernel_installed: image
                    .as_ref()
                    .and_then(|image| changed(&root, image))
                    .unwrap_or(0),
            },
            kernel: Kernel {
                image,
                modules: kernel::modules(&root, &release),
                release,
                command_line: command_line.clone(),
            },
            kexec: boot::kexec(&root),
            boot_loader: boot_loader::read(&root),
            staged: root.path(places::UNDO_LOG).exists(),
            cpu: cpu::read(&root),
            memory: memory::read(&root)?,
            root_disks: disks::below_root(&disks),
            boot_disks: disks::booted_from(&disks),
            disks,
            network: Network { resolvers, search, ..Network::default() },
            not_captured: Vec::new(),
            paths: Vec::new(),
            consoles: boot::consoles(&root, &command_line),
            watchdog: watchdog::read(&root),
            access: keyring.summary(),
        })
    }
}

/// Returns when the file of a kernel was last written, in seconds since 1970.
fn changed(root: &Root, image: &KernelImage) -> Option<u64> {
    let metadata = root.path(&image.path).metadata().ok()?;
    metadata.modified().ok().map(seconds)
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns whether a text is a machine ID.
///
/// Images that have not been booted yet contain the word `uninitialized` there, or nothing
/// (machine-id(5)).
fn is_machine_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether a kernel is loaded now.
pub(crate) fn is_kernel_loaded() -> bool {
    boot::is_loaded(&Root::new(Path::new("/")))
}

/// Reads only the disks of this machine.
pub(crate) fn disks_here() -> anyhow::Result<Vec<Disk>> {
    disks::read(&Root::new(Path::new("/")))
}

/// Reads the facts about a kernel image that the user named.
pub(crate) fn kernel_image(path: &Path) -> std::io::Result<KernelImage> {
    kernel::read_image(path)
}

/// Reads the facts about a folder of modules that the user named.
pub(crate) fn kernel_modules(path: &Path) -> Option<Modules> {
    kernel::read_modules(path)
}

#[cfg(test)]
pub(crate) mod tests;
