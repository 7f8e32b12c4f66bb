//! The words by which firmware, boot loaders, kernels and systems say that they cannot go on.
//!
//! A word counts only where the machine is, and only if the line looks as its author writes it: a
//! service may print any of them, and a journal may show those of an earlier boot.

use super::{Class, Phase, clock, without_clock};

/// Why a machine does not go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Failure {
    /// Its class.
    pub class: Class,
    /// What the line says about the cause, beyond the class.
    pub because: Option<&'static str>,
}

/// Where in a line a text must stand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// Anywhere: boot loaders and firmware write around it.
    Anywhere,
    /// At its start, after blanks and the kernel's clock.
    Start,
    /// Alone on the line, as a prompt stands.
    Alone,
    /// At the start of what the kernel says: after its clock, or without one while only the kernel
    /// can speak.
    Kernel,
}

/// A text that shows a failure.
struct Sign {
    text: &'static str,
    place: Place,
    class: Class,
    because: Option<&'static str>,
}

const fn sign(place: Place, text: &'static str, class: Class) -> Sign {
    Sign { text, place, class, because: None }
}

const fn because(text: &'static str, because: &'static str) -> Sign {
    Sign { text, place: Place::Start, class: Class::InitramfsShell, because: Some(because) }
}

const NO_ROOT: &str = "it did not find the root file system";
const NO_INIT: &str = "there is no init in the root file system";
const NO_MOUNT: &str = "it could not mount the root file system";

/// The more specific first: a kernel without root panics too.
///
/// The texts are from `SeaBIOS` (`src/boot.c`), EDK2 (`BdsDxe`), shim, GRUB (`kern/main.c`,
/// `normal/main.c`), Linux (`init/main.c`, `init/do_mounts.c`, `kernel/panic.c`), initramfs-tools
/// (`scripts/functions`, `init`), klibc's `run-init`, dracut (`dracut-emergency.sh`), mkinitcpio
/// (`init_functions`), mkinitfs (`initramfs-init.in`), systemd (`sulogin`, `emergency.service`,
/// `src/core/crash-handler.c`), SYSLINUX (`core/diskstart.inc`, `com32/elflink`), FreeBSD
/// (`stand/common`, `sys/kern/vfs_mountroot.c`).
const SIGNS: &[Sign] = &[
    sign(Place::Anywhere, "No bootable device", Class::FirmwareNoBoot),
    sign(Place::Anywhere, "Boot failed: not a bootable disk", Class::FirmwareNoBoot),
    sign(Place::Anywhere, "Boot failed: could not read the boot disk", Class::FirmwareNoBoot),
    sign(Place::Anywhere, "No bootable option or device was found", Class::FirmwareNoBoot),
    sign(Place::Anywhere, "BdsDxe: No bootable option", Class::FirmwareNoBoot),
    sign(Place::Anywhere, "Security Violation", Class::FirmwareNoBoot),
    sign(Place::Anywhere, "UEFI Interactive Shell", Class::FirmwareNoBoot),
    sign(Place::Anywhere, "EFI\\BOOT\\grubx64.efi - Not Found", Class::BootLoader),
    sign(Place::Anywhere, "start_image() returned", Class::BootLoader),
    sign(Place::Alone, "grub rescue>", Class::BootLoader),
    sign(Place::Alone, "grub>", Class::BootLoader),
    sign(Place::Start, "Minimal BASH-like line editing is supported", Class::BootLoader),
    sign(Place::Anywhere, "you need to load the kernel first", Class::BootLoader),
    sign(Place::Anywhere, "GRUB Hard Disk Error", Class::BootLoader),
    sign(Place::Start, "Failed to load ldlinux.c32", Class::BootLoader),
    sign(Place::Start, "Failed to load COM32 file", Class::BootLoader),
    sign(Place::Anywhere, "Boot failed: please change disks", Class::BootLoader),
    sign(Place::Start, "can't load 'kernel'", Class::BootLoader),
    sign(Place::Kernel, "Kernel panic - not syncing: Attempted to kill init", Class::InitDied),
    sign(Place::Kernel, "Kernel panic - not syncing: No working init found", Class::InitDied),
    sign(Place::Kernel, "Kernel panic - not syncing: Requested init", Class::InitDied),
    sign(Place::Kernel, "systemd[1]: Freezing execution", Class::InitDied),
    sign(Place::Alone, "mountroot>", Class::KernelNoRoot),
    sign(Place::Kernel, "VFS: Unable to mount root fs", Class::KernelNoRoot),
    sign(Place::Kernel, "VFS: Cannot open root device", Class::KernelNoRoot),
    sign(Place::Kernel, "Kernel panic - not syncing: VFS: Unable to mount", Class::KernelNoRoot),
    sign(Place::Kernel, "Kernel panic - not syncing", Class::KernelPanic),
    because("Gave up waiting for root file system device", NO_ROOT),
    because("ALERT! ", NO_ROOT),
    because("Target filesystem doesn't have requested", NO_INIT),
    because("No init found. Try passing init=", NO_INIT),
    because("run-init: can't execute", NO_INIT),
    because("run-init: opening console", NO_INIT),
    because("ERROR: device '", NO_ROOT),
    because("ERROR: Failed to mount '", NO_MOUNT),
    because("ERROR: Root device mounted successfully, but", NO_INIT),
    because("Mounting root failed", NO_MOUNT),
    because("/sbin/init not found in new root", NO_INIT),
    sign(Place::Alone, "(initramfs)", Class::InitramfsShell),
    sign(Place::Start, "You are now being dropped into an emergency shell", Class::InitramfsShell),
    sign(Place::Start, "initramfs emergency recovery shell launched", Class::InitramfsShell),
    sign(Place::Start, "Entering emergency mode. Exit the shell", Class::InitramfsShell),
    sign(Place::Start, "You are in emergency mode", Class::Emergency),
    sign(Place::Start, "You are in rescue mode", Class::Emergency),
    sign(Place::Start, "Give root password for maintenance", Class::Emergency),
    sign(Place::Start, "Give root password for system maintenance", Class::Emergency),
    sign(Place::Start, "Press Enter for maintenance", Class::Emergency),
    sign(Place::Start, "Press Enter for system maintenance", Class::Emergency),
    sign(
        Place::Start,
        "Cannot open access to console, the root account is locked",
        Class::Emergency,
    ),
];

/// Returns what a line shows that a machine in this phase says, if it shows a failure.
///
/// Without a phase every class counts, for machines whose way is followed otherwise.
pub fn failure(line: &str, phase: Option<Phase>) -> Option<Failure> {
    let said = without_clock(line);
    // A panic is named once more at its end (Linux, `kernel/panic.c`).
    let said = said.strip_prefix("---[ end ").unwrap_or(said);
    let fits = |sign: &&Sign| {
        counts(sign.class, phase)
            && match sign.place {
                Place::Anywhere => line.contains(sign.text),
                Place::Start => said.starts_with(sign.text),
                // A screen shows a cursor.
                Place::Alone => said.trim_end_matches(['_', ' ']) == sign.text,
                Place::Kernel => {
                    let alone = phase.is_none_or(|phase| phase < Phase::System);
                    said.starts_with(sign.text) && (alone || clock(line).is_some())
                }
            }
    };
    // Any program may begin a line with the word.
    let alert = said.starts_with("ALERT! ") && !said.trim_end().ends_with("to a shell!");
    let known = SIGNS.iter().find(fits).filter(|_| !alert);
    let known = known.map(|sign| Failure { class: sign.class, because: sign.because });
    known.or_else(|| {
        let loader = counts(Class::BootLoader, phase) && is_boot_loader_error(line);
        loader.then_some(Failure { class: Class::BootLoader, because: None })
    })
}

/// Returns whether a machine in this phase can fail in this way.
fn counts(class: Class, phase: Option<Phase>) -> bool {
    let Some(phase) = phase else { return true };
    match class {
        Class::FirmwareNoBoot | Class::BootLoader => phase < Phase::Kernel,
        // A kernel that is quiet, or speaks elsewhere, may be there without its banner.
        Class::InitramfsShell => phase < Phase::System,
        _ => true,
    }
}

/// Recognises `error: file '/boot/grub/i386-pc/normal.mod' not found.` and the like.
///
/// Such a line starts like this. The kernel's and systemd's own lines contain `error:` too, so only
/// GRUB's phrases count.
fn is_boot_loader_error(line: &str) -> bool {
    const PHRASES: &[&str] = &[
        "not found.",
        "no such device",
        "no such partition",
        "unknown filesystem",
        "invalid magic number",
        "premature end of file",
        "bad shim signature",
        "invalid arch-independent ELF magic",
        "can't find command",
        "outside of disk",
        "out of memory",
    ];
    let line = line.trim_start();
    let said = line.strip_prefix("error: ").or_else(|| line.strip_prefix("GRUB error: "));
    said.is_some_and(|said| PHRASES.iter().any(|phrase| said.contains(phrase)))
}
