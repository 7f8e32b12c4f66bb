//! The machine of a rehearsal: the settings of its file, overridden by the command line.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use contract::payload::Description;
use harness::classify::Class;
use harness::drive::router::Provider;
use harness::fault::Fault;
use harness::fixture::build::BuildError;
use harness::fixture::{Fixture, router, served};
use harness::host::Host;
use harness::machine::setup::{Bus, CardOrder, Chipset, Firmware, Sector, Setup, Way};
use harness::server::Served;
use harness::size::Size;
use harness::topology::{Topology, TopologyError};
use harness::verdict::Verdict;

use super::words::{name, word};
use super::{FAR, MACHINE};
use crate::amount;
use crate::report::{Broken, Refused};
use crate::toml_mistake;
use crate::twin::{self, Twin};

/// What the machine is like; what is not named is as in the file, or the usual.
#[derive(Debug, clap::Args)]
pub(super) struct MachineArgs {
    /// Read the machine and its faults from this file
    #[arg(long = "machine", value_name = "FILE", help_heading = MACHINE)]
    file: Option<PathBuf>,
    /// Make the machine and its network like the one that these facts describe, and list what
    /// differs
    #[arg(long, value_name = "FACTS", conflicts_with_all = [
        "file", "topology", "matrix", "memory_floor", "fixture", "firmware", "disk", "memory",
        "disk_size", "quick",
    ], help_heading = MACHINE)]
    twin: Option<PathBuf>,
    /// The simulated VPS [default: what the payload says, else debian-12]
    #[arg(long, value_name = "NAME", help_heading = MACHINE)]
    fixture: Option<String>,
    /// The network of its provider [default: QEMU's own, with DHCP]
    #[arg(long, value_name = "NAME", conflicts_with = "quick", help_heading = MACHINE)]
    topology: Option<String>,
    /// Serve this folder of fixtures/served beside the payload, e.g. debian-12, a mirror
    /// (repeatable) [default: nothing]
    #[arg(long, value_name = "NAME", help_heading = MACHINE)]
    serve: Vec<String>,
    /// Its platform firmware: bios, uefi or uefi-secure
    #[arg(long = "platform-firmware", alias = "firmware", value_name = "FIRMWARE",
        value_parser = one_of(&["bios", "uefi", "uefi-secure"], word::<Firmware>), hide_possible_values = true, help_heading = MACHINE)]
    firmware: Option<Firmware>,
    /// How its disks are attached: virtio-blk, virtio-scsi, nvme or sata
    #[arg(long = "bus", alias = "disk", value_name = "BUS", value_parser = one_of(&["virtio-blk", "virtio-scsi", "nvme", "sata"], word::<Bus>), hide_possible_values = true, help_heading = MACHINE)]
    disk: Option<Bus>,
    /// Its memory [default: that of the fixture, or what the payload needs]
    #[arg(long, value_name = "SIZE", value_parser = amount::parse, help_heading = MACHINE)]
    memory: Option<Size>,
    /// Size of its disk [default: that of the fixture]
    #[arg(long, value_name = "SIZE", value_parser = amount::parse, help_heading = MACHINE)]
    disk_size: Option<Size>,
    /// Its processors
    #[arg(long, value_name = "N", help_heading = MACHINE)]
    cpus: Option<u32>,
    /// Rehearse on every platform firmware and bus that payload.toml names
    #[arg(long, conflicts_with_all = ["firmware", "disk"], help_heading = FAR)]
    pub(super) matrix: bool,
    /// Rehearse with less and less memory, and report how much is enough
    #[arg(long, conflicts_with = "matrix", help_heading = FAR)]
    pub(super) memory_floor: bool,
    /// How the VPS enters the deploy environment: auto, kexec or bootloader
    #[arg(long, value_name = "METHOD", value_parser = one_of(&["auto", "kexec", "bootloader"], entry), hide_possible_values = true, conflicts_with = "quick", help_heading = FAR)]
    entry: Option<Way>,
    /// Boot the deploy environment directly, without the VPS and the jump
    #[arg(long, help_heading = FAR)]
    quick: bool,
}

impl MachineArgs {
    /// Returns the twin that is wanted.
    pub(super) fn twin(&self) -> anyhow::Result<Option<Twin>> {
        let facts = self.twin.as_deref().map(twin::read_facts).transpose()?;
        Ok(facts.map(|facts| Twin::of(&facts)))
    }

    /// Returns the machine of the file, overridden by the command line.
    pub(super) fn setup(&self, twin: Option<&Twin>) -> anyhow::Result<Setup> {
        let mut setup = match &self.file {
            _ if twin.is_some() => twin.map(|twin| twin.setup.clone()).unwrap_or_default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading {}", path.display()))?;
                parse(&text).map_err(|reason| {
                    let what = format!("{} describes no machine: {reason}", path.display());
                    Refused::new(what, "harness/README.md lists the keys")
                })?
            }
            None => Setup::default(),
        };
        setup.fixture = self.fixture.clone().or(setup.fixture);
        setup.topology = self.topology.clone().or(setup.topology);
        setup.serves.extend(self.serve.iter().cloned());
        setup.firmware = self.firmware.unwrap_or(setup.firmware);
        setup.memory = self.memory.or(setup.memory);
        setup.cpus = self.cpus.or(setup.cpus);
        if let Some(bus) = self.disk {
            setup.system_disk_mut().bus = bus;
        }
        if let Some(size) = self.disk_size {
            setup.system_disk_mut().size = Some(size);
        }
        setup.entry = self.entry.unwrap_or(setup.entry);
        if self.quick {
            setup.entry = Way::Direct;
        }
        Ok(setup)
    }
}

fn parse(text: &str) -> Result<Setup, String> {
    toml::from_str(text).map_err(|error| toml_mistake::in_file(&error))
}

/// The least memory with which a kernel and its initramfs start at all.
const LEAST_MEMORY: Size = Size::of_bytes(64 << 20);
/// The most that a guest is given; QEMU's boards have room for more.
const MOST_MEMORY: Size = Size::of_bytes(1 << 40);
/// The most processors of a guest; QEMU's board pc has 255.
const MOST_CPUS: u32 = 64;
const LEAST_DISK: Size = Size::of_bytes(64 << 20);
/// The largest disk: images grow as they are written.
const MOST_DISK: Size = Size::of_bytes(16 << 40);

/// Refuses a machine of a size that no machine has.
fn check_size(setup: &Setup, payload: &Description, fixture: &Fixture) -> Result<(), Refused> {
    let between = |what: &str, size: Size, least: Size, most: Size, hint: &str| {
        if size >= least && size <= most {
            return Ok(());
        }
        let reason = format!("{what} of {size} is not between {least} and {most}");
        Err(Refused::new(reason, hint))
    };
    let hint = "write the unit too, such as 512M or 2G";
    if let Some(memory) = setup.memory {
        between("a memory", memory, LEAST_MEMORY, MOST_MEMORY, hint)?;
    }
    if let Some(memory) = payload.settings.memory {
        let hint = "in payload.toml, write the unit too, such as memory = \"512M\"";
        let what = "what the payload needs, a memory";
        between(what, Size::of_bytes(memory), LEAST_MEMORY, MOST_MEMORY, hint)?;
    }
    for size in setup.disks.iter().filter_map(|disk| disk.size) {
        between("a disk", size, LEAST_DISK, MOST_DISK, hint)?;
    }
    let (size, old) = (setup.system_disk().size, fixture.description.disk_size);
    if let Some(size) = size.filter(|size| *size < old && setup.entry != Way::Direct) {
        let reason = format!("a disk of {size} cannot hold the fixture, whose disk has {old}");
        return Err(Refused::new(reason, format!("name {old} or more, or use --quick")));
    }
    match setup.cpus {
        Some(cpus) if cpus == 0 || cpus > MOST_CPUS => {
            let reason = format!("{cpus} processors are not between 1 and {MOST_CPUS}");
            Err(Refused::new(reason, "name as many as the machine has"))
        }
        _ => Ok(()),
    }
}

/// Describes a machine in a few words, for lists of results.
pub(super) fn describe(setup: &Setup, fixture: &Fixture) -> String {
    let way = match setup.entry {
        Way::Direct => "directly",
        Way::Jump => "",
        Way::Kexec => "by kexec",
        Way::Bootloader => "by boot loader",
    };
    let mut words = vec![fixture.name.clone(), name(setup.firmware), name(setup.system_disk().bus)];
    words.extend(setup.topology.clone());
    words.push(way.to_owned());
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// Refuses a machine that cannot exist, or that the fixture's kernel lacks drivers for.
pub(super) fn check(setup: &Setup, payload: &Description, fixture: &Fixture) -> anyhow::Result<()> {
    check_size(setup, payload, fixture)?;
    let refuse = |reason: String, hint: String| Err(Refused::new(reason, hint).into());
    if let Some(reason) = Fault::check_all(&setup.faults).err() {
        return refuse(reason, "harness/README.md lists the faults".to_owned());
    }
    if let Some(name) = &setup.topology {
        match Topology::read(fixture.home(), name) {
            Ok(topology) if topology.cards < 2 && setup.card_order != CardOrder::Kept => {
                let reason = format!("the topology {name} has one network card, so no order");
                return refuse(reason, "leave card-order out, or use two-links".to_owned());
            }
            Ok(_) => {}
            Err(error @ TopologyError::Unknown { .. }) => {
                return refuse(error.to_string(), "fixtures/README.md describes them".to_owned());
            }
            Err(error) => return Err(error.into()),
        }
        if setup.entry == Way::Direct {
            let reason = "without an old system, nothing has the network of a provider".to_owned();
            return refuse(reason, "leave topology or entry = \"direct\" out".to_owned());
        }
    }
    if let Some(reason) = not_served(setup, fixture.home()) {
        return refuse(reason, "fixtures/README.md describes them".to_owned());
    }
    if setup.topology.is_none() && setup.card_order != CardOrder::Kept {
        let reason = "without a topology, there is one network card, so no order".to_owned();
        return refuse(reason, "leave card-order out, or add topology = \"two-links\"".to_owned());
    }
    let late_card = setup.card_order.is_late();
    if late_card && setup.chipset() != Chipset::Pc {
        let reason = "network cards are plugged in late on the board pc alone".to_owned();
        return refuse(reason, "use chipset = \"pc\"".to_owned());
    }
    let (known, system) = (&fixture.description.buses, setup.system_disk());
    if let Some(disk) = setup.disks.iter().find(|disk| !known.contains(&disk.bus)) {
        let names: Vec<_> = known.iter().map(|bus| name(*bus)).collect();
        let reason = format!("fixture {} finds no disk on {}", fixture.name, name(disk.bus));
        return refuse(reason, format!("use {}", names.join(" or ")));
    }
    if setup.firmware == Firmware::UefiSecure && setup.chipset() == Chipset::Pc {
        let reason = "the board pc cannot protect the keys of secure boot".to_owned();
        return refuse(reason, "use chipset = \"q35\"".to_owned());
    }
    if setup.rehearse && setup.entry == Way::Direct {
        let reason = "without an old system there is nothing to come back to".to_owned();
        return refuse(reason, "use rehearse with another entry".to_owned());
    }
    if system.sector == Sector::Bytes512 {
        return Ok(());
    }
    // The partition table of an image counts in sectors, so it only fits one size of them.
    if setup.entry != Way::Direct {
        let reason = format!("the disk of fixture {} has sectors of 512 bytes", fixture.name);
        return refuse(reason, "use entry = \"direct\" with sectors of 4096 bytes".to_owned());
    }
    if setup.firmware == Firmware::Bios {
        let reason = "a BIOS boots no disk with sectors of 4096 bytes".to_owned();
        return refuse(reason, "use firmware = \"uefi\"".to_owned());
    }
    Ok(())
}

fn not_served(setup: &Setup, fixtures: &Path) -> Option<String> {
    let known = served::names(fixtures);
    let name = setup.serves.iter().find(|name| !known.contains(name))?;
    Some(format!("the server has no folder {name}; there are: {}", known.join(", ")))
}

/// Prepares the router of the topology, if there is one.
pub(super) async fn provider(
    host: &Host,
    (setup, twin): (&Setup, Option<&Twin>),
    fixture: &Fixture,
    evidence: &Path,
) -> anyhow::Result<Option<Provider>> {
    let topology = match (&setup.topology, twin.and_then(|twin| twin.topology.clone())) {
        (Some(name), _) => Topology::read(fixture.home(), name)?,
        (None, Some(topology)) => topology,
        (None, None) => return Ok(None),
    };
    let image = router::ensure(host, fixture.home(), &evidence.join("router")).await;
    let image = image.map_err(|error| Broken(format!("building the router: {error:#}")))?;
    Ok(Some(Provider { topology, image }))
}

/// Prepares what the server offers to guests, or returns a verdict if that is not available here.
pub(super) async fn served(
    host: &Host,
    setup: &Setup,
    fixture: &Fixture,
    evidence: &Path,
) -> anyhow::Result<Result<Vec<Served>, Verdict>> {
    let mut ready = Vec::new();
    for name in &setup.serves {
        match served::ensure(host, fixture.home(), name, &evidence.join("served")).await {
            Ok(one) => ready.push(one),
            Err(BuildError::Unavailable { name, tail }) => {
                let reason = format!("{name}, which the guest is served, cannot be had here");
                let lines = tail.lines().map(str::to_owned).collect();
                return Ok(Err(Verdict::broken(Class::NotServed, reason, lines)));
            }
            Err(error) => return Err(Broken(format!("building {name}: {error:#}")).into()),
        }
    }
    Ok(Ok(ready))
}

/// Decides what neither the file nor the command line has decided.
pub(super) fn complete(setup: &mut Setup, payload: &Description, fixture: &Fixture) {
    let needed = Size::of_bytes(payload.settings.memory.unwrap_or(0));
    setup.memory.get_or_insert(fixture.description.memory.max(needed));
}

/// Takes one of some words, and parses it.
fn one_of<T: Clone + Send + Sync + 'static>(
    words: &[&'static str],
    parse: fn(&str) -> Result<T, String>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(words.iter().copied()).try_map(move |word| parse(&word))
}

/// Parses a method as `anemos deploy` names it.
fn entry(text: &str) -> Result<Way, String> {
    match text {
        "auto" => Ok(Way::Jump),
        "kexec" => Ok(Way::Kexec),
        "bootloader" => Ok(Way::Bootloader),
        _ => Err("use auto, kexec or bootloader".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use contract::payload::{Compression, Kind, Settings};

    use super::*;

    /// Returns a payload that needs this much memory.
    fn payload(memory: Option<u64>) -> Description {
        Description {
            compression: Compression::Gzip,
            kind: Kind::Image,
            top: None,
            members: 1,
            unpacked: 1,
            settings: Settings { memory, ..Settings::default() },
            environment: std::collections::BTreeMap::new(),
            sha256: String::new(),
            size: 1,
        }
    }

    #[test]
    fn sizes_that_no_machine_has_are_refused_with_the_limits() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("f");
        std::fs::create_dir(&own).unwrap();
        let text = "identity = 'f'\nbuild = 'build'\ninputs = []\ndisk-size = '4G'\n";
        std::fs::write(own.join("fixture.toml"), text).unwrap();
        let fixture = Fixture::read(folder.path(), "f").unwrap();
        for (text, needed, want) in [
            ("memory = '64M'\ncpus = 64\n[[disk]]\nsize = '4G'", Some(64 << 20), None),
            ("memory = '1k'", None, Some("a memory of 1K is not between 64M and 1T")),
            ("memory = '2T'", None, Some("a memory of 2T is not between 64M and 1T")),
            ("cpus = 0", None, Some("0 processors are not between 1 and 64")),
            ("cpus = 500", None, Some("500 processors are not between 1 and 64")),
            (
                "",
                Some(512),
                Some("what the payload needs, a memory of 512 is not between 64M and 1T"),
            ),
            ("[[disk]]\nsize = '4K'", None, Some("a disk of 4K is not between 64M and 16T")),
            (
                "[[disk]]\nsize = '1G'",
                None,
                Some("a disk of 1G cannot hold the fixture, whose disk has 4G"),
            ),
            ("entry = 'direct'\n[[disk]]\nsize = '1G'", None, None),
        ] {
            let found = check_size(&parse(text).unwrap(), &payload(needed), &fixture);
            let found = found.map_err(|error| error.to_string());
            assert_eq!(found.err().as_deref(), want, "{text}");
        }
    }

    #[test]
    fn machines_that_cannot_be_are_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("f");
        std::fs::create_dir(&own).unwrap();
        std::fs::create_dir_all(folder.path().join("served/m")).unwrap();
        let topologies = folder.path().join("topologies");
        std::fs::create_dir(&topologies).unwrap();
        let text = "about = 'a'\naddresses = ['192.0.2.1']\nrouter = 'r'\nmachine = 'm'\n";
        std::fs::write(topologies.join("t.toml"), text).unwrap();
        let text = "identity = 'f'\nbuild = 'build'\ninputs = []\nbuses = ['virtio-blk', 'nvme']\n";
        std::fs::write(own.join("fixture.toml"), text).unwrap();
        let fixture = Fixture::read(folder.path(), "f").unwrap();
        for (text, want) in [
            ("[[disk]]\nbus = 'nvme'", None),
            ("[[disk]]\n[[disk]]\nbus = 'sata'", Some("fixture f finds no disk on sata")),
            (
                "firmware = 'uefi-secure'\nchipset = 'pc'",
                Some("the board pc cannot protect the keys of secure boot"),
            ),
            (
                "rehearse = true\nentry = 'direct'",
                Some("without an old system there is nothing to come back to"),
            ),
            ("[[disk]]\nsector = 4096", Some("the disk of fixture f has sectors of 512 bytes")),
            (
                "entry = 'direct'\n[[disk]]\nsector = 4096",
                Some("a BIOS boots no disk with sectors of 4096 bytes"),
            ),
            ("entry = 'direct'\nfirmware = 'uefi'\n[[disk]]\nsector = 4096", None),
            ("topology = 't'", None),
            ("serves = ['m']", None),
            ("serves = ['m', 'n']", Some("the server has no folder n; there are: m")),
            ("topology = 'u'", Some("there is no topology u; there are: t")),
            (
                "topology = 't'\ncard-order = 'late'",
                Some("the topology t has one network card, so no order"),
            ),
            (
                "card-order = 'swapped'",
                Some("without a topology, there is one network card, so no order"),
            ),
            (
                "topology = 't'\nentry = 'direct'",
                Some("without an old system, nothing has the network of a provider"),
            ),
        ] {
            let said = check(&parse(text).unwrap(), &payload(None), &fixture);
            let said = said.map_err(|error| error.to_string());
            assert_eq!(said.err().as_deref(), want, "{text}");
        }
    }
}
