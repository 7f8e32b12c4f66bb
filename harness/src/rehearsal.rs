//! Rehearses the deployment of a payload on a simulated VPS and says what came of it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::chain::{Aim, End, Timed};
use crate::classify::Class;
use crate::drive::direct::{self, Direct};
use crate::drive::error::DirectError;
use crate::drive::outside::{self, Outside};
use crate::drive::router::Provider;
use crate::evidence::Evidence;
use crate::fault::{Kind, Struck};
use crate::fixture::cache::Ready;
use crate::host::Host;
use crate::host::workspace::Workspace;
use crate::image;
use crate::machine::setup::{Sector, Setup, Way};
use crate::residue;
use crate::size::Size;
use crate::ssh;
use crate::verdict::{Boots, Ending, PowerCut, Verdict};
use crate::write_log::{Flush, WriteLog};

mod aftermath;
pub(crate) mod fresh;
mod hardware;
pub mod judge;
pub(crate) mod jump;
mod old_system;
mod power;
mod rehearsed;
pub(crate) mod saved;

use fresh::{NEW_SYSTEM, NEW_SYSTEM_AGAIN};
use hardware::{Hardware, Recording};
use jump::Jump;
use power::Rebuilt;

/// Longest time that the new system must hold, in seconds.
const LONGEST_HOLD: f64 = 20.0;

/// Where the facts of the old system are kept, in the folder of the evidence.
pub const FACTS: &str = "old-system/facts.json";

/// What is rehearsed, on what machine.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The payload, packed.
    pub payload: PathBuf,
    /// Configuration for `anemos deploy`.
    pub config: Option<PathBuf>,
    /// The simulated VPS.
    pub fixture: Ready,
    /// The network of its provider; none: QEMU's own.
    pub provider: Option<Provider>,
    /// Whether the facts of the old system are kept with the evidence.
    pub keep_facts: bool,
    /// The machine; what it leaves open is as the fixture has it.
    pub setup: Setup,
    /// What must be seen on the console of the new system.
    pub expect: Option<Regex>,
    /// Port that the new system must accept connections on.
    pub tcp: Option<u16>,
    /// Command line that the new system must run for who logs in with the key of the old one, by SSH
    /// at that port.
    pub ask: Option<String>,
    /// Whether the new system must turn off by its power button, and boot and pass once more.
    pub again: bool,
    /// Whether a control run tells whose fault a failure is.
    pub control: Control,
    /// What becomes of the disks.
    pub disks: Disks,
    /// After how many power cuts it is looked what boots, once the rehearsal has passed.
    pub power_cuts: usize,
}

impl Rehearsal {
    fn cuts_power(&self) -> bool {
        self.setup.faults.iter().any(|fault| fault.kind == Kind::PowerCut)
    }

    fn recording(&self) -> Recording {
        let wanted = self.cuts_power() || self.power_cuts > 0 || self.setup.rehearse;
        if wanted { Recording::Writes } else { Recording::Nothing }
    }
}

/// Whether a control run tells whose fault a failure is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control {
    /// It does, where the payload may be to blame.
    Run,
    /// Nobody asks.
    Spare,
}

/// What becomes of the disks after a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disks {
    /// They are removed.
    Remove,
    /// They are kept with the evidence.
    Keep,
}

/// One run, and what is kept during it.
struct Run<'a> {
    host: &'a Host,
    rehearsal: &'a Rehearsal,
    workspace: Workspace,
    hardware: Hardware,
    outside: Outside,
    evidence: &'a Evidence,
    times: Vec<Timed>,
    /// How long the log of writes was at the jump.
    log_at_jump: u64,
    /// How far the machine had come when the first fault struck.
    struck: Option<Struck>,
}

/// Rehearses, and leaves verdict and times in the evidence folder.
pub async fn rehearse(
    host: &Host,
    rehearsal: &Rehearsal,
    evidence: &Evidence,
) -> Result<(Verdict, Vec<Timed>), DirectError> {
    let workspace = Workspace::create(&host.cache.join("runs"));
    let workspace = workspace.map_err(DirectError::file("making a folder for the run"))?;
    let hardware = Hardware::new(&rehearsal.setup, rehearsal.recording(), &workspace)?;
    let mut run = Run {
        host,
        rehearsal,
        workspace,
        hardware,
        outside: Outside::Host,
        evidence,
        times: Vec::new(),
        log_at_jump: 0,
        struck: None,
    };
    let mut verdict = match run.start_router().await? {
        Some(verdict) => verdict,
        None => run.whole(rehearsal.setup.entry, evidence.folder()).await?,
    };
    if run.wants_control(&verdict) {
        run.blame(&mut verdict).await?;
    }
    let deployed = verdict.verdict == Ending::Passed && !rehearsal.setup.rehearse;
    if deployed {
        verdict.warnings = run.residue().await;
    }
    // Before power cuts are tried on them.
    run.keep_disks()?;
    if deployed && rehearsal.power_cuts > 0 {
        run.power_cuts(&mut verdict).await?;
    }
    run.outside.end(&mut verdict).await;
    verdict.added = run.hardware.added();
    verdict.struck.clone_from(&run.struck);
    host.progress.finish();
    evidence.verdict(&verdict).map_err(DirectError::file("writing verdict.json"))?;
    evidence.stages(&run.times).map_err(DirectError::file("writing stages.json"))?;
    Ok((verdict, run.times))
}

impl Run<'_> {
    /// Starts the router of the topology, if there is one; returns what came in the way.
    async fn start_router(&mut self) -> Result<Option<Verdict>, DirectError> {
        let Some(provider) = &self.rehearsal.provider else { return Ok(None) };
        let ports = std::iter::once(ssh::PORT).chain(self.rehearsal.tcp);
        let ports: Vec<_> = ports.collect::<BTreeSet<_>>().into_iter().collect();
        let server = self.host.server(&self.rehearsal.payload, &self.rehearsal.setup.faults);
        let folder = jump::part(self.evidence.folder(), "router")?;
        match Outside::start(self.host, provider, &ports, server, &folder).await? {
            Ok(outside) => self.outside = outside,
            Err(verdict) => return Ok(Some(verdict)),
        }
        Ok(None)
    }

    /// Deploys one way and judges the outcome; the witness has the last word.
    async fn whole(&mut self, way: Way, folder: &Path) -> Result<Verdict, DirectError> {
        let fixture = self.rehearsal.fixture.disk();
        let fixture =
            std::path::absolute(fixture).map_err(DirectError::file("finding the fixture"))?;
        let written = self.hardware.write_others(&fixture).await;
        written.map_err(DirectError::file("writing the other disks"))?;
        let verdict = match way {
            Way::Direct => self.quick(folder).await?,
            Way::Jump | Way::Kexec | Way::Bootloader => self.jump(folder).await?,
        };
        let written = self.hardware.written(&fixture).await;
        match written.map_err(DirectError::file("reading the other disks"))? {
            None => Ok(verdict),
            Some(reason) => {
                let mut written = Verdict::failed(Class::OtherDiskWritten, reason, Vec::new());
                written.evidence.push(format!("otherwise: {}", verdict.reason));
                Ok(written)
            }
        }
    }

    async fn jump(&mut self, folder: &Path) -> Result<Verdict, DirectError> {
        let disk = self.workspace.join("disk.qcow2");
        let fixture = &self.rehearsal.fixture;
        let known_hosts = self.workspace.join("known_hosts");
        let jump = Jump {
            fixture,
            payload: &self.rehearsal.payload,
            config: self.rehearsal.config.as_deref(),
            board: self.hardware.deploy_board(),
            memory_mib: self.memory_mib(),
            faults: &self.rehearsal.setup.faults,
            outside: &self.outside,
            keep_facts: self.rehearsal.keep_facts,
            slots: outside::slots_at_first(self.rehearsal.setup.card_order),
            way: self.rehearsal.setup.entry,
            aim: if self.rehearsal.setup.rehearse { Aim::Rehearsal } else { Aim::Deployment },
            prepare: self.rehearsal.setup.prepare.as_deref(),
            rescue: self.rehearsal.setup.rescue.as_deref(),
            disks: self.hardware.disks(&disk),
            disk: &disk,
            disk_size: self.disk_size(),
            known_hosts: &known_hosts,
        };
        let jumped = jump::deploy(self.host, &jump, &jump::part(folder, "old-system")?).await?;
        self.times.extend(jumped.times);
        self.log_at_jump = jumped.log_at_jump;
        self.struck = jumped.struck;
        self.after(jumped.end, jumped.old_root, &disk, folder).await
    }

    async fn quick(&mut self, folder: &Path) -> Result<Verdict, DirectError> {
        let disk = self.workspace.join("quick.qcow2");
        // A control run may follow a rehearsal in the same folder.
        drop(fs::remove_file(&disk));
        if let Err(error) = image::create(&disk, self.disk_size()).await {
            return Ok(Verdict::broken(Class::FixtureFailed, error.to_string(), Vec::new()));
        }
        let fixture = &self.rehearsal.fixture;
        let Some(modules) = fixture.modules() else {
            let reason = "the fixture has no modules";
            return Ok(Verdict::broken(Class::FixtureFailed, reason, Vec::new()));
        };
        let (kernel, keys) = (fixture.kernel(), fixture.folder.join("key.pub"));
        let direct = Direct {
            payload: &self.rehearsal.payload,
            config: self.rehearsal.config.as_deref(),
            kernel: &kernel,
            modules: &modules,
            authorized_keys: Some(&keys),
            serial: hardware::SERIAL,
            board: self.hardware.deploy_board(),
            memory_mib: self.memory_mib(),
            outside: &self.outside,
            faults: &self.rehearsal.setup.faults,
            disks: self.hardware.disks(&disk),
            work: self.workspace.folder().to_owned(),
        };
        let folder_of_deploy = jump::part(folder, "deploy")?;
        let (end, times) = direct::deploy(self.host, &direct, &folder_of_deploy).await?;
        self.times.extend(times);
        self.after(end, None, &disk, folder).await
    }

    /// What follows the deploy environment: a fresh guest with only the disks.
    async fn after(
        &mut self,
        end: End,
        old_root: Option<String>,
        disk: &Path,
        folder: &Path,
    ) -> Result<Verdict, DirectError> {
        match end {
            End::Failed(verdict) => Ok(verdict),
            End::Deployed => {
                let start = self.host.at();
                let wanted = self.wanted(old_root);
                let mut verdict = self.fresh(NEW_SYSTEM, wanted.clone(), disk, folder).await?;
                if self.rehearsal.again && verdict.verdict == Ending::Passed {
                    verdict = self.fresh(NEW_SYSTEM_AGAIN, wanted, disk, folder).await?;
                }
                verdict.outcome = Some("deployed".to_owned());
                self.timed("judge new system", start);
                Ok(verdict)
            }
            End::Returned(verdict) if self.rehearsal.setup.entry == Way::Direct => Ok(verdict),
            End::Returned(verdict)
                if verdict.class == Some(Class::Cut) && self.rehearsal.cuts_power() =>
            {
                let cut =
                    self.cut_power(disk).await.map_err(DirectError::file("rebuilding the disk"))?;
                let mut verdict = verdict;
                verdict.evidence.extend(cut);
                self.returned(verdict, disk, folder).await
            }
            End::Returned(verdict) if self.rehearsal.setup.rehearse => {
                self.rehearsed(verdict, disk, folder).await
            }
            End::Returned(verdict) => self.returned(verdict, disk, folder).await,
        }
    }

    /// Looks at what is left on the disk that should not be; what cannot be told is one warning.
    async fn residue(&self) -> Vec<String> {
        if self.rehearsal.setup.system_disk().sector != Sector::Bytes512 {
            return Vec::new();
        }
        let work = self.workspace.folder();
        let looked = async {
            let after = residue::Disk::read(&self.disk(), work).await?;
            let before = match self.rehearsal.setup.entry {
                Way::Direct => residue::Disk::default(),
                _ => residue::Disk::read(&self.rehearsal.fixture.disk(), work).await?,
            };
            Ok::<_, io::Error>(residue::warnings(&before, &after))
        };
        looked.await.unwrap_or_else(|error| vec![format!("the disk was not looked at: {error}")])
    }

    /// The disk with the system.
    fn disk(&self) -> PathBuf {
        let direct = self.rehearsal.setup.entry == Way::Direct;
        self.workspace.join(if direct { "quick.qcow2" } else { "disk.qcow2" })
    }

    /// Takes from the disk what it had not been told to keep when the power failed; tells of it.
    async fn cut_power(&self, disk: &Path) -> io::Result<Option<String>> {
        let Some((mut rebuilt, flushes)) = self.rebuilt(disk).await? else { return Ok(None) };
        let Some(last) = flushes.last() else { return Ok(None) };
        rebuilt.put(last.at, disk).await?;
        let (number, written) = (flushes.len() - 1, Size::of_bytes(last.written));
        Ok(Some(format!("the disk is as of its flush {number} since the jump, {written} written")))
    }

    async fn rebuilt(&self, disk: &Path) -> io::Result<Option<(Rebuilt, Vec<Flush>)>> {
        let Some(log) = self.hardware.log() else { return Ok(None) };
        let flushes = WriteLog::open(log)?.flushes(self.log_at_jump)?;
        let rebuilt = Rebuilt::new(disk, log, self.workspace.join("rebuilt.raw")).await?;
        Ok(Some((rebuilt, flushes)))
    }

    /// Looks what boots after power cuts in the run that has just passed.
    async fn power_cuts(&mut self, verdict: &mut Verdict) -> Result<(), DirectError> {
        let direct = self.rehearsal.setup.entry == Way::Direct;
        let disk = self.disk();
        let found = self.rebuilt(&disk).await.map_err(DirectError::file("rebuilding the disk"))?;
        let Some((mut rebuilt, flushes)) = found else { return Ok(()) };
        for (number, flush) in power::choose(&flushes, self.rehearsal.power_cuts) {
            rebuilt.put(flush.at, &disk).await.map_err(DirectError::file("rebuilding the disk"))?;
            let folder = jump::part(self.evidence.folder(), &format!("power-cut-{number}"))?;
            // Not by its root: only its own words show that the old system boots.
            let judged = self.fresh(NEW_SYSTEM, self.wanted(None), &disk, &folder).await?;
            let cut = PowerCut::new(number, flush.written, &judged);
            let (written, boots) = (Size::of_bytes(cut.written), cut.boots.name());
            let note = format!("power cut at flush {number} ({written} written): boots {boots}");
            self.host.progress.note(&note);
            verdict.power_cuts.push(cut);
        }
        let before = if direct { Boots::Nothing } else { Boots::OldSystem };
        if let Some(complaint) = power::complaint(&verdict.power_cuts, before) {
            (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::Cut));
            verdict.reason = complaint;
        }
        Ok(())
    }

    /// Memory of the machine.
    fn memory_mib(&self) -> u32 {
        let memory = self.rehearsal.setup.memory;
        memory.unwrap_or(self.rehearsal.fixture.description.memory).mib()
    }

    /// Size of the disk with the system in bytes, at least that of the fixture's.
    fn disk_size(&self) -> u64 {
        let size = self.rehearsal.setup.system_disk().size;
        size.unwrap_or(self.rehearsal.fixture.description.disk_size).bytes()
    }

    fn wants_control(&self, verdict: &Verdict) -> bool {
        let may_be = verdict.class.is_some_and(Class::may_be_the_payload);
        let setup = &self.rehearsal.setup;
        let alone = setup.entry == Way::Direct || setup.rehearse;
        let asked = self.rehearsal.control == Control::Run && !alone;
        may_be && asked && !self.host.is_over()
    }

    /// Runs the payload alone; the times of that are no part of the rehearsal's.
    async fn blame(&mut self, verdict: &mut Verdict) -> Result<(), DirectError> {
        self.host.progress.note("it failed; a control run tells whose fault it is");
        let times = self.times.clone();
        let folder = jump::part(self.evidence.folder(), "control")?;
        // No old system would tell it of a network that is not QEMU's own.
        let outside = std::mem::replace(&mut self.outside, Outside::Host);
        let control = self.whole(Way::Direct, &folder).await;
        self.outside = outside;
        let control = control?;
        self.times = times;
        if self.host.is_over() {
            verdict.evidence.push("control run: there was no time left for it".to_owned());
            return Ok(());
        }
        verdict.blame = control.blame_by_control();
        verdict.evidence.push(format!("control run: {}: {}", control.verdict, control.reason));
        Ok(())
    }

    fn timed(&mut self, name: &str, start: f64) {
        let seconds = self.host.at() - start;
        self.times.push(Timed { name: name.to_owned(), start, seconds });
    }

    fn keep_disks(&self) -> Result<(), DirectError> {
        if self.rehearsal.disks == Disks::Remove {
            return Ok(());
        }
        for name in ["disk.qcow2", "quick.qcow2", "witness.raw"] {
            let (from, to) = (self.workspace.join(name), self.evidence.folder().join(name));
            if from.exists() {
                fs::copy(from, to).map_err(DirectError::file("keeping a disk"))?;
            }
        }
        Ok(())
    }
}
