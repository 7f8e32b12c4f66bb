//! Refuses deployments before anything is changed, each reason with a way out.

mod fit;

use contract::deploy::AfterCommit;
use contract::paths;
use contract::payload::Kind;

use crate::amount::{mib, mib_down};
use crate::facts::{Facts, ImageFormat};
use crate::plan::{Moment, Peak, Plan, Purpose};
use crate::refusal::Refusal;

/// Returns every reason that follows from facts and plan, the most basic first.
pub(crate) fn check(facts: &Facts, plan: &Plan) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    if plan.purpose == Purpose::Deploy {
        refusals.extend(privilege(facts));
        refusals.extend(container(facts));
    }
    refusals.extend(payload(plan));
    if plan.purpose == Purpose::Deploy {
        refusals.extend(entry(facts, plan));
    }
    refusals.extend(kernel(facts, plan));
    refusals.extend(plan.undecided.iter().cloned());
    refusals.extend(fit::check(facts, plan));
    // A ladder without kexec loads nothing, and explains why it has no kexec.
    let peaks = plan.memory.peaks.iter().filter(|peak| peak.during != Moment::Loading);
    refusals.extend(peaks.filter_map(short));
    refusals
}

fn privilege(facts: &Facts) -> Option<Refusal> {
    (!facts.privileged).then_some(Refusal::NotRoot)
}

fn container(facts: &Facts) -> Option<Refusal> {
    let kind = facts.virtualization.container.clone()?;
    Some(Refusal::Container { kind })
}

fn payload(plan: &Plan) -> Option<Refusal> {
    let Some(payload) = &plan.payload else { return Some(Refusal::NoPayload) };
    let what = match payload.kind {
        Kind::Deploy { .. } | Kind::Imgbuild => return None,
        Kind::Image => "deploying an image.toml payload",
    };
    let instead = "use a payload with an executable `deploy`, or an IMGBUILD";
    Some(Refusal::NotBuiltIn { what: what.to_owned(), instead })
}

fn entry(facts: &Facts, plan: &Plan) -> Option<Refusal> {
    if facts.staged {
        return Some(Refusal::Staged { what: "a deployment is staged" });
    }
    // A reboot by systemd executes it, too (systemctl(1)).
    if facts.kexec.loaded && plan.this_machine {
        return Some(Refusal::Staged { what: "a kernel that kexec would execute is loaded" });
    }
    // The container is reason enough.
    let container = facts.virtualization.container.is_some();
    let none = plan.this_machine && plan.entry.ladder.is_empty() && !container;
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

/// Returns whether a kernel unpacks zstd: Linux does since 5.9 (`CONFIG_RD_ZSTD`).
///
/// A release that is not a number may do so.
fn unpacks_zstd(release: &str) -> bool {
    let mut numbers = release.split(|other: char| !other.is_ascii_digit());
    let mut number = || numbers.next().and_then(|digits| digits.parse::<u32>().ok());
    match (number(), number()) {
        (Some(major), Some(minor)) => (major, minor) >= (5, 9),
        _ => true,
    }
}

fn short(peak: &Peak) -> Option<Refusal> {
    peak.is_short().then(|| Refusal::TooLittleMemory {
        during: peak.during.to_string(),
        needs: mib(peak.needs),
        has: mib_down(peak.has.unwrap_or_default()),
        what_for: peak.what_for.clone(),
    })
}

/// Returns what a payload needs to run but the deploy environment will not have.
///
/// `has` returns whether there is a program, by its path or just by its name.
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

/// Returns why nobody could log in to a rescue, if there may be one and somebody should.
///
/// `has` returns whether there is a program, by its path.
pub(crate) fn ssh_server(plan: &Plan, has: impl Fn(&str) -> bool) -> Option<Refusal> {
    let waits = plan.deploy.as_ref()?.after_commit == AfterCommit::Rescue;
    // Without a source of keys, the user has agreed that nobody can log in.
    let matters = plan.purpose == Purpose::Deploy && waits && plan.access.from.is_some();
    (matters && !paths::SSH_SERVERS.into_iter().any(has)).then_some(Refusal::NoSshServer)
}

#[cfg(test)]
mod tests;
