//! The ways out of refusals.

use super::Refusal;

impl Refusal {
    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NotBuiltIn { instead, .. } => (*instead).to_owned(),
            Self::DiskAmbiguous { .. } => {
                "add another key to [disk] select, such as table-id or size".to_owned()
            }
            Self::NotRoot => "run it with sudo; `anemos plan` needs no root".to_owned(),
            Self::NoPayload => {
                "name a payload on the command line or in [payload] source".to_owned()
            }
            Self::TooLittleMemory { .. } => {
                "use a smaller payload or base, or a machine with more memory".to_owned()
            }
            Self::Staged => "`anemos reset` takes it back".to_owned(),
            Self::NoWayIn { .. } => {
                "`[entry] method = \"auto\"` tries all of them; one of these reasons must go"
                    .to_owned()
            }
            Self::KernelNotFound { .. }
            | Self::NotAKernel { .. }
            | Self::ModulesNotFound { .. }
            | Self::ModulesOfAnother { .. } => self.about_kernels(),
            Self::DiskTwice { .. } => {
                "name in [disk] also-write only disks that [disk] select does not".to_owned()
            }
            Self::RootDiskUnknown { .. }
            | Self::RootDiskSpread { .. }
            | Self::DiskNotFound { .. }
            | Self::DiskNameless { .. }
            | Self::DiskReadOnly { .. } => self.about_disks(),
            Self::LinkNotFound { .. } | Self::LinkNeeded { .. } => {
                "set [network] link to the name or MAC address of a link".to_owned()
            }
            Self::NetworkOfLayers { .. } => {
                "bridges, bonds and VLANs are not built in yet: set [network] mode to \"static\" \
                 with link, address and gateway, or to \"none\""
                    .to_owned()
            }
            Self::NothingToInherit => {
                "set [network] mode to \"dhcp\", \"static\" or \"none\"".to_owned()
            }
            Self::MemberTooLarge { .. } => {
                "let `deploy` fetch the large part itself instead of packing it".to_owned()
            }
            Self::NoZstd { .. } => {
                "name a kernel from 5.9 on as [kernel] source, and its modules".to_owned()
            }
            Self::InterpreterMissing { .. } | Self::ToolMissing { .. } => {
                "install it on this system, or use the full base: `anemos base build`".to_owned()
            }
        }
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

    fn about_disks(&self) -> String {
        match self {
            Self::DiskReadOnly { .. } => "switch its write protection off, or select another disk",
            Self::DiskNameless { .. } => {
                "run it as root, who can read partition tables; or give the disk one"
            }
            Self::RootDiskSpread { .. } => {
                "set [disk] select = { serial = \"...\" } to one of them, and also-write to the \
                 others where the payload writes those too; `anemos facts` shows the disks"
            }
            _ => "set [disk] select = { serial = \"...\" }; `anemos facts` shows the disks",
        }
        .to_owned()
    }
}
