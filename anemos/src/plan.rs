//! Decides what a deployment will do, only from facts and configuration.

mod command_line;
mod disk;
mod entry;
mod inputs;
mod memory;
mod network;
pub(crate) mod render;
mod watchdog;

use std::net::SocketAddr;
use std::path::PathBuf;

use contract::attempt::Mode;
use contract::deploy::{Deploy, PayloadMember};
use contract::network::Restore;
use contract::network::proof::{Answer, Subject};
use contract::payload::{Description, Kind, Settings};
use serde::Serialize;

pub(crate) use self::disk::PlannedDisk;
pub(crate) use self::entry::{PlannedEntry, Rung};
pub(crate) use self::inputs::{Inputs, KeyCount, Purpose};
pub(crate) use self::memory::{Budget, Moment, Peak, Sizes};
pub(crate) use self::watchdog::{PlannedWatchdog, SHORTEST as SHORTEST_WATCH};
use crate::config::{Config, HostKeys, KernelSource, Keys};
use crate::contents::DriverMissing;
use crate::facts::{Facts, KernelImage, Modules};
use crate::refusal::Refusal;

/// What a deployment will do.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Plan {
    pub(crate) purpose: Purpose,
    /// Whether it is for the machine that the facts describe.
    pub(crate) this_machine: bool,
    pub(crate) hostname: String,
    pub(crate) payload: Option<PlannedPayload>,
    pub(crate) kernel: PlannedKernel,
    /// Kernel command line of the deploy environment.
    pub(crate) command_line: String,
    /// The base initramfs: `built-in`, a path or a URL.
    pub(crate) base: String,
    pub(crate) sizes: Option<Sizes>,
    /// Absent if it could not be decided.
    pub(crate) restore: Option<Restore>,
    /// What answers in the running system and what does not.
    pub(crate) answers: Vec<String>,
    /// The parts of the network that cannot be recreated.
    pub(crate) not_restored: Vec<String>,
    pub(crate) disk: PlannedDisk,
    /// Other disks that `deploy` may write to.
    pub(crate) also_write: Vec<PlannedDisk>,
    pub(crate) entry: PlannedEntry,
    pub(crate) watchdog: PlannedWatchdog,
    /// Drivers that it will lack on the way to disks and links, whether they matter or not.
    #[serde(skip)]
    pub(crate) drivers_missing: Vec<DriverMissing>,
    pub(crate) access: PlannedAccess,
    pub(crate) memory: Budget,
    /// Seconds that `deploy` may take.
    pub(crate) deploy_limit_secs: u64,
    /// The deploy description; absent as long as a payload, a disk or a network is missing.
    pub(crate) deploy: Option<Deploy>,
    /// What could not be decided.
    #[serde(skip)]
    pub(crate) undecided: Vec<Refusal>,
}

/// The payload, as far as it matters to the plan.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedPayload {
    /// The file name that the user gave.
    pub(crate) file: String,
    /// Its settings for itself.
    pub(crate) settings: Settings,
    pub(crate) kind: Kind,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// Its unpacked size in bytes.
    pub(crate) unpacked: u64,
    pub(crate) members: u64,
    pub(crate) sha256: String,
}

/// The kernel of the deploy environment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedKernel {
    /// Whether it is the running system's own kernel.
    pub(crate) running: bool,
    pub(crate) image: Option<KernelImage>,
    pub(crate) modules: Option<PathBuf>,
}

/// Who can log in.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct PlannedAccess {
    /// Number of authorised keys that are taken along.
    pub(crate) authorized_keys: usize,
    /// Number of those keys that only let people in for a command, or have expired.
    pub(crate) without_shell: usize,
    /// The source of the keys.
    pub(crate) from: Option<String>,
    /// Types of the SSH host keys that are kept.
    pub(crate) host_keys: Vec<String>,
}

/// Decides what a deployment will do.
pub(crate) fn plan(inputs: Inputs<'_>) -> Plan {
    let Inputs { facts, config, .. } = inputs;
    let mut undecided = Vec::new();
    let disk = disk::select(facts, &config.disk.select, inputs.purpose)
        .unwrap_or_else(|refusal| keep(&mut undecided, refusal, PlannedDisk::default()));
    let also_write = disk::also(facts, &config.disk.also_write, inputs.purpose, &disk)
        .unwrap_or_else(|refusal| keep(&mut undecided, refusal, Vec::new()));
    let this_machine = disk.this_machine();
    let restore = network::restore(facts, &config.network, this_machine)
        .map_or_else(|refusal| keep(&mut undecided, refusal, None), Some);
    let running = config.kernel.source == KernelSource::Running;
    let inherited = if this_machine { facts.kernel.command_line.as_str() } else { "" };
    let memory =
        memory::budget(facts, this_machine, inputs.sizes, inputs.payload.map(|(_, it)| it));
    let question = entry::Question {
        facts,
        method: config.entry.method,
        image: inputs.image.as_ref(),
        running,
        sizes: inputs.sizes,
        memory: &memory,
    };
    let entry = if this_machine { question.answer() } else { PlannedEntry::default() };
    let question = watchdog::Question {
        watchdog: facts.watchdog.as_ref().filter(|_| this_machine),
        ladder: &entry.ladder,
        load: &inputs.load,
        running,
    };
    let mut plan = Plan {
        watchdog: question.answer(),
        entry,
        purpose: inputs.purpose,
        this_machine,
        hostname: if this_machine { facts.hostname.clone() } else { "localhost".to_owned() },
        payload: inputs.payload.map(planned_payload),
        kernel: planned_kernel(running, inputs.image, inputs.modules),
        command_line: command_line::render(inherited, &config.kernel.command_line),
        base: config.initramfs.base.to_string(),
        memory,
        sizes: inputs.sizes,
        answers: inputs.answers.unwrap_or_default().iter().map(ToString::to_string).collect(),
        not_restored: network::not_restored(facts, &config.network),
        restore,
        disk,
        also_write,
        drivers_missing: inputs.drivers_missing,
        access: access(facts, config, inputs.authorized_keys),
        deploy_limit_secs: config.failure.timeout,
        deploy: None,
        undecided,
    };
    let known = Known {
        modules: inputs.load,
        answered: inputs.answers.map(answered),
        origins: inputs.origins.to_vec(),
        written_at: inputs.written_at,
    };
    plan.deploy = plan.describe(facts, config, known);
    plan
}

/// Inputs that are not part of a plan, but that PID 1 needs.
struct Known {
    modules: Vec<String>,
    answered: Option<Vec<Subject>>,
    origins: Vec<SocketAddr>,
    written_at: u64,
}

/// Returns who answered, and therefore must answer in the deploy environment.
fn answered(answers: &[Answer]) -> Vec<Subject> {
    let answers = answers.iter().filter(|answer| answer.answered);
    answers.map(|answer| answer.subject.clone()).collect()
}

fn keep<T>(undecided: &mut Vec<Refusal>, refusal: Refusal, instead: T) -> T {
    undecided.push(refusal);
    instead
}

fn planned_kernel(
    running: bool,
    image: Option<KernelImage>,
    modules: Option<Modules>,
) -> PlannedKernel {
    PlannedKernel { running, image, modules: modules.map(|modules| modules.path) }
}

fn planned_payload((file, description): (&str, &Description)) -> PlannedPayload {
    PlannedPayload {
        file: file.to_owned(),
        settings: description.settings.clone(),
        kind: description.kind.clone(),
        size: description.size,
        unpacked: description.unpacked,
        members: description.members,
        sha256: description.sha256.clone(),
    }
}

fn access(facts: &Facts, config: &Config, keys: KeyCount) -> PlannedAccess {
    let from = match &config.access.authorized_keys {
        Keys::Inherit => Some("the running system".to_owned()),
        Keys::None => None,
        Keys::File(path) => Some(path.display().to_string()),
    };
    let host_keys = match config.access.host_keys {
        HostKeys::Keep => facts.access.host_keys.clone(),
        HostKeys::New => Vec::new(),
    };
    let KeyCount { all: authorized_keys, without_shell } = keys;
    PlannedAccess { authorized_keys, without_shell, from, host_keys }
}

impl Plan {
    fn describe(&self, facts: &Facts, config: &Config, known: Known) -> Option<Deploy> {
        let payload = self.payload.as_ref()?;
        let running = self.this_machine.then(|| facts.network.clone());
        Some(Deploy {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            hostname: self.hostname.clone(),
            machine_id: facts.machine_id.clone().filter(|_| self.this_machine),
            firmware: self.this_machine.then_some(facts.firmware),
            arch: facts.arch.clone(),
            console: command_line::console(&self.command_line, self.known_consoles(facts)),
            disk: self.disk.identity.clone()?,
            also_write: self.also_write.iter().filter_map(|disk| disk.identity.clone()).collect(),
            ssh_ports: if self.this_machine { facts.access.ssh_ports.clone() } else { Vec::new() },
            network: network::of_new_system(running, self.restore.as_ref()?, &config.network),
            restore: self.restore.clone()?,
            needs_network: payload.settings.network.unwrap_or(true),
            answered: known.answered,
            origins: known.origins,
            modules: known.modules,
            payload: PayloadMember {
                name: payload.file.clone(),
                size: payload.size,
                sha256: payload.sha256.clone(),
                unpacked_limit: payload.unpacked,
            },
            after_commit: config.failure.after_commit,
            mode: Mode::Deployment,
            watchdog: self.watchdog.armed().is_some(),
            began: None,
            report: None,
            deploy_limit_secs: self.deploy_limit_secs,
            written_at: known.written_at,
        })
    }

    fn known_consoles<'f>(&self, facts: &'f Facts) -> &'f [String] {
        if self.this_machine { &facts.consoles } else { &[] }
    }
}

#[cfg(test)]
pub(crate) mod tests;
