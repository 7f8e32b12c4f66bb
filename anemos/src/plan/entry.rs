//! Ranks the ways into the deploy environment that a machine has.

use std::fmt;
use std::path::PathBuf;

use contract::firmware::Firmware;
use serde::Serialize;

use super::memory::{Budget, Moment, Sizes};
use crate::amount::{mib, mib_down};
use crate::config::EntryMethod;
use crate::facts::{Facts, KernelImage, Lockdown, Permission, Volume};

/// A way in; the rungs of a ladder are tried from the top.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rung {
    /// `kexec_file_load(2)`: the kernel loads another one, and checks its signature if it must.
    KexecFileLoad,
    /// `kexec_load(2)`: we lay out the memory of the other kernel ourselves.
    KexecLoad,
    /// The firmware boots a kernel from the EFI system partition once.
    BootNext,
    /// EXTLINUX boots another entry once.
    Extlinux,
    /// GRUB boots another entry once.
    Grub,
}

/// All of them, best first.
///
/// The first ones leave the disk unchanged; then comes one that only writes what the firmware
/// deletes by itself; the last ones write to the disk.
const RUNGS: [Rung; 5] =
    [Rung::KexecFileLoad, Rung::KexecLoad, Rung::BootNext, Rung::Extlinux, Rung::Grub];

/// The file systems that GRUB can write to (GRUB manual, "Environment block").
const WRITES: [&str; 5] = ["ext2", "ext3", "ext4", "xfs", "vfat"];

impl Rung {
    /// Returns whether the machine goes through its firmware and boot loader.
    pub(crate) fn boots(self) -> bool {
        matches!(self, Self::BootNext | Self::Extlinux | Self::Grub)
    }

    fn name(self) -> &'static str {
        match self {
            Self::KexecFileLoad => "kexec_file_load",
            Self::KexecLoad => "kexec_load",
            Self::BootNext => "boot-next",
            Self::Extlinux => "extlinux",
            Self::Grub => "grub",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::KexecFileLoad => {
                "the running kernel executes another one; the disk stays as it is"
            }
            Self::KexecLoad => "the same, with the other kernel laid out by anemos",
            Self::BootNext => "the firmware boots the kernel from the EFI system partition, once",
            Self::Extlinux => "EXTLINUX boots an entry of ours, once",
            Self::Grub => "GRUB boots an entry of ours, once",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The way into the deploy environment.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedEntry {
    /// The ways in, in the order in which they are tried; empty if there is none.
    pub(crate) ladder: Vec<Rung>,
    pub(crate) passed_over: Vec<PassedOver>,
}

/// A way in that this machine does not have.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PassedOver {
    pub(crate) rung: Rung,
    pub(crate) why: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.rung, self.why)
    }
}

impl PlannedEntry {
    /// Renders it for people, one fact per line.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self
            .ladder
            .iter()
            .enumerate()
            .map(|(index, rung)| {
                let then = if index == 0 { "" } else { "else " };
                format!("{then}{rung}: {}", rung.how())
            })
            .collect();
        if lines.is_empty() && self.passed_over.is_empty() {
            lines.push("none: another machine is booted with what is built".to_owned());
        }
        lines.extend(self.passed_over.iter().map(|passed| format!("not {passed}")));
        lines
    }
}

/// What the ladder of a machine depends on.
#[derive(Debug)]
pub(super) struct Question<'q> {
    pub(super) facts: &'q Facts,
    pub(super) method: EntryMethod,
    pub(super) image: Option<&'q KernelImage>,
    /// Whether that is the running system's own kernel.
    pub(super) running: bool,
    pub(super) sizes: Option<Sizes>,
    pub(super) memory: &'q Budget,
}

impl Question<'_> {
    /// Decides on the ladder.
    pub(super) fn answer(&self) -> PlannedEntry {
        let mut entry = PlannedEntry::default();
        for rung in RUNGS {
            match self.obstacle(rung) {
                None => entry.ladder.push(rung),
                Some(why) => entry.passed_over.push(PassedOver { rung, why }),
            }
        }
        entry
    }

    /// Returns what prevents a rung.
    fn obstacle(&self, rung: Rung) -> Option<String> {
        let asked = match self.method {
            EntryMethod::Auto => None,
            EntryMethod::Kexec => rung.boots().then_some("kexec"),
            EntryMethod::Bootloader => (!rung.boots()).then_some("the boot loader"),
        };
        if let Some(asked) = asked {
            return Some(format!("the configuration asks for {asked}"));
        }
        match rung {
            _ if self.facts.virtualization.xen_pv => {
                Some("a paravirtual guest of Xen has no firmware to go back to".to_owned())
            }
            Rung::KexecFileLoad | Rung::KexecLoad => self.about_kexec(rung),
            Rung::BootNext => self.about_firmware(),
            Rung::Extlinux => self.about_extlinux(),
            Rung::Grub => self.about_grub(),
        }
    }

    fn about_kexec(&self, rung: Rung) -> Option<String> {
        if let Some(kind) = &self.facts.virtualization.confidential {
            return Some(format!("the memory of this guest is confidential ({kind})"));
        }
        let kexec = &self.facts.kexec;
        match kexec.permission {
            Permission::NotBuiltIn => return Some("the running kernel has no kexec".to_owned()),
            Permission::Disabled => return Some("kernel.kexec_load_disabled is 1".to_owned()),
            Permission::Allowed => {}
        }
        let locked = kexec.lockdown != Lockdown::None;
        if locked && rung == Rung::KexecLoad {
            return Some("the kernel is locked down".to_owned());
        }
        if locked && !self.running {
            return Some(self.untrusted());
        }
        if rung == Rung::KexecLoad && self.facts.arch != "x86_64" {
            return Some(format!("it is built for x86_64 only, not for {}", self.facts.arch));
        }
        let loading = self.memory.peaks.iter().find(|peak| peak.during == Moment::Loading)?;
        loading.is_short().then(|| {
            let has = mib_down(loading.has.unwrap_or_default());
            format!("loading needs {} of memory, and {has} are available", mib(loading.needs))
        })
    }

    fn about_firmware(&self) -> Option<String> {
        if self.facts.firmware == Firmware::Bios {
            return Some("the firmware is a BIOS".to_owned());
        }
        if self.facts.kexec.secure_boot {
            return Some("with secure boot the firmware starts no kernel by itself".to_owned());
        }
        if !self.facts.boot_loader.variables {
            return Some("the variables of the firmware cannot be written".to_owned());
        }
        let Some(esp) = &self.facts.boot_loader.esp else {
            return Some("no EFI system partition is mounted".to_owned());
        };
        self.about_room(&esp.volume)
    }

    fn about_extlinux(&self) -> Option<String> {
        let Some(extlinux) = self.facts.boot_loader.starting_extlinux() else {
            return Some("it is not what starts this machine".to_owned());
        };
        if extlinux.program.is_none() {
            return Some("the program extlinux is not installed".to_owned());
        }
        let Volume { device, filesystem, plain, .. } = &extlinux.volume;
        if !plain || !filesystem.starts_with("ext") {
            return Some(format!("anemos does not know it on {filesystem} on {device}"));
        }
        self.about_room(&extlinux.volume)
    }

    fn about_grub(&self) -> Option<String> {
        if self.facts.boot_loader.starting_extlinux().is_some() {
            return Some("EXTLINUX is what starts this machine".to_owned());
        }
        let Some(grub) = &self.facts.boot_loader.grub else {
            // On Debian only root can read it, because it may contain passwords.
            let asking = if self.facts.privileged { "" } else { ", or only root can read it" };
            return Some(format!("its configuration is not found{asking}"));
        };
        let missing = [
            (grub.next_entry, "next_entry in its configuration"),
            (grub.custom, "custom.cfg in its configuration"),
            (grub.environment, "an environment block"),
        ];
        if let Some((_, what)) = missing.iter().find(|(there, _)| !there) {
            return Some(format!("it lacks {what} in {}", grub.folder.display()));
        }
        // GRUB resets `next_entry` before it boots, which it can do only on few file systems and
        // only on partitions; otherwise the entry would be booted again and again.
        let Volume { device, filesystem, plain, .. } = &grub.volume;
        if !plain || !WRITES.contains(&filesystem.as_str()) {
            return Some(format!("it cannot write to {filesystem} on {device}"));
        }
        if self.facts.kexec.secure_boot && !self.running {
            return Some(self.untrusted());
        }
        self.about_room(&grub.volume)
    }

    fn about_room(&self, volume: &Volume) -> Option<String> {
        /// What file systems reserve for themselves, and a little more.
        const MARGIN: u64 = 4 << 20;
        if !volume.writable {
            return Some(format!("{} is mounted read-only", volume.device));
        }
        let needs = self.image?.size + self.sizes?.file + MARGIN;
        (volume.free < needs).then(|| {
            let (needs, free) = (mib(needs), mib_down(volume.free));
            format!("it needs {needs} on {}, where {free} are free", volume.device)
        })
    }

    fn untrusted(&self) -> String {
        let path = self.image.map(|image| image.path.clone());
        let path: PathBuf = path.unwrap_or_default();
        format!("it executes only kernels that it trusts, and {} is another one", path.display())
    }
}
