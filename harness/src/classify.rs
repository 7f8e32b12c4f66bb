//! Classifies what a guest says on its sensors.

use serde::{Deserialize, Serialize};

/// The reason why a rehearsal did not pass, in one word.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// QEMU ended by itself.
    QemuDied,
    /// The host could not read or write the image of a disk.
    HostDisk,
    /// The fixture could not be built, or did not come up as it should.
    FixtureFailed,
    /// The router of the topology did not become what the topology says.
    RouterFailed,
    /// What the server should give to guests is not available here.
    NotServed,
    /// `anemos` refused before anything changed.
    Refused,
    /// `anemos deploy` failed on the running system.
    CommandFailed,
    /// The command was started, but no jump followed.
    NotExecuted,
    /// The machine rebooted instead of jumping by kexec.
    RebootedInstead,
    /// The jump was announced, but nothing was heard afterwards.
    JumpSilent,
    /// The stages came in a different order than the contract says.
    StageOrder,
    /// The deployment failed before it had written; the old system was booted again.
    Returned,
    /// The deployment failed after it had written.
    Rescue,
    /// For too long, a stage neither ended nor said anything else.
    Stalled,
    /// The firmware found nothing to boot.
    FirmwareNoBoot,
    /// The boot loader stopped at a prompt, or could not find its files.
    BootLoader,
    /// The kernel found no root file system.
    KernelNoRoot,
    /// The first process of the system ended.
    InitDied,
    /// The kernel panicked for another reason.
    KernelPanic,
    /// The system's initramfs gave up finding the root.
    InitramfsShell,
    /// The system ended in emergency mode.
    Emergency,
    /// The old system came back.
    OldSystem,
    /// The new system said nothing that could be judged.
    Silent,
    /// The new system booted and was reset again.
    ResetLoop,
    /// What was expected of the new system was not seen.
    Expectation,
    /// A disk other than the selected one was written.
    OtherDiskWritten,
    /// A rehearsal wrote to the selected disk.
    DiskWritten,
    /// A fault of the scenario ended the deployment.
    Cut,
    /// A fault of the scenario could not be brought about.
    FaultFailed,
    /// The run was ended by the user.
    Interrupted,
}

impl Class {
    /// Returns whether the payload may be to blame, so that a control run can find out.
    pub fn may_be_the_payload(self) -> bool {
        matches!(
            self,
            Self::Returned
                | Self::Rescue
                | Self::Stalled
                | Self::FirmwareNoBoot
                | Self::BootLoader
                | Self::KernelNoRoot
                | Self::InitDied
                | Self::KernelPanic
                | Self::InitramfsShell
                | Self::Emergency
                | Self::OldSystem
                | Self::Silent
                | Self::ResetLoop
                | Self::Expectation
        )
    }

    /// Returns what the class means, in words that follow "the new system: ".
    pub fn words(self) -> &'static str {
        match self {
            Self::QemuDied => "QEMU ended by itself",
            Self::HostDisk => "the host could not read or write a disk's image",
            Self::FixtureFailed => "the fixture did not come up",
            Self::RouterFailed => "the router did not come up",
            Self::NotServed => "what the guest is served cannot be had here",
            Self::Refused => "anemos refused",
            Self::CommandFailed => "anemos deploy failed on the running system",
            Self::NotExecuted => "nothing was jumped into",
            Self::RebootedInstead => "the machine rebooted instead of jumping by kexec",
            Self::JumpSilent => "nothing was heard after the jump",
            Self::StageOrder => "the stages came out of order",
            Self::Returned => "the deployment failed before it had written",
            Self::Rescue => "the deployment failed after it had written",
            Self::Stalled => "nothing more happened",
            Self::FirmwareNoBoot => "the firmware found nothing to boot",
            Self::BootLoader => "the boot loader stopped",
            Self::KernelNoRoot => "the kernel found no root file system",
            Self::InitDied => "the first process of the system ended",
            Self::KernelPanic => "the kernel panicked",
            Self::InitramfsShell => "the initramfs did not find the root file system",
            Self::Emergency => "the system ended in emergency mode",
            Self::OldSystem => "the old system came back",
            Self::Silent => "nothing was heard of it",
            Self::ResetLoop => "it was reset after it had started",
            Self::Expectation => "what was expected of it was not seen",
            Self::OtherDiskWritten => "another disk than the selected one was written",
            Self::DiskWritten => "a rehearsal wrote to the disk",
            Self::FaultFailed => "a fault could not be brought about",
            Self::Cut => "a fault reset the machine or cut its power",
            Self::Interrupted => "the run was interrupted",
        }
    }
}

/// Texts that identify a class, the more specific first: a kernel without root panics too.
const FAILURES: &[(&str, Class)] = &[
    ("No bootable device", Class::FirmwareNoBoot),
    ("Boot failed: not a bootable disk", Class::FirmwareNoBoot),
    ("Boot failed: could not read the boot disk", Class::FirmwareNoBoot),
    ("No bootable option or device was found", Class::FirmwareNoBoot),
    // EDK2 and shim, on the serial console.
    ("BdsDxe: No bootable option", Class::FirmwareNoBoot),
    ("Security Violation", Class::FirmwareNoBoot),
    ("UEFI Interactive Shell", Class::FirmwareNoBoot),
    ("EFI\\BOOT\\grubx64.efi - Not Found", Class::BootLoader),
    ("start_image() returned", Class::BootLoader),
    ("grub rescue>", Class::BootLoader),
    ("grub>", Class::BootLoader),
    ("Minimal BASH-like line editing is supported", Class::BootLoader),
    ("you need to load the kernel first", Class::BootLoader),
    ("GRUB Hard Disk Error", Class::BootLoader),
    ("Attempted to kill init", Class::InitDied),
    ("No working init found", Class::InitDied),
    ("Requested init", Class::InitDied),
    ("VFS: Unable to mount root fs", Class::KernelNoRoot),
    ("VFS: Cannot open root device", Class::KernelNoRoot),
    ("mount_block_root", Class::KernelNoRoot),
    ("Kernel panic - not syncing", Class::KernelPanic),
    ("does not exist.  Dropping to a shell!", Class::InitramfsShell),
    ("does not exist. Dropping to a shell!", Class::InitramfsShell),
    ("(initramfs)", Class::InitramfsShell),
    ("dracut-initqueue timeout", Class::InitramfsShell),
    ("Entering emergency mode. Exit the shell", Class::InitramfsShell),
    ("You are in emergency mode", Class::Emergency),
    ("You are in rescue mode", Class::Emergency),
    ("Give root password for maintenance", Class::Emergency),
    ("Give root password for system maintenance", Class::Emergency),
    ("Cannot open access to console, the root account is locked", Class::Emergency),
];

/// Returns the class of a line that shows a failure by itself.
pub fn failure(line: &str) -> Option<Class> {
    let known = FAILURES.iter().find(|(text, _)| line.contains(text)).map(|(_, class)| *class);
    known.or_else(|| is_boot_loader_error(line).then_some(Class::BootLoader))
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
    ];
    let line = line.trim_start();
    let said = line.strip_prefix("error: ").or_else(|| line.strip_prefix("GRUB error: "));
    said.is_some_and(|said| PHRASES.iter().any(|phrase| said.contains(phrase)))
}

/// Returns whether the second of two classes is the more specific one.
///
/// A kernel says `VFS: Unable to mount root fs` on the line of its panic, and `Attempted to kill
/// init` likewise; an initramfs that gave up may panic later, when its shell ends.
pub fn is_more_telling(known: Class, new: Class) -> bool {
    known == Class::KernelPanic && matches!(new, Class::KernelNoRoot | Class::InitDied)
}

/// Returns whether a line, finished or not, is a login prompt: `name login: `.
pub fn is_login_prompt(line: &str, prompt: &str) -> bool {
    let prompt = prompt.trim_end();
    line.trim_end().ends_with(prompt) || is_overtaken_prompt(line, prompt)
}

/// Returns whether others wrote after a prompt at the same instant, as cloud-init does at its end.
fn is_overtaken_prompt(line: &str, prompt: &str) -> bool {
    let host = line.split_once(prompt).and_then(|(before, _)| before.strip_suffix(' '));
    // The message of login(1) to somebody who is already in starts the same way.
    host.is_some_and(|host| {
        let word = host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
        word && !host.is_empty() && host != "Last"
    })
}

/// Returns whether the line is the first of a Linux kernel.
pub fn is_kernel_banner(line: &str) -> bool {
    // An unfinished prompt may stand before the kernel's clock.
    without_clock(line).starts_with("Linux version ") || line.contains("] Linux version ")
}

/// Returns whether the line counts as progress: lines that only show time passing do not.
pub fn is_progress(line: &str) -> bool {
    const WAITING: &[&str] = &[
        "A start job is running",
        "A stop job is running",
        "Timed out waiting for device",
        "Begin: Waiting for",
        "Begin: Running /scripts/local-block",
        "Waiting for root device",
        "rcu_sched self-detected stall",
        "soft lockup - CPU",
    ];
    let line = without_clock(line);
    !line.trim().is_empty() && !WAITING.iter().any(|text| line.contains(text))
}

/// Returns the line without the kernel's clock: `[ 1.234567] text`, also after a `<6>`.
pub fn without_clock(line: &str) -> &str {
    let line = line.trim_start();
    let Some((clock, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else {
        return line;
    };
    let clock = clock.trim();
    let is_clock = clock.contains('.') && clock.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_clock { rest.trim_start() } else { line }
}

/// Returns `root=` from the kernel command line, if the line shows one.
pub fn root_parameter(line: &str) -> Option<&str> {
    let line = without_clock(line);
    let parameters = line
        .strip_prefix("Command line: ")
        .or_else(|| line.strip_prefix("Kernel command line: "))?;
    parameters.split_whitespace().find_map(|parameter| parameter.strip_prefix("root="))
}

#[cfg(test)]
mod tests;
