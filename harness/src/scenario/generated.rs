//! Machines that nobody thought of: drawn from a seed, then made smaller while they still fail.

use std::io;
use std::path::{Path, PathBuf};

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use super::Scenario;
use super::expect::{Came, Expect};
use super::run::Runner;
use crate::classify::Class;
use crate::fault::{Fault, Kind, Moment};
use crate::fixture::Description;
use crate::machine::setup::{Bus, CpuLevel, DiskOrder, DiskSetup, Firmware, Sector, Setup, Way};
use crate::size::Size;
use crate::verdict::Ending;

/// What must be true of every machine.
const CLAIM: &str = "Whatever the machine is like and befalls it, the payload boots on it, is \
                     refused, or fails as what befell it explains.";

/// Disks of a machine that is drawn, at most.
const DISKS: usize = 3;
/// What may befall a machine that is drawn.
const FAULTS: [Kind; 9] = [
    Kind::SlowDisk,
    Kind::PacketLoss,
    Kind::LinkDown,
    Kind::ReadError,
    Kind::WriteError,
    Kind::FlushError,
    Kind::DiskFull,
    Kind::Reset,
    Kind::PowerCut,
];

/// Sectors that disks have: large ones are refused with a BIOS, and that needs only few machines.
const SECTORS: [Sector; 4] =
    [Sector::Bytes512, Sector::Bytes512, Sector::Bytes512, Sector::Bytes4096];

/// Draws machines, one after the other, the same ones from the same seed.
#[derive(Debug)]
pub struct Drawn {
    random: ChaCha8Rng,
    fixture: String,
    buses: Vec<Bus>,
}

/// A machine as the choices that led to it: the lower a choice, the simpler the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    fixture: String,
    buses: Vec<Bus>,
    /// Each below its entry of [`Self::limits`].
    chosen: Vec<u64>,
}

impl Drawn {
    /// Machines that the kernel of a fixture has drivers for.
    pub fn new(seed: u64, fixture: &str, description: &Description) -> Self {
        let random = ChaCha8Rng::seed_from_u64(seed);
        Self { random, fixture: fixture.to_owned(), buses: description.buses.clone() }
    }

    /// Draws the next one.
    pub fn draw(&mut self) -> Choices {
        let (fixture, buses) = (self.fixture.clone(), self.buses.clone());
        let mut choices = Choices { fixture, buses, chosen: Vec::new() };
        choices.chosen =
            choices.limits().iter().map(|limit| self.random.random_range(0..*limit)).collect();
        choices
    }
}

impl Choices {
    /// How many ways there are for each choice, in the order in which [`Self::machine`] takes them.
    fn limits(&self) -> Vec<u64> {
        let count = |number: usize| number as u64;
        // Firmware, level of the processor, processors, memory, order of the disks, disks; for each
        // disk its bus, sector and size; faults, which, and when.
        let disk = [count(self.buses.len().max(1)), count(SECTORS.len()), 4];
        let disks = std::iter::repeat_n(disk, DISKS).flatten();
        let machine = [2, 2, 2, 8, 2, count(DISKS)].into_iter();
        machine.chain(disks).chain([2, count(FAULTS.len()), 1000]).collect()
    }

    /// The machine that these choices are.
    pub fn machine(&self) -> Setup {
        let mut chosen = self.chosen.iter().copied();
        let mut next = || chosen.next().unwrap_or_default();
        let firmware = [Firmware::Bios, Firmware::Uefi][index(next(), 2)];
        let cpu = [CpuLevel::V2, CpuLevel::Max][index(next(), 2)];
        let cpus = if next() == 0 { 1 } else { 2 };
        // In steps of 64 MiB, the usual machine first: less and more are both unusual.
        let memory = Size::of_bytes((1024 - 64 * next()) << 20);
        let disk_order = [DiskOrder::Kept, DiskOrder::Swapped][index(next(), 2)];
        let number = 1 + index(next(), DISKS);
        let mut disks: Vec<_> = (0..DISKS)
            .map(|_| DiskSetup {
                bus: self.buses.get(index(next(), self.buses.len())).copied().unwrap_or_default(),
                sector: SECTORS[index(next(), SECTORS.len())],
                size: Some(Size::of_bytes((4 + next()) << 30)),
                ..DiskSetup::default()
            })
            .collect();
        disks.truncate(number);
        let (any, kind, seed) = (next(), next(), next());
        let fault = Fault { kind: FAULTS[index(kind, FAULTS.len())], at: Moment::Drawn(seed) };
        Setup {
            fixture: Some(self.fixture.clone()),
            firmware,
            cpu,
            cpus: Some(cpus),
            memory: Some(memory),
            entry: Way::Direct,
            disk_order,
            disks,
            faults: if any == 0 { Vec::new() } else { vec![fault] },
            ..Setup::default()
        }
    }

    /// Simpler ones: each choice as low as can be, then half as high, then one lower.
    fn simpler(&self) -> impl Iterator<Item = Self> + use<> {
        let whole = self.clone();
        (0..self.chosen.len()).flat_map(move |at| {
            let was = whole.chosen[at];
            let mut lower = vec![0, was / 2, was.saturating_sub(1)];
            lower.dedup();
            lower.retain(|choice| *choice < was);
            let whole = whole.clone();
            lower.into_iter().map(move |choice| {
                let mut simpler = whole.clone();
                simpler.chosen[at] = choice;
                simpler
            })
        })
    }
}

/// A choice as an index of what there is to choose from.
fn index(choice: u64, count: usize) -> usize {
    usize::try_from(choice).unwrap_or_default().min(count.saturating_sub(1))
}

/// Whether a failure of this class is what a fault explains.
fn explains(fault: &Fault, class: Class) -> bool {
    match fault.kind {
        Kind::Reset | Kind::PowerCut => class == Class::Cut,
        kind if kind.fails_the_disk() => matches!(class, Class::Returned | Class::Rescue),
        // The network of the deploy environment is tried before anything is written.
        Kind::LinkDown => class == Class::Returned,
        _ => false,
    }
}

/// Returns the reason for which a machine must be refused, if it must be.
fn refusal(machine: &Setup) -> Option<&'static str> {
    let large = machine.system_disk().sector == Sector::Bytes4096;
    (large && machine.firmware == Firmware::Bios)
        .then_some("a BIOS boots no disk with sectors of 4096 bytes")
}

/// Returns why a run on a machine shows that the claim is not true.
///
/// A machine that must be refused is no other machine's excuse, and a fault that never struck proves
/// nothing.
pub fn contradiction(machine: &Setup, came: &Came) -> Option<String> {
    let error = || {
        let error = came.stderr.lines().rfind(|line| line.starts_with("error: "));
        error.unwrap_or("without a word").to_owned()
    };
    if let Some(reason) = refusal(machine) {
        let refused = came.exit == Some(3) && error() == format!("error: {reason}");
        return (!refused).then(|| format!("it had to be refused, because {reason}: {}", error()));
    }
    let Some(verdict) = &came.verdict else {
        return Some(format!("it ended with {:?}: {}", came.exit, error()));
    };
    let explained = |fault: &Fault| verdict.class.is_some_and(|class| explains(fault, class));
    let explained = verdict.verdict == Ending::Failed && machine.faults.iter().any(explained);
    if verdict.verdict != Ending::Passed && !explained {
        return Some(format!("{}: {}", verdict.verdict, verdict.reason));
    }
    let spared = !machine.faults.is_empty() && verdict.struck.is_none();
    spared.then(|| "its fault never struck".to_owned())
}

/// A machine that contradicts the claim, with the reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Contradiction {
    /// The smallest machine found.
    pub machine: Setup,
    /// How it contradicts the claim.
    pub reason: String,
    /// How many smaller machines were tried.
    pub tried: u32,
}

/// Looks for the smallest machine that still fails, trying at most `most` others.
pub async fn shrink(
    mut smallest: Choices,
    reason: String,
    most: u32,
    mut fails: impl AsyncFnMut(Setup) -> io::Result<Option<String>>,
) -> io::Result<Contradiction> {
    let mut found = Contradiction { machine: smallest.machine(), reason, tried: 0 };
    loop {
        let mut failing = None;
        for simpler in smallest.simpler() {
            let machine = simpler.machine();
            // A choice about a disk or a fault that is not there changes nothing.
            if machine == found.machine {
                continue;
            }
            if found.tried == most {
                return Ok(found);
            }
            found.tried += 1;
            if let Some(reason) = fails(machine.clone()).await? {
                (found.machine, found.reason) = (machine, reason);
                failing = Some(simpler);
                break;
            }
        }
        match failing {
            Some(simpler) => smallest = simpler,
            None => return Ok(found),
        }
    }
}

/// A generated machine as a scenario that runs with any other.
pub fn scenario(name: &str, payload: &Path, machine: Setup) -> Scenario {
    Scenario {
        claim: CLAIM.to_owned(),
        payload: Some(payload.to_owned()),
        overlay: None,
        tags: vec!["generated".to_owned()],
        machine,
        arguments: vec!["--no-control".to_owned()],
        twin: None,
        may_skip: None,
        config: None,
        expect: Expect::passed(),
        name: name.to_owned(),
        folder: PathBuf::new(),
    }
}

/// Renders the file that repeats it.
pub fn render(scenario: &Scenario, reason: &str, seed: u64) -> Result<String, toml::ser::Error> {
    let payload = scenario.payload.clone().unwrap_or_default();
    let payload = std::path::absolute(&payload).unwrap_or(payload);
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let machine = toml::Value::try_from(&scenario.machine)?;
    let machine = toml::Table::from_iter([("machine".to_owned(), machine)]);
    Ok(format!(
        "# Drawn with seed {seed}. Result: {reason}\nclaim = {claim}\n\
         tags = [\"generated\"]\npayload = {payload}\n\n[expect]\nexit = 0\n\
         verdict = \"passed\"\n\n{machine}",
        reason = reason.replace('\n', " "),
        claim = quoted(&scenario.claim),
        payload = quoted(&payload.display().to_string()),
        machine = toml::to_string(&machine)?
    ))
}

impl Runner {
    /// Runs a drawn machine; returns why it contradicts the claim, if it does.
    pub async fn contradicts(&self, scenario: &Scenario) -> io::Result<Option<String>> {
        let evidence = self.evidence.join(&scenario.name);
        let came = self.attempt(scenario, &evidence).await?;
        Ok(contradiction(&scenario.machine, &came))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Struck;
    use crate::verdict::Verdict;

    fn description() -> Description {
        toml::from_str(
            "identity = 'i'\nbuild = 'b'\ninputs = []\nbuses = ['virtio-blk', 'virtio-scsi']\n",
        )
        .unwrap()
    }

    fn draw(seed: u64, number: usize) -> Vec<Setup> {
        let mut drawn = Drawn::new(seed, "debian-12", &description());
        (0..number).map(|_| drawn.draw().machine()).collect()
    }

    #[test]
    fn a_seed_draws_the_same_machines_and_another_seed_others() {
        assert_eq!(draw(1, 5), draw(1, 5));
        assert_ne!(draw(1, 5), draw(2, 5));
    }

    #[test]
    fn every_kind_of_machine_is_drawn() {
        let drawn = draw(7, 200);
        let any = |what: fn(&Setup) -> bool| drawn.iter().any(what);
        assert!(any(|m| m.firmware == Firmware::Uefi) && any(|m| m.firmware == Firmware::Bios));
        assert!(any(|m| m.disks.len() == 3) && any(|m| m.disks.len() == 1));
        assert!(any(|m| m.system_disk().sector == Sector::Bytes4096));
        assert!(any(|m| m.disk_order == DiskOrder::Swapped));
        assert!(any(|m| !m.faults.is_empty()) && any(|m| m.faults.is_empty()));
        assert!(any(|m| m.memory < Some(Size::of_bytes(640 << 20))));
        assert!(drawn.iter().flat_map(|m| &m.disks).all(|disk| disk.bus != Bus::Nvme), "no driver");
    }

    #[test]
    fn a_run_contradicts_the_claim_unless_it_passes_or_is_refused_as_it_must_be() {
        let came = |exit, verdict: Option<Verdict>, error: &str| Came {
            exit: Some(exit),
            verdict,
            stderr: format!("{error}\n"),
            ..Came::default()
        };
        let failed = |class| Verdict::failed(class, "why", vec![]);
        let reason = "a BIOS boots no disk with sectors of 4096 bytes";
        let large = DiskSetup { sector: Sector::Bytes4096, ..DiskSetup::default() };
        let large = Setup { disks: vec![large], ..Setup::default() };
        let usual = Setup::default();
        for (machine, came, want) in [
            (&usual, came(0, Some(Verdict::passed("", vec![])), ""), None),
            (&large, came(3, None, &format!("error: {reason}")), None),
            (
                &large,
                came(3, None, "error: no"),
                Some(
                    "it had to be refused, because a BIOS boots no disk with sectors of 4096 bytes: error: no",
                ),
            ),
            (
                &large,
                came(0, Some(Verdict::passed("", vec![])), ""),
                Some(
                    "it had to be refused, because a BIOS boots no disk with sectors of 4096 bytes: without a word",
                ),
            ),
            (&usual, came(3, Some(failed(Class::Refused)), ""), Some("failed: why")),
            (&usual, came(3, None, "error: no"), Some("it ended with Some(3): error: no")),
            (&usual, came(1, Some(failed(Class::BootLoader)), ""), Some("failed: why")),
            (
                &usual,
                came(4, Some(Verdict::broken(Class::QemuDied, "x", vec![])), ""),
                Some("broken: x"),
            ),
        ] {
            assert_eq!(contradiction(machine, &came).as_deref(), want, "{came:?}");
        }
    }

    #[test]
    fn two_thirds_of_the_machines_are_run() {
        let drawn = draw(11, 600);
        let refused = drawn.iter().filter(|machine| refusal(machine).is_some()).count();
        assert!(refused > 0 && refused * 3 < drawn.len(), "{refused} of {}", drawn.len());
    }

    #[test]
    fn a_fault_explains_only_what_it_does() {
        let fault = Fault { kind: Kind::WriteError, at: Moment::Drawn(1) };
        let machine = Setup { faults: vec![fault], ..Setup::default() };
        let struck = Struck { at: 1.0, stage: None, written: 0 };
        let came = |class| {
            let mut verdict = Verdict::failed(class, "why", vec![]);
            verdict.struck = Some(struck.clone());
            Came { exit: Some(1), verdict: Some(verdict), ..Came::default() }
        };
        assert_eq!(contradiction(&machine, &came(Class::Rescue)), None);
        let spared = Verdict::passed("", vec![]);
        let spared = Came { exit: Some(0), verdict: Some(spared), ..Came::default() };
        assert_eq!(contradiction(&machine, &spared).as_deref(), Some("its fault never struck"));
        assert_eq!(
            contradiction(&Setup::default(), &came(Class::Rescue)).as_deref(),
            Some("failed: why")
        );
        assert_eq!(
            contradiction(&machine, &came(Class::OtherDiskWritten)).as_deref(),
            Some("failed: why")
        );
    }

    #[tokio::test]
    async fn what_fails_is_made_as_small_as_it_can_be() {
        // Fails with two disks or more, whatever else it is like.
        let fails = |machine: &Setup| machine.disks.len() >= 2;
        let mut drawn = Drawn::new(3, "debian-12", &description());
        let mut choices = drawn.draw();
        while !fails(&choices.machine()) {
            choices = drawn.draw();
        }
        let reason = |machine: &Setup| fails(machine).then(|| "two disks".to_owned());
        let found = shrink(choices, "first".into(), 100, async |machine| Ok(reason(&machine)));
        let found = found.await.unwrap();
        let usual = DiskSetup { size: Some(Size::of_bytes(4 << 30)), ..DiskSetup::default() };
        assert_eq!(found.machine.disks, [usual, usual]);
        assert_eq!(found.machine.firmware, Firmware::Bios);
        assert_eq!(found.machine.memory, Some(Size::of_bytes(1 << 30)));
        assert_eq!(found.reason, "two disks");
        assert!(found.tried < 40, "{}", found.tried);
    }

    #[test]
    fn a_scenario_file_of_it_is_read_back() {
        let machine = draw(5, 1).remove(0);
        let scenario = scenario("generated/1", Path::new("/payload"), machine);
        let text = render(&scenario, "failed:\nwhy", 5).unwrap();
        let read = Scenario::parse(&text).unwrap();
        assert_eq!(read.machine, scenario.machine, "{text}");
        assert_eq!((read.claim, read.payload), (scenario.claim, scenario.payload));
    }
}
