//! The foreseen reasons not to deploy, in words.

pub(crate) mod check;
mod hints;

use std::path::PathBuf;

use thiserror::Error;

use crate::amount::mib;

/// A foreseen reason not to deploy.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum Refusal {
    #[error("anemos deploy needs root")]
    NotRoot,
    #[error("this is a container ({kind}), which has no kernel of its own to jump from")]
    Container { kind: String },
    #[error("no payload is given")]
    NoPayload,
    #[error("{what} is not built in yet")]
    NotBuiltIn { what: String, instead: &'static str },
    #[error("{what} already")]
    Staged { what: &'static str },
    #[error("there is no way into the deploy environment ({})", obstacles.join("; "))]
    NoWayIn { obstacles: Vec<String> },
    #[error("the image of the running kernel {release} is not there")]
    KernelNotFound { release: String },
    #[error("{} is not a kernel for {arch}", path.display())]
    NotAKernel { path: PathBuf, arch: String },
    #[error("there are no modules for the kernel{}", release.as_ref().map(|it| format!(" {it}")).unwrap_or_default())]
    ModulesNotFound { release: Option<String> },
    #[error("the modules are for {modules}, but the kernel is {kernel}")]
    ModulesOfAnother { kernel: String, modules: String },
    #[error("no disk can be found below / (disks: {})", list(seen))]
    RootDiskUnknown { seen: Vec<String> },
    #[error("/ is spread over several disks: {}", list(names))]
    RootDiskSpread { names: Vec<String> },
    #[error("no disk has {wanted} (disks: {})", list(seen))]
    DiskNotFound { wanted: String, seen: Vec<String> },
    #[error("several disks have {wanted}: {}", list(names))]
    DiskAmbiguous { wanted: String, names: Vec<String> },
    #[error(
        "{name} has neither a serial number nor a world wide name, nor a partition table, to be \
         found again by"
    )]
    DiskNameless { name: String },
    #[error("{name}, which has {wanted}, is selected twice")]
    DiskTwice { name: String, wanted: String },
    #[error("{name} is read-only")]
    DiskReadOnly { name: String },
    #[error(
        "the machine boots from {}, which would keep the old boot loader, as it is neither selected \
         nor in [disk] also-write",
        list(names)
    )]
    BootDiskLeft { names: Vec<String> },
    #[error("the payload needs a disk of {needs}, but {name} has {has}")]
    DiskTooSmall { name: String, needs: String, has: String },
    #[error("the payload boots from {}, but {name} is on {bus}", buses.join(", "))]
    DiskBus { name: String, bus: String, buses: Vec<String> },
    #[error(
        "the payload boots from sectors of {} bytes, but those of {name} have {has}",
        join(sizes)
    )]
    SectorSize { name: String, has: u64, sizes: Vec<u64> },
    #[error("the payload boots by {}, but this machine has {has}", boots.join(", "))]
    FirmwareMismatch { has: &'static str, boots: Vec<String> },
    #[error(
        "the driver {driver} of {device}, on the way to {to}, is not in the deploy environment"
    )]
    DriverMissing { to: String, device: String, driver: String },
    #[error(
        "there is no authorised key in {from}{}, so nobody could log in after a failure",
        not_counted(*without_shell)
    )]
    NoLogin { from: String, without_shell: usize },
    #[error("the base initramfs has no sshd, so nobody could log in to a rescue after a failure")]
    NoSshServer,
    #[error("the clock says {now}, but the kernel was installed at {installed}")]
    ClockWrong { now: String, installed: String },
    #[error("there is no link {wanted} (links: {})", list(seen))]
    LinkNotFound { wanted: String, seen: Vec<String> },
    #[error("it is not said which link gets the static address (links: {})", list(seen))]
    LinkNeeded { seen: Vec<String> },
    #[error("all addresses are on links that are no hardware: {}", list(links))]
    NetworkOfLayers { links: Vec<String> },
    #[error("the machine's default route cannot be recreated: {}", list(routes))]
    WayOutLost { routes: Vec<String> },
    #[error("another machine cannot inherit the network of this one")]
    NothingToInherit,
    #[error("{during} needs {needs} of memory, but there is only {has} ({what_for})")]
    TooLittleMemory { during: String, needs: String, has: String, what_for: String },
    #[error("{member} has {}, and an initramfs holds files below 4 GiB only", mib(*size))]
    MemberTooLarge { member: String, size: u64 },
    #[error("an initramfs of ours is zstd, which the kernel {release} cannot unpack")]
    NoZstd { release: String },
    #[error("deploy is run by {program}, which the base initramfs does not have")]
    InterpreterMissing { program: String },
    #[error("{what} is {has}, but {needs} was rehearsed")]
    NotRehearsed { what: String, has: String, needs: String },
    #[error("this is not the machine whose twin was rehearsed on: {difference}")]
    NotItsTwin { difference: String },
    #[error("the simulated machine of the receipt was no twin: {difference}")]
    NoTwin { difference: String },
    #[error("the verdict of the receipt is {verdict}, not passed: {reason}")]
    RehearsalNotPassed { verdict: String, reason: String },
    #[error("payload.toml asks for {tool}, which the base initramfs does not have")]
    ToolMissing { tool: String },
}

fn not_counted(without_shell: usize) -> String {
    match without_shell {
        0 => String::new(),
        number => {
            format!(" that gives a shell (not counted: {number} for one command or expired)")
        }
    }
}

fn join(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
