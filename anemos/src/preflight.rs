//! Why a deployment is refused before anything is changed, each reason with a way out.

mod hints;

use std::path::PathBuf;

use initramfs::payload::Kind;
use thiserror::Error;

use crate::facts::{Facts, ImageFormat};
use crate::plan::{Peak, Plan, Purpose};
use crate::{plan, report};

/// A foreseen reason not to deploy.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum Refusal {
    #[error("anemos deploy needs root")]
    NotRoot,
    #[error("no payload is given")]
    NoPayload,
    #[error("{what} is not built in yet")]
    NotBuiltIn { what: String, instead: &'static str },
    #[error("a deployment is staged already")]
    Staged,
    #[error("there is no way into the deploy environment ({})", obstacles.join("; "))]
    NoWayIn { obstacles: Vec<String> },
    #[error("the image of the running kernel {release} is not there")]
    KernelNotFound { release: String },
    #[error("{} is no kernel for {arch}", path.display())]
    NotAKernel { path: PathBuf, arch: String },
    #[error("there are no modules for the kernel{}", release.as_ref().map(|it| format!(" {it}")).unwrap_or_default())]
    ModulesNotFound { release: Option<String> },
    #[error("the modules are for {modules}, but the kernel is {kernel}")]
    ModulesOfAnother { kernel: String, modules: String },
    #[error("the disk below / cannot be told (disks: {})", list(seen))]
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
    #[error("there is no link {wanted} (links: {})", list(seen))]
    LinkNotFound { wanted: String, seen: Vec<String> },
    #[error("it is not said which link gets the static address (links: {})", list(seen))]
    LinkNeeded { seen: Vec<String> },
    #[error("all addresses are on links that are no hardware: {}", list(links))]
    NetworkOfLayers { links: Vec<String> },
    #[error("another machine cannot inherit the network of this one")]
    NothingToInherit,
    #[error("{during} needs {needs} of memory, but there is only {has} ({what_for})")]
    TooLittleMemory { during: &'static str, needs: String, has: String, what_for: String },
    #[error("{member} has {}, and an initramfs holds files below 4 GiB only", plan::mib(*size))]
    MemberTooLarge { member: String, size: u64 },
    #[error("an initramfs of ours is zstd, which the kernel {release} cannot unpack")]
    NoZstd { release: String },
    #[error("deploy is run by {program}, which the base initramfs does not have")]
    InterpreterMissing { program: String },
    #[error("payload.toml asks for {tool}, which the base initramfs does not have")]
    ToolMissing { tool: String },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl From<Refusal> for report::Refusal {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.to_string(), refusal.hint())
    }
}

/// Returns every reason that facts and plan give, the most basic first.
pub(crate) fn check(facts: &Facts, plan: &Plan) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if plan.purpose == Purpose::Deploy {
        refusals.extend(privilege(facts));
    }
    refusals.extend(payload(plan));
    if plan.purpose == Purpose::Deploy {
        refusals.extend(entry(facts, plan));
    }
    refusals.extend(kernel(facts, plan));
    refusals.extend(plan.undecided.iter().cloned());
    // A ladder without kexec loads nothing; why it is without, it says.
    let peaks = plan.memory.peaks.iter().filter(|peak| peak.during != "loading");
    refusals.extend(peaks.filter_map(short));
    refusals
}

fn privilege(facts: &Facts) -> Option<Refusal> {
    (!facts.privileged).then_some(Refusal::NotRoot)
}

fn payload(plan: &Plan) -> Option<Refusal> {
    let Some(payload) = &plan.payload else { return Some(Refusal::NoPayload) };
    let what = match payload.kind {
        Kind::Deploy { .. } => return None,
        Kind::Imgbuild => "deploying an IMGBUILD payload",
        Kind::Image => "deploying an image.toml payload",
    };
    let instead = "use a payload with an executable `deploy`";
    Some(Refusal::NotBuiltIn { what: what.to_owned(), instead })
}

fn entry(facts: &Facts, plan: &Plan) -> Option<Refusal> {
    if facts.staged {
        return Some(Refusal::Staged);
    }
    let none = plan.this_machine && plan.entry.ladder.is_empty();
    let obstacles = || plan.entry.passed_over.iter().map(ToString::to_string).collect();
    none.then(|| Refusal::NoWayIn { obstacles: obstacles() })
}

fn kernel(facts: &Facts, plan: &Plan) -> Option<Refusal> {
    let Some(image) = &plan.kernel.image else {
        return Some(Refusal::KernelNotFound { release: facts.kernel.release.clone() });
    };
    let wanted = match facts.arch.as_str() {
        "aarch64" => ImageFormat::Arm64,
        _ => ImageFormat::BzImage,
    };
    if image.format != Some(wanted) {
        let arch = facts.arch.clone();
        return Some(Refusal::NotAKernel { path: image.path.clone(), arch });
    }
    let Some(modules) = &plan.kernel.modules else {
        return Some(Refusal::ModulesNotFound { release: image.release.clone() });
    };
    let modules = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let kernel = image.release.clone()?;
    if !unpacks_zstd(&kernel) {
        return Some(Refusal::NoZstd { release: kernel });
    }
    (kernel != modules).then_some(Refusal::ModulesOfAnother { kernel, modules })
}

/// Linux unpacks zstd from 5.9 on (`CONFIG_RD_ZSTD`); a release that is no number may.
fn unpacks_zstd(release: &str) -> bool {
    let mut numbers = release.split(|other: char| !other.is_ascii_digit());
    let mut number = || numbers.next().and_then(|digits| digits.parse::<u32>().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 9),
        _ => true,
    }
}

fn short(peak: &Peak) -> Option<Refusal> {
    let mib = plan::mib;
    peak.is_short().then(|| Refusal::TooLittleMemory {
        during: peak.during,
        needs: mib(peak.needs),
        has: mib(peak.has.unwrap_or_default()),
        what_for: peak.what_for.clone(),
    })
}

/// Returns what a payload needs to run but the deploy environment will not have; `has` tells for
/// the path or the bare name of a program.
pub(crate) fn missing_programs(
    kind: &Kind,
    tools: &[String],
    has: impl Fn(&str) -> bool,
) -> Vec<Refusal> {
    let needed = match kind {
        Kind::Deploy { interpreter, program } => vec![interpreter.clone(), program.clone()],
        Kind::Imgbuild | Kind::Image => Vec::new(),
    };
    let needed = needed.into_iter().flatten().filter(|program| !has(program));
    let tools = tools.iter().filter(|tool| !has(tool));
    needed
        .map(|program| Refusal::InterpreterMissing { program })
        .chain(tools.map(|tool| Refusal::ToolMissing { tool: tool.clone() }))
        .collect()
}

#[cfg(test)]
mod tests;
