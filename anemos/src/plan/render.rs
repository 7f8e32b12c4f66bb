//! Renders a plan in plain words.

use contract::network::{Address, Network, Restore, Route};
use contract::payload::Kind;

use super::disk::PlannedDisk;
use super::{Plan, PlannedKernel, PlannedPayload};
use crate::amount::{gib, mib, mib_down};
use crate::facts::{Disk, Occupant};

impl Plan {
    /// Renders the plan for people: headings, each followed by its facts, one per line.
    pub(crate) fn render(&self) -> String {
        let sections: [(&str, Vec<String>); 10] = [
            ("machine", vec![self.machine()]),
            ("payload", self.payload.as_ref().map_or_else(|| vec!["none".into()], payload)),
            ("kernel", kernel(&self.kernel, &self.command_line)),
            ("initramfs", self.initramfs()),
            ("entry", self.entry.lines()),
            ("watchdog", vec![self.watchdog.line()]),
            ("disk", self.disks()),
            ("network", self.network()),
            ("access", self.login()),
            ("memory", self.memory_lines()),
        ];
        let mut text = String::new();
        for (heading, lines) in sections {
            for (index, line) in lines.iter().enumerate() {
                let heading = if index == 0 { heading } else { "" };
                text.push_str(format!("{heading:<11}{line}").trim_end());
                text.push('\n');
            }
        }
        text
    }

    fn machine(&self) -> String {
        if self.this_machine { self.hostname.clone() } else { "another one".to_owned() }
    }

    fn disks(&self) -> Vec<String> {
        let mut lines = disk(&self.disk);
        for other in &self.also_write {
            lines.push("may be written too:".to_owned());
            lines.extend(disk(other));
        }
        lines
    }

    fn initramfs(&self) -> Vec<String> {
        let mut lines = vec![format!("base {}", self.base)];
        if let Some(sizes) = self.sizes {
            let (file, unpacked) = (mib(sizes.file), mib(sizes.unpacked));
            lines.push(format!("about {file}, unpacked {unpacked} with the packed payload"));
        }
        lines
    }

    fn network(&self) -> Vec<String> {
        let restored = self.restore.as_ref().map_or_else(|| vec!["not decided".into()], network);
        let lost = self.not_restored.iter();
        let lost = lost.map(|name| format!("not restored: {name}"));
        let answers = self.answers.iter().cloned();
        restored.into_iter().chain(lost).chain(answers).collect()
    }

    fn login(&self) -> Vec<String> {
        let access = &self.access;
        let from = access.from.as_ref().map(|from| format!(" of {from}")).unwrap_or_default();
        let without = Some(access.without_shell).filter(|count| *count > 0);
        let without = without.map(|count| format!(", {count} of them without a shell"));
        let (number, without) = (access.authorized_keys, without.unwrap_or_default());
        let keys = format!("authorised keys: {number}{from}{without}");
        let host_keys = match access.host_keys.as_slice() {
            [] => "SSH host keys: new ones".to_owned(),
            kinds => format!("SSH host keys kept: {}", kinds.join(", ")),
        };
        vec![keys, host_keys]
    }

    fn memory_lines(&self) -> Vec<String> {
        let peaks = self.memory.peaks.iter().map(|peak| {
            let has = peak.has.map_or("unknown".to_owned(), mib_down);
            let verdict = if peak.is_short() { " TOO LITTLE" } else { "" };
            let (during, needs, why) = (peak.during, mib(peak.needs), &peak.what_for);
            format!("{during} needs {needs} of {has}{verdict} ({why})")
        });
        let limit = format!("deploy may take {} s", self.deploy_limit_secs);
        let unknown =
            self.memory.peaks.is_empty().then(|| "not known without a payload".to_owned());
        unknown.into_iter().chain(peaks).chain([limit]).collect()
    }
}

fn payload(payload: &PlannedPayload) -> Vec<String> {
    let name = payload.settings.name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let run_by = match &payload.kind {
        Kind::Deploy { interpreter: Some(interpreter), program } => {
            let program = program.as_ref().map(|program| format!(" {program}"));
            format!(", run by {interpreter}{}", program.unwrap_or_default())
        }
        _ => String::new(),
    };
    let (size, unpacked) = (mib(payload.size), mib(payload.unpacked));
    vec![
        format!("{}{name}", payload.file),
        format!("{}{run_by}; {size}, unpacked {unpacked}", payload.kind.marker()),
        format!("sha256:{}", payload.sha256),
    ]
}

fn kernel(kernel: &PlannedKernel, command_line: &str) -> Vec<String> {
    let own = if kernel.running { "the running system's own" } else { "given" };
    let image = kernel.image.as_ref().map_or("not found".to_owned(), |image| {
        let release = image.release.as_deref().unwrap_or("release unknown");
        format!("{} ({release}, {own})", image.path.display())
    });
    let modules = kernel.modules.as_ref().map(|path| path.display().to_string());
    let modules = modules.unwrap_or("not found".to_owned());
    vec![image, format!("modules {modules}"), format!("command line {command_line}")]
}

fn disk(disk: &PlannedDisk) -> Vec<String> {
    let Some(identity) = &disk.identity else { return vec!["not decided".to_owned()] };
    let Some(found) = &disk.found else {
        return vec![format!("{identity}: {}", disk.why), overwritten()];
    };
    let model = found.candidate.model.as_ref().map(|model| format!(" {model},"));
    let size = identity.size.unwrap_or_default();
    let name = &found.candidate.name;
    let bus = &found.candidate.bus;
    let mut lines = vec![
        format!("{name}:{} {bus}, {}; {}", model.unwrap_or_default(), gib(size), disk.why),
        format!("found again by {identity}"),
        overwritten(),
    ];
    lines.extend(content(found));
    lines
}

fn overwritten() -> String {
    "ALL DATA ON IT IS LOST".to_owned()
}

/// Renders what is on a disk, one fact per line.
pub(crate) fn content(disk: &Disk) -> Vec<String> {
    let mut lines = Vec::new();
    occupants(&disk.content, 1, &mut lines);
    lines
}

/// Lists what is inside, with deeper things further to the right.
fn occupants(outer: &Occupant, depth: usize, lines: &mut Vec<String>) {
    if depth == 1 && outer.inside.is_empty() {
        let used = use_of(outer);
        let known = if used.is_empty() { ": nothing that is known" } else { &used };
        lines.push(format!("  the whole disk{known}"));
    }
    for one in &outer.inside {
        let indent = "  ".repeat(depth);
        let label = one.label.as_ref().map(|label| format!(" {label:?}")).unwrap_or_default();
        let (name, kind, size, used) = (&one.name, &one.kind, gib(one.size), use_of(one));
        lines.push(format!("{indent}{name} {kind}, {size}{label}{used}"));
        occupants(one, depth + 1, lines);
    }
}

fn use_of(one: &Occupant) -> String {
    let filesystem = one.filesystem.as_ref().map(|kind| format!(", {kind}")).unwrap_or_default();
    let mounts = match one.mounts.as_slice() {
        [] => String::new(),
        points => format!(" on {}", points.join(" and ")),
    };
    let swap = if one.swap { " in use as swap" } else { "" };
    format!("{filesystem}{mounts}{swap}")
}

fn network(restore: &Restore) -> Vec<String> {
    match restore {
        Restore::None => vec!["none".to_owned()],
        Restore::Dhcp { macs } if macs.is_empty() => vec!["DHCP on every link".to_owned()],
        Restore::Dhcp { macs } => vec![format!("DHCP on {}", macs.join(", "))],
        Restore::Static(network) => fixed(network),
    }
}

fn fixed(network: &Network) -> Vec<String> {
    let mut lines = Vec::new();
    for link in &network.links {
        let addresses: Vec<_> = link.addresses.iter().map(address).collect();
        let addresses =
            if addresses.is_empty() { "no address".to_owned() } else { addresses.join(", ") };
        let made = Some(&link.kind).filter(|kind| !kind.is_hardware());
        let made = made.map(|kind| format!(" ({kind})")).unwrap_or_default();
        let part = link.master.as_ref().map(|master| format!(", a part of {master}"));
        let part = part.unwrap_or_default();
        lines.push(format!("{} {}{made}: {addresses}{part}", link.name, link.mac));
    }
    lines.extend(network.routes.iter().map(route));
    match network.rules.len() {
        0 => {}
        1 => lines.push("1 routing rule".to_owned()),
        number => lines.push(format!("{number} routing rules")),
    }
    let resolvers: Vec<_> = network.resolvers.iter().map(ToString::to_string).collect();
    lines.push(match resolvers.as_slice() {
        [] => "no resolvers: set [network] dns where the payload needs names".to_owned(),
        some => format!("resolvers {}", some.join(", ")),
    });
    lines
}

fn address(one: &Address) -> String {
    format!("{}/{}", one.address, one.prefix)
}

fn route(route: &Route) -> String {
    let destination = if route.prefix == 0 {
        "default".to_owned()
    } else {
        format!("{}/{}", route.destination, route.prefix)
    };
    let via = route.gateway.map(|gateway| format!(" via {gateway}")).unwrap_or_default();
    let on_link = if route.on_link { " onlink" } else { "" };
    format!("route {destination}{via} dev {}{on_link}", route.link)
}
