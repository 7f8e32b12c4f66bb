//! How far a machine has come, by what it said: that decides which words count.

use super::{is_kernel_banner, without_clock};

/// How far a machine has come since it was switched on or reset.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Phase {
    /// Nothing but the firmware was heard.
    #[default]
    Firmware,
    /// A boot sector or boot loader runs.
    BootLoader,
    /// A kernel has started.
    Kernel,
    /// The initramfs looks for the root file system.
    Initramfs,
    /// The system's own first process runs.
    System,
}

/// What only a boot loader says, at the start of a line.
const BOOT_LOADERS: &[&str] = &[
    "GRUB",
    "Welcome to GRUB!",
    "GNU GRUB",
    "SYSLINUX ",
    "EXTLINUX ",
    "ISOLINUX ",
    "Booting `",
    "BdsDxe: starting Boot",
    "EFI stub:",
    "Loading Linux ",
    "Loading initial ramdisk",
];
/// What only an initramfs says, at the start of a line: initramfs-tools, mkinitcpio, mkinitfs.
const INITRAMFS: &[&str] = &["Loading, please wait...", "Begin: ", ":: running ", "Alpine Init "];
/// What only the first process of a system says, at the start of a line: sysvinit, `OpenRC`.
const SYSTEM: &[&str] = &["INIT: version ", "INIT: Entering runlevel", "OpenRC "];

/// Returns the phase that a line proves, if it proves one.
pub fn proven(line: &str) -> Option<Phase> {
    if is_kernel_banner(line) {
        return Some(Phase::Kernel);
    }
    let said = without_clock(line);
    let starts = |words: &[&str]| words.iter().any(|word| said.starts_with(word));
    if starts(BOOT_LOADERS) {
        Some(Phase::BootLoader)
    } else if starts(INITRAMFS) {
        Some(Phase::Initramfs)
    } else if starts(SYSTEM) {
        Some(Phase::System)
    } else {
        first_process(said).or_else(|| systemd(said)).or_else(|| remounted(said))
    }
}

/// The kernel names the program that it starts as its first process (Linux, `init/main.c`).
fn first_process(said: &str) -> Option<Phase> {
    let program = said.strip_prefix("Run ")?.strip_suffix(" as init process")?;
    Some(if program == "/init" { Phase::Initramfs } else { Phase::System })
}

/// A system makes its root writable; an initramfs leaves it as it is (Linux, `fs/ext4/super.c`).
fn remounted(said: &str) -> Option<Phase> {
    (said.starts_with("EXT4-fs (") && said.contains("): re-mounted")).then_some(Phase::System)
}

/// systemd says where it runs, and welcomes people (systemd, `src/core/main.c`).
fn systemd(said: &str) -> Option<Phase> {
    let said = match said.strip_prefix("systemd[1]: ") {
        Some("Switching root.") => return Some(Phase::System),
        Some("Running in initrd." | "Running in initial RAM disk.") => {
            return Some(Phase::Initramfs);
        }
        Some(said) => said,
        None => said,
    };
    let name = said.strip_prefix("Welcome to ")?.strip_suffix('!')?;
    let early = name.ends_with("(Initramfs)") || name.contains(" dracut-");
    Some(if early { Phase::Initramfs } else { Phase::System })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_proves_how_far_the_machine_has_come() {
        for (line, want) in [
            ("GRUB loading.", Some(Phase::BootLoader)),
            ("Welcome to GRUB!", Some(Phase::BootLoader)),
            ("                       GNU GRUB  version 2.06-13+deb12u2", Some(Phase::BootLoader)),
            ("[    0.000000] Linux version 6.1.0 (x)", Some(Phase::Kernel)),
            ("[    1.545046] Run /init as init process", Some(Phase::Initramfs)),
            ("[    1.545046] Run /sbin/init as init process", Some(Phase::System)),
            ("Begin: Waiting for root file system ... done.", Some(Phase::Initramfs)),
            (":: running early hook [udev]", Some(Phase::Initramfs)),
            ("[    3.1] systemd[1]: Running in initrd.", Some(Phase::Initramfs)),
            (
                "Welcome to Fedora Linux 40 (Cloud Edition) dracut-101 (Initramfs)!",
                Some(Phase::Initramfs),
            ),
            ("[    9.1] systemd[1]: Switching root.", Some(Phase::System)),
            ("Welcome to Debian GNU/Linux 12 (bookworm)!", Some(Phase::System)),
            ("Welcome to openSUSE Leap 15.6!", Some(Phase::System)),
            ("INIT: version 3.06 booting", Some(Phase::System)),
            ("[    5.8] EXT4-fs (vda3): re-mounted. Quota mode: none.", Some(Phase::System)),
            ("[    5.6] EXT4-fs (vda3): mounted filesystem with ordered data mode.", None),
            ("   OpenRC 0.54 is starting up Linux 6.6.31-0-virt (x86_64)", Some(Phase::System)),
            ("[    1.5] vda: vda1", None),
            ("Welcome to our machine, be nice", None),
            ("systemd[1]: Started ssh.service.", None),
        ] {
            assert_eq!(proven(line), want, "{line:?}");
        }
    }
}
