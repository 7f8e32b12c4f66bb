//! What goes into a final initramfs, before any of it is written: names, sources, sizes.

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
    /// Made of these members.
    BuiltIn(Vec<Member>),
    /// A file that is appended to.
    File {
        path: PathBuf,
        size: u64,
        /// Bytes that it takes in RAM once unpacked.
        unpacked: u64,
        /// What is in it.
        entries: Vec<Entry>,
    },
}

/// A whole final initramfs, except for the deploy description and what is derived from it.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) base: BaseContents,
    /// Ours, compressed when they are written.
    pub(crate) members: Vec<Member>,
    /// Ours, compressed already.
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
    /// A base of one's own; the built-in one is made of this system's tools.
    pub(crate) base: Option<BaseContents>,
    /// Tools that the payload asks for.
    pub(crate) tools: &'a [String],
    /// The module folder of the kernel.
    pub(crate) modules: &'a Path,
    /// The devices that its drivers must know.
    pub(crate) paths: &'a [DevicePath],
    /// What modules of links that are no hardware are asked for by.
    pub(crate) links: Vec<String>,
    /// Whether it is the running kernel.
    pub(crate) running: bool,
    pub(crate) firmware: &'a crate::config::FirmwareConfig,
    pub(crate) payload: &'a Path,
    pub(crate) authorized_keys: &'a [AuthorizedKey],
    pub(crate) host_keys: &'a [HostKey],
}

impl Wanted<'_> {
    /// The modules on the way to disks and links, which are known of the running kernel alone.
    fn drivers(&self) -> Vec<&str> {
        let paths = self.paths.iter().filter(|_| self.running);
        paths.flat_map(|path| &path.devices).filter_map(|it| it.module.as_deref()).collect()
    }
}

impl Contents {
    /// Collects everything from the running system. Reads much, changes nothing.
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

    /// Bytes that the unpacked initramfs takes in RAM, the payload included.
    pub(crate) fn unpacked_bytes(&self) -> u64 {
        let base = match &self.base {
            BaseContents::BuiltIn(members) => sum(members),
            BaseContents::File { unpacked, .. } => *unpacked,
        };
        base + sum(&self.members) + sum(&self.packed)
    }

    /// Bytes that the file will have, about: programs and modules shrink below half.
    pub(crate) fn expected_file_bytes(&self) -> u64 {
        let base = match &self.base {
            BaseContents::BuiltIn(members) => sum(members) / 2,
            BaseContents::File { size, .. } => *size,
        };
        base + sum(&self.members) / 2 + sum(&self.packed)
    }

    /// Whether the deploy environment will have a program, by path or by name alone.
    pub(crate) fn has_program(&self, program: &str) -> bool {
        if program.starts_with('/') {
            return self.base.has(program);
        }
        let folders =
            ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
        folders.iter().any(|folder| self.base.has(&format!("{folder}/{program}")))
    }

    /// The first member that is too large for the format, whose sizes have 32 bits.
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

/// Modules below `usr/lib`, because `lib` may be a link in the base; and the order of loading.
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

/// A file that is read as it is written, not before: a plan is made without being root, too.
fn with_permissions(path: PathBuf, permissions: u32) -> anyhow::Result<Source> {
    let size = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?.len();
    Ok(Source::File { path, size, permissions })
}

impl BaseContents {
    /// Reads the list of a base of one's own, by unpacking it to nowhere.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let describe = || format!("reading the base initramfs {}", path.display());
        let file = File::open(path).with_context(describe)?;
        let size = file.metadata().with_context(describe)?.len();
        let entries = listing::list(file).with_context(describe)?;
        let unpacked = entries.iter().map(|entry| entry.size).sum();
        Ok(Self::File { path: path.to_owned(), size, unpacked, entries })
    }

    /// Where it is; none of the built-in one.
    pub(crate) fn path(&self) -> Option<&Path> {
        match self {
            Self::BuiltIn(_) => None,
            Self::File { path, .. } => Some(path),
        }
    }

    /// Whether a file is at a path, links followed.
    fn has(&self, path: &str) -> bool {
        match self {
            // Every name of the built-in base is below `usr`, where `/bin` and the like lead to.
            Self::BuiltIn(members) => {
                let path = path.trim_start_matches('/');
                members.iter().any(|one| one.name == path || one.name == format!("usr/{path}"))
            }
            Self::File { entries, .. } => listing::find(entries, path).is_some(),
        }
    }
}
