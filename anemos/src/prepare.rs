//! Turns configuration and payload into a checked plan; reads much, changes nothing.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use contract::network::Kind;
use contract::network::proof::{self, Answer};
use contract::payload::{self, Description, Limits};

use crate::config::{Base, Config, HostKeys, KernelSource, Keys, Location, NetworkMode};
use crate::contents::{BaseContents, Contents, Wanted};
use crate::facts::{
    self, AuthorizedKey, Facts, HostKey, KernelImage, Keyring, Modules, authorized_keys,
};
use crate::plan::{self, Inputs, KeyCount, Plan, Purpose, Rung, Sizes};
use crate::preflight;
use crate::receipt::{Parts, Receipt, ReceiptArgs};
use crate::refusal::Refusal;
use crate::twin::Likeness;
use crate::{amount, report, source, staging};

/// Everything about a deployment that is read and decided before anything is done.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) facts: Facts,
    pub(crate) plan: Plan,
    /// Absent without a payload, or without a kernel with modules.
    pub(crate) contents: Option<Contents>,
    /// Every reason not to continue.
    pub(crate) refusals: Vec<Refusal>,
    /// Reasons that would be refusals if they were not overridden.
    pub(crate) overridden: Vec<Refusal>,
    sources: Sources,
}

/// The inputs of a plan besides the facts.
#[derive(Debug)]
struct Sources {
    config: Config,
    purpose: Purpose,
    payload: Option<Payload>,
    image: Option<KernelImage>,
    modules: Option<Modules>,
    authorized_keys: Vec<AuthorizedKey>,
    host_keys: Vec<HostKey>,
    /// Who answers in the running system; absent if that is not tested.
    answers: Option<Vec<Answer>>,
    /// Addresses of the server that the payload comes from.
    origins: Vec<SocketAddr>,
    /// Where a custom base is, once it has been brought here.
    base: Option<PathBuf>,
}

/// A payload that was read once from beginning to end.
#[derive(Debug)]
struct Payload {
    path: PathBuf,
    /// Its file name, for messages.
    name: String,
    description: Description,
    /// When it was last changed, in seconds since 1970.
    changed_at: u64,
    location: Location,
}

impl Prepared {
    /// Reads all inputs, decides, and checks the decision.
    ///
    /// Files that are named by URL are fetched into `folder`. A payload or a file that is bad by
    /// itself is an error at once.
    pub(crate) fn new(
        config: Config,
        argument: Option<Location>,
        purpose: Purpose,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        // Both are read from beginning to end, which takes most of the time of a plan.
        let (payload, base) = std::thread::scope(|scope| {
            let base = scope.spawn(|| read_base(&config, folder));
            let payload = read_payload(&config, argument, folder);
            (payload, base.join())
        });
        let payload = payload?;
        let base = base.unwrap_or_else(|_panic| bail!("reading the base initramfs panicked"))?;
        let base_path = base.as_ref().and_then(BaseContents::path).map(Path::to_owned);
        let keyring = Keyring::here();
        let facts = Facts::gather(&keyring)?;
        let from = payload.as_ref().map(|payload| &payload.location);
        let origins = from.map(source::servers).transpose()?.unwrap_or_default();
        let answers = match (purpose, config.network.mode) {
            (Purpose::Deploy, NetworkMode::Inherit | NetworkMode::Dhcp) => {
                Some(proof::prove(&facts.network, &origins)?)
            }
            _ => None,
        };
        let sources = Sources {
            answers,
            origins,
            image: kernel_image(&config, &facts)?,
            modules: modules(&config, &facts),
            host_keys: match config.access.host_keys {
                HostKeys::Keep => keyring.host_keys.clone(),
                HostKeys::New => Vec::new(),
            },
            authorized_keys: choose_keys(&config.access.authorized_keys, keyring)?,
            base: base_path,
            config,
            purpose,
            payload,
        };
        let contents = sources.collect(&facts, base)?;
        let sizes = contents.as_ref().map(|contents| Sizes {
            file: contents.expected_file_bytes(),
            unpacked: contents.unpacked_bytes(),
        });
        let (plan, refusals) = decide(&facts, &sources, contents.as_ref(), sizes);
        let (overridden, refusals) = sources.split(refusals);
        Ok(Self { facts, plan, contents, refusals, overridden, sources })
    }

    /// Refuses what is not covered by the receipt, if one is required.
    pub(crate) fn require(&mut self, receipt: &ReceiptArgs) -> anyhow::Result<()> {
        let Some(path) = &receipt.required else { return Ok(()) };
        let receipt = Receipt::read(path)?;
        let Sources { config, payload, base, .. } = &self.sources;
        let payload = payload.as_ref().map(|payload| payload.description.sha256.as_str());
        let here = Parts::read(config, payload, base.as_deref())?;
        self.refusals.extend(receipt.refusals(&here, &Likeness::of(&self.facts)));
        Ok(())
    }

    /// Decides and checks again, now that the size of the final initramfs is known.
    pub(crate) fn recheck(&self, file: u64) -> anyhow::Result<Plan> {
        let contents = self.contents.as_ref();
        let sizes = contents.map(|contents| Sizes { file, unpacked: contents.unpacked_bytes() });
        let (plan, refusals) = decide(&self.facts, &self.sources, contents, sizes);
        refuse(&self.sources.split(refusals).1)?;
        Ok(plan)
    }

    /// Refuses to stage what has no room; nobody knows the room on another machine.
    pub(crate) fn check_room(&self) -> anyhow::Result<()> {
        let contents = self.contents.as_ref().filter(|_| self.plan.this_machine);
        let Some(contents) = contents else { return Ok(()) };
        let bytes = contents.expected_file_bytes();
        let loader = &self.facts.boot_loader;
        let folder = match self.plan.entry.ladder.first() {
            Some(Rung::Extlinux) => loader.extlinux.as_ref().map(|found| found.folder.as_path()),
            Some(Rung::Grub) => loader.grub.as_ref().map(|grub| grub.folder.as_path()),
            Some(Rung::BootNext) => loader.esp.as_ref().map(|esp| esp.folder.as_path()),
            _ => None,
        };
        let kernel = self.plan.kernel.image.as_ref().map_or(0, |image| image.size);
        staging::check_room(bytes, folder.map(|folder| (folder, bytes + kernel)))
    }

    /// Returns what an execution needs, or else the first refusal after reporting all others.
    pub(crate) fn accept(&self) -> anyhow::Result<(&Contents, &contract::deploy::Deploy)> {
        refuse(&self.refusals)?;
        for overridden in &self.overridden {
            report::step(&format!("overridden: {overridden}"));
        }
        let contents = self.contents.as_ref().context("collecting the final initramfs")?;
        let deploy = self.plan.deploy.as_ref().context("describing the deployment")?;
        Ok((contents, deploy))
    }
}

/// Returns the first refusal as an error, and reports the others before.
pub(crate) fn refuse(refusals: &[Refusal]) -> anyhow::Result<()> {
    let Some((first, others)) = refusals.split_first() else { return Ok(()) };
    for other in others {
        report::step(&format!("also: {other}; {}", other.hint()));
    }
    Err(report::Refused::from(first.clone()).into())
}

fn decide(
    facts: &Facts,
    sources: &Sources,
    contents: Option<&Contents>,
    sizes: Option<Sizes>,
) -> (Plan, Vec<Refusal>) {
    let payload = sources.payload.as_ref();
    let plan = plan::plan(Inputs {
        facts,
        config: &sources.config,
        purpose: sources.purpose,
        payload: payload.map(|payload| (payload.name.as_str(), &payload.description)),
        image: sources.image.clone(),
        modules: sources.modules.clone(),
        sizes,
        load: contents.map(|contents| contents.load.clone()).unwrap_or_default(),
        drivers_missing: contents.map(|it| it.drivers_missing.clone()).unwrap_or_default(),
        authorized_keys: count(&sources.authorized_keys, &amount::date(facts.clock.now)),
        answers: sources.answers.as_deref(),
        origins: &sources.origins,
        // This is not the present time, because the same inputs must give the same bytes.
        written_at: payload.map_or(0, |payload| payload.changed_at),
    });
    let mut refusals = preflight::check(facts, &plan);
    if let (Some(payload), Some(contents)) = (payload, contents) {
        let Description { kind, settings, .. } = &payload.description;
        let has = |program: &str| contents.has_program(program);
        refusals.extend(preflight::missing_programs(kind, &settings.tools, has));
        refusals.extend(preflight::ssh_server(&plan, has));
        refusals.extend(contents.too_large().map(|member| Refusal::MemberTooLarge {
            member: member.name.clone(),
            size: member.source.size(),
        }));
    }
    (plan, refusals)
}

impl Sources {
    /// Splits refusals into those that are overridden and those that stand.
    fn split(&self, refusals: Vec<Refusal>) -> (Vec<Refusal>, Vec<Refusal>) {
        let overridden = &self.config.preflight.overridden;
        let is = |refusal: &Refusal| refusal.check().is_some_and(|it| overridden.contains(&it));
        refusals.into_iter().partition(is)
    }

    fn collect(
        &self,
        facts: &Facts,
        base: Option<BaseContents>,
    ) -> anyhow::Result<Option<Contents>> {
        let (Some(payload), Some(modules)) = (&self.payload, &self.modules) else {
            return Ok(None);
        };
        let contents = Contents::collect(Wanted {
            base,
            tools: &payload.description.settings.tools,
            modules: &modules.path,
            paths: &facts.paths,
            links: link_aliases(facts),
            running: self.config.kernel.source == KernelSource::Running,
            firmware: &self.config.firmware,
            payload: &payload.path,
            authorized_keys: &self.authorized_keys,
            host_keys: &self.host_keys,
        })?;
        Ok(Some(contents))
    }
}

/// Returns the aliases by which the kernel requests modules for links that are not hardware.
///
/// It does so when they are created (Linux, `MODULE_ALIAS_RTNL_LINK`).
fn link_aliases(facts: &Facts) -> Vec<String> {
    let kinds = facts.network.links.iter().filter_map(|link| match link.kind {
        Kind::Hardware => None,
        Kind::Vlan { .. } => Some("vlan"),
        Kind::Bond(_) => Some("bond"),
        Kind::Bridge { .. } => Some("bridge"),
        Kind::Vrf { .. } => Some("vrf"),
    });
    kinds.map(|kind| format!("rtnl-link-{kind}")).collect()
}

/// Brings a custom base here and lists it.
fn read_base(config: &Config, folder: &Path) -> anyhow::Result<Option<BaseContents>> {
    let Base::At(place) = &config.initramfs.base else { return Ok(None) };
    let path = source::bring(place, config.initramfs.digest.as_ref().into(), folder)?;
    BaseContents::read(&path).map(Some)
}

/// Brings the payload here and reads all of it, so that a bad one is refused first.
fn read_payload(
    config: &Config,
    argument: Option<Location>,
    folder: &Path,
) -> anyhow::Result<Option<Payload>> {
    let Some(location) = argument.or_else(|| config.payload.source.clone()) else {
        return Ok(None);
    };
    let path = source::bring(&location, config.payload.digest.as_ref().into(), folder)?;
    if let Some(key) = &config.payload.public_key {
        source::signature::check(&location, &path, key, folder)?;
    }
    let describe = || format!("reading {location}");
    let file = File::open(&path).with_context(describe)?;
    let changed =
        file.metadata().and_then(|metadata| metadata.modified()).with_context(describe)?;
    let since = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let description = payload::inspect(file, Limits::default())
        .map_err(source::refuse)
        .with_context(|| format!("inspecting {location}"))?;
    let name = location.file_name();
    Ok(Some(Payload { path, name, description, changed_at: since.as_secs(), location }))
}

fn kernel_image(config: &Config, facts: &Facts) -> anyhow::Result<Option<KernelImage>> {
    match &config.kernel.source {
        KernelSource::Running => Ok(facts.kernel.image.clone()),
        KernelSource::File(path) => facts::kernel_image(path)
            .map(Some)
            .with_context(|| format!("reading the kernel {}", path.display())),
    }
}

fn modules(config: &Config, facts: &Facts) -> Option<Modules> {
    match (&config.kernel.modules, &config.kernel.source) {
        (Some(path), _) => facts::kernel_modules(path),
        (None, KernelSource::Running) => facts.kernel.modules.clone(),
        (None, KernelSource::File(_)) => None,
    }
}

/// Selects the keys to take along; other lines stay behind, because they may be private keys.
fn choose_keys(keys: &Keys, keyring: Keyring) -> anyhow::Result<Vec<AuthorizedKey>> {
    match keys {
        Keys::None => Ok(Vec::new()),
        Keys::File(path) => {
            let text = fs::read_to_string(path);
            let text = text.with_context(|| format!("reading {}", path.display()))?;
            Ok(authorized_keys::parse(&text))
        }
        Keys::Inherit => {
            let warnings = keyring.warnings.iter();
            warnings.for_each(|warning| report::step(&format!("warning: {warning}")));
            Ok(keyring.authorized_keys)
        }
    }
}

fn count(keys: &[AuthorizedKey], now: &str) -> KeyCount {
    let without_shell = keys.iter().filter(|key| !key.gives_shell(now)).count();
    KeyCount { all: keys.len(), without_shell }
}
