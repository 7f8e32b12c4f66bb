//! Classifies what a guest says on its sensors.

use serde::{Deserialize, Serialize};

mod failure;
mod phase;

pub use self::failure::{Failure, failure};
pub use self::phase::{Phase, proven};

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
    /// The new system stopped without a word about the reason.
    Silent,
    /// Nothing can be known of the new system: it speaks nowhere, and nobody asked it anything.
    Unheard,
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
    /// It could not even be tried on this host, or with these arguments.
    NotTried,
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
                | Self::Unheard
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
            Self::InitramfsShell => "the initramfs gave up",
            Self::Emergency => "the system ended in emergency mode",
            Self::OldSystem => "the old system came back",
            Self::Silent => "nothing more was heard of it",
            Self::Unheard => "nothing can be known of it",
            Self::ResetLoop => "it was reset after it had started",
            Self::Expectation => "what was expected of it was not seen",
            Self::OtherDiskWritten => "another disk than the selected one was written",
            Self::DiskWritten => "a rehearsal wrote to the disk",
            Self::FaultFailed => "a fault could not be brought about",
            Self::Cut => "a fault reset the machine or cut its power",
            Self::Interrupted => "the run was interrupted",
            Self::NotTried => "it could not be tried",
        }
    }
}

/// Returns whether the second of two classes is the more specific one.
///
/// A kernel says `VFS: Unable to mount root fs` on the line of its panic, and `Attempted to kill
/// init` likewise; an initramfs that gave up may panic later, when its shell ends.
pub fn is_more_telling(known: Class, new: Class) -> bool {
    known == Class::KernelPanic && matches!(new, Class::KernelNoRoot | Class::InitDied)
}

/// Returns whether a line, finished or not, is a login prompt, alone or after the name of the host.
pub fn is_login_prompt(line: &str, prompt: &str) -> bool {
    let prompt = prompt.trim_end();
    let before = line.trim_end().strip_suffix(prompt).map(str::trim);
    before.is_some_and(|host| host.is_empty() || is_host(host)) || is_overtaken_prompt(line, prompt)
}

fn is_host(word: &str) -> bool {
    // The message of login(1) to somebody who is already in starts the same way.
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !word.is_empty() && word.chars().all(plain) && word != "Last"
}

/// Returns whether others wrote after a prompt at the same instant, as cloud-init does at its end.
fn is_overtaken_prompt(line: &str, prompt: &str) -> bool {
    let host = line.split_once(prompt).and_then(|(before, _)| before.strip_suffix(' '));
    host.is_some_and(is_host)
}

/// Returns whether the line is the first of a kernel.
pub fn is_kernel_banner(line: &str) -> bool {
    const OTHERS: &[&str] = &["FreeBSD ", "NetBSD ", "OpenBSD "];
    let said = without_clock(line);
    // An unfinished prompt may stand before the kernel's clock.
    said.starts_with("Linux version ")
        || line.contains("] Linux version ")
        || (OTHERS.iter().any(|name| said.starts_with(name)) && said.contains(" #"))
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
    split_clock(line).1
}

/// Returns the time of the kernel's clock before a line, in seconds.
pub fn clock(line: &str) -> Option<f64> {
    split_clock(line).0
}

fn split_clock(line: &str) -> (Option<f64>, &str) {
    let line = line.trim_start();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let level = line.strip_prefix('<').and_then(|line| line.split_once('>'));
    let line = level.filter(|(level, _)| digits(level)).map_or(line, |(_, rest)| rest);
    let Some((clock, rest)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else {
        return (None, line);
    };
    let clock = clock.trim();
    let is_clock = clock.contains('.') && clock.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match clock.parse() {
        Ok(seconds) if is_clock => (Some(seconds), rest.trim_start()),
        _ => (None, line),
    }
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
