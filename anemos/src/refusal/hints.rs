//! The ways out of refusals.

use super::Refusal;
use crate::report::Refused;

/// Debian has no package of apk.
const BASE_WITH_APK: &str = "use a base with apk, as [initramfs] base: \
    `anemos base build --distribution alpine`, or --add with Alpine's package apk-tools and its \
    libraries (initramfs/README.md)";

impl Refusal {
    /// Returns what to do about it and, if that is allowed, how to continue nevertheless.
    pub(crate) fn hint(&self) -> String {
        let way_out = self.way_out();
        match self.check() {
            None => way_out,
            Some(check) => {
                format!("{way_out}; `--override {}` continues anyway", check.name())
            }
        }
    }

    fn way_out(&self) -> String {
        match self {
            Self::NotBuiltIn { instead, .. } => (*instead).to_owned(),
            Self::NotRoot => "run it with sudo; `anemos plan` needs no root".to_owned(),
            Self::NoPayload => {
                "name a payload on the command line or in [payload] source".to_owned()
            }
            Self::TooLittleMemory { .. } => {
                "use a smaller payload or base, or a machine with more memory".to_owned()
            }
            Self::Staged { .. } => "`anemos reset` takes it back".to_owned(),
            Self::NoWayIn { .. } => {
                "`[entry] method = \"auto\"` tries all of them; one of these reasons must go"
                    .to_owned()
            }
            Self::KernelNotFound { .. }
            | Self::NotAKernel { .. }
            | Self::ModulesNotFound { .. }
            | Self::ModulesOfAnother { .. } => self.about_kernels(),
            Self::Container { .. } => {
                "deploy to the machine that it runs on, or ask the provider for another image"
                    .to_owned()
            }
            Self::DiskTooSmall { .. }
            | Self::DiskBus { .. }
            | Self::SectorSize { .. }
            | Self::FirmwareMismatch { .. }
            | Self::DriverMissing { .. }
            | Self::NoLogin { .. }
            | Self::NoSshServer
            | Self::ClockWrong { .. } => self.about_fit(),
            Self::RootDiskUnknown { .. }
            | Self::RootDiskSpread { .. }
            | Self::DiskAmbiguous { .. }
            | Self::DiskTwice { .. }
            | Self::BootDiskLeft { .. }
            | Self::DiskNotFound { .. }
            | Self::DiskNameless { .. }
            | Self::DiskReadOnly { .. } => self.about_disks(),
            Self::LinkNotFound { .. }
            | Self::LinkNeeded { .. }
            | Self::NetworkOfLayers { .. }
            | Self::WayOutLost { .. }
            | Self::NothingToInherit => self.about_network(),
            Self::MemberTooLarge { .. } => {
                "let `deploy` fetch the large part itself instead of packing it".to_owned()
            }
            Self::NoZstd { .. } => {
                "name a kernel from 5.9 on as [kernel] source, and its modules".to_owned()
            }
            Self::NotRehearsed { .. }
            | Self::NotItsTwin { .. }
            | Self::NoTwin { .. }
            | Self::RehearsalNotPassed { .. } => self.about_receipts(),
            Self::ToolMissing { tool } if tool == "apk" => BASE_WITH_APK.to_owned(),
            Self::InterpreterMissing { .. } | Self::ToolMissing { .. } => {
                "install it on this system, or use the full base: `anemos base build`".to_owned()
            }
        }
    }

    fn about_receipts(&self) -> String {
        match self {
            Self::NotRehearsed { .. } => {
                "deploy what was rehearsed, or rehearse this: `anemos test --receipt FILE`"
            }
            Self::NotItsTwin { .. } => {
                "rehearse on its twin: `anemos facts` here, then `anemos test --twin FACTS --receipt FILE`"
            }
            _ => "mend what made it fail, and rehearse again: `anemos test --receipt FILE`",
        }
        .to_owned()
    }

    fn about_kernels(&self) -> String {
        match self {
            Self::KernelNotFound { .. } => {
                "reboot if the kernel was upgraded, or set [kernel] source and modules"
            }
            Self::NotAKernel { .. } => "name the bzImage, or on arm64 the Image, of a Linux kernel",
            Self::ModulesNotFound { .. } => {
                "set [kernel] modules to its folder of modules, with the modules.dep of depmod"
            }
            _ => "set [kernel] modules to the folder named like the kernel's release",
        }
        .to_owned()
    }

    fn about_network(&self) -> String {
        match self {
            Self::NetworkOfLayers { .. } | Self::WayOutLost { .. } => {
                "it leads to no network card that can be recreated: set [network] mode to \
                 \"static\" with link, address and gateway, or to \"none\""
            }
            Self::NothingToInherit => "set [network] mode to \"dhcp\", \"static\" or \"none\"",
            _ => "set [network] link to the name or MAC address of a link",
        }
        .to_owned()
    }

    fn about_fit(&self) -> String {
        match self {
            Self::DiskTooSmall { .. } => "select a larger disk, or use a smaller payload",
            Self::DiskBus { .. } | Self::SectorSize { .. } => {
                "use a payload made for such a disk, or mend what its payload.toml claims"
            }
            Self::FirmwareMismatch { .. } => {
                "use a payload made for this firmware, or mend what its payload.toml claims"
            }
            Self::DriverMissing { .. } => {
                "use the running system's own kernel, or one that has it; [kernel] modules names its \
                 folder"
            }
            Self::NoLogin { .. } => {
                "set [access] authorized-keys to a file with a key, or to \"none\" if nobody needs \
                 to log in"
            }
            Self::NoSshServer => {
                "install an OpenSSH server on this system, use the full base (`anemos base build`), \
                 or set [failure] after-commit to \"reboot\" or \"power-off\""
            }
            _ => "set it, as with `date -s`: certificates and the new system's files depend on it",
        }
        .to_owned()
    }

    fn about_disks(&self) -> String {
        match self {
            Self::DiskAmbiguous { .. } => {
                "add another key to [disk] select, such as table-id or size"
            }
            Self::DiskTwice { .. } => {
                "name in [disk] also-write only disks that [disk] select does not"
            }
            Self::DiskReadOnly { .. } => "switch its write protection off, or select another disk",
            Self::DiskNameless { .. } => {
                "run it as root, who can read partition tables; or give the disk one"
            }
            Self::RootDiskSpread { .. } => {
                "set [disk] select = { serial = \"...\" } to one of them, and also-write to the \
                 others where the payload writes those too; `anemos facts` shows the disks"
            }
            Self::BootDiskLeft { .. } => {
                "set [disk] select to such a disk, and also-write to the others where the payload \
                 writes those too"
            }
            _ => "set [disk] select = { serial = \"...\" }; `anemos facts` shows the disks",
        }
        .to_owned()
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.to_string(), refusal.hint())
    }
}
