//! Decides what goes into a final initramfs before it is written: names, sources, sizes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use contract::paths;
use initramfs::listing::{self, Entry};

use crate::facts::{AuthorizedKey, Device, DevicePath, HostKey};
use crate::member::{Member, Source};
use crate::modules::{self, Modules};
use crate::{base, firmware};

/// The base initramfs.
#[derive(Debug)]
pub(crate) enum BaseContents {
    /// Made from these members.
    BuiltIn(Vec<Member>),
    /// An existing file, to which our archive is appended.
    File {
        path: PathBuf,
        size: u64,
        /// Bytes that it takes in RAM when it is unpacked.
        unpacked: u64,
        /// What it contains.
        entries: Vec<Entry>,
    },
}

/// A whole final initramfs, except for the deploy description and what is derived from it.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) base: BaseContents,
    /// Our members, which are compressed as they are written.
    pub(crate) members: Vec<Member>,
    /// Our members that are already compressed.
    pub(crate) packed: Vec<Member>,
    /// Names of the modules to load, in order.
    pub(crate) load: Vec<String>,
    pub(crate) drivers_missing: Vec<DriverMissing>,
}

/// A driver on the way to a disk or a link that is neither collected nor built into the kernel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct DriverMissing {
    /// Kernel name of the disk or the link.
    pub(crate) to: String,
    pub(crate) device: Device,
}

/// What to collect.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// A custom base; without one, the built-in base is made from this system's tools.
    pub(crate) base: Option<BaseContents>,
    /// Tools that the payload asks for.
    pub(crate) tools: &'a [String],
    /// The module folder of the kernel.
    pub(crate) modules: &'a Path,
    /// The devices that its drivers must support.
    pub(crate) paths: &'a [DevicePath],
    /// The aliases by which the kernel requests modules for links that are not hardware.
    pub(crate) links: Vec<String>,
    /// Whether it is the running kernel.
    pub(crate) running: bool,
    pub(crate) firmware: &'a crate::config::FirmwareConfig,
    pub(crate) payload: &'a Path,
    pub(crate) authorized_keys: &'a [AuthorizedKey],
    pub(crate) host_keys: &'a [HostKey],
}

impl Wanted<'_> {
    /// Returns the modules on the way to disks and links; only the running kernel knows them.
    fn drivers(&self) -> Vec<&str> {
        let paths = self.paths.iter().filter(|_| self.running);
        paths.flat_map(|path| &path.devices).filter_map(|it| it.module.as_deref()).collect()
    }
}

impl Contents {
    /// Collects everything from the running system, without changing anything.
    pub(crate) fn collect(wanted: Wanted<'_>) -> anyhow::Result<Self> {
        let mut devices =
            modules::device_aliases(Path::new("/sys/devices")).context("listing devices")?;
        devices.extend(wanted.links.iter().cloned());
        let modules = modules::collect(wanted.modules, &devices, &wanted.drivers())?;
        let (mut members, load) = module_members(&modules)?;
        let drivers_missing = drivers_missing(&modules, wanted.paths, wanted.running);
        let firmware = firmware::collect(Path::new("/"), &modules, wanted.firmware)?;
        let (mut packed, plain) = firmware.into_iter().partition(is_packed);
        members.extend::<Vec<Member>>(plain);
        let program = std::env::current_exe().context("finding this program")?;
        members.push(Member::new(paths::INIT, with_permissions(program, 0o755)?));
        let mut keys = Vec::new();
        for key in wanted.authorized_keys {
            keys.extend_from_slice(key.line.as_bytes());
            keys.push(b'\n');
        }
        members.push(Member::secret(paths::AUTHORIZED_KEYS, keys));
        for (name, path) in wanted.host_keys.iter().flat_map(HostKey::files) {
            let name = format!("{}/{name}", paths::HOST_KEYS);
            members.push(Member::new(name, with_permissions(path, 0o600)?));
        }
        packed.push(Member::new(paths::PAYLOAD, Source::file(wanted.payload.to_owned())?));
        let base = match wanted.base {
            Some(base) => base,
            None => BaseContents::BuiltIn(base::collect(Path::new("/"), wanted.tools)?),
        };
        Ok(Self { base, members, packed, load, drivers_missing })
    }

    /// Returns the bytes that the unpacked initramfs takes in RAM, including the payload.
    pub(crate) fn unpacked_bytes(&self) -> u64 {
        let base = match &self.base {
            BaseContents::BuiltIn(members) => sum(members),
            BaseContents::File { unpacked, .. } => *unpacked,
        };
        base + sum(&self.members) + sum(&self.packed)
    }

    /// Returns the approximate size of the file; programs and modules shrink below half.
    pub(crate) fn expected_file_bytes(&self) -> u64 {
        let base = match &self.base {
            BaseContents::BuiltIn(members) => sum(members) / 2,
            BaseContents::File { size, .. } => *size,
        };
        base + sum(&self.members) / 2 + sum(&self.packed)
    }

    /// Returns whether the deploy environment will have a program, by path or just by name.
    pub(crate) fn has_program(&self, program: &str) -> bool {
        if program.starts_with('/') {
            return self.base.has(program);
        }
        let folders =
            ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        folders.iter().any(|folder| self.base.has(&format!("{folder}/{program}")))
    }

    /// Returns the first member that is too large for the format, which stores sizes in 32 bits.
    pub(crate) fn too_large(&self) -> Option<&Member> {
        self.packed
            .iter()
            .chain(&self.members)
            .find(|one| u32::try_from(one.source.size()).is_err())
    }
}

fn sum(members: &[Member]) -> u64 {
    members.iter().map(|member| member.source.size()).sum()
}

/// Returns the modules as members below `usr/lib`, and the order in which they are loaded.
///
/// They are not below `lib`, because that may be a link in the base.
fn module_members(modules: &Modules) -> anyhow::Result<(Vec<Member>, Vec<String>)> {
    let release = modules.folder.file_name().unwrap_or_default().to_string_lossy();
    let place = |file: &str| format!("usr/lib/modules/{release}/{}", modules::plain_name(file));
    let mut members = Vec::new();
    for file in &modules.files {
        members.push(Member::new(place(file), Source::uncompressed(modules.folder.join(file))?));
    }
    for (name, text) in &modules.indexes {
        let source = Source::Bytes { bytes: text.clone().into_bytes(), permissions: 0o644 };
        members.push(Member::new(place(name), source));
    }
    Ok((members, modules.load.iter().map(|file| place(file)).collect()))
}

fn drivers_missing(modules: &Modules, paths: &[DevicePath], running: bool) -> Vec<DriverMissing> {
    let mut missing = Vec::new();
    for DevicePath { to, devices } in paths {
        let lacking = devices.iter().filter(|device| !modules.drives(device, running));
        missing
            .extend(lacking.map(|device| DriverMissing { to: to.clone(), device: device.clone() }));
    }
    missing
}

fn is_packed(member: &Member) -> bool {
    modules::plain_name(&member.name) != member.name
}

/// Returns a file that is only read while it is written, so that planning does not require root.
fn with_permissions(path: PathBuf, permissions: u32) -> anyhow::Result<Source> {
    let size = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
    Ok(Source::File { path, size, permissions })
}

impl BaseContents {
    /// Lists the contents of a custom base by unpacking it without storing anything.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let describe = || format!("reading the base initramfs {}", path.display());
        let file = File::open(path).with_context(describe)?;
        let size = file.metadata().with_context(describe)?.len();
        let entries = listing::list(file).with_context(describe)?;
        let unpacked = entries.iter().map(|entry| entry.size).sum();
        Ok(Self::File { path: path.to_owned(), size, unpacked, entries })
    }

    /// Returns its path; none for the built-in base.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::BuiltIn(_) => None,
            Self::File { path, .. } => Some(path),
        }
    }

    /// Returns whether there is a file at a path, following links.
    fn has(&self, path: &str) -> bool {
        match self {
            // Every name of the built-in base is below `usr`, which `/bin` and the like link to.
            Self::BuiltIn(members) => {
                let path = path.trim_start_matches('/');
                members.iter().any(|one| one.name == path || one.name == format!("usr/{path}"))
            }
            Self::File { entries, .. } => listing::find(entries, path).is_some(),
        }
    }
}
