//! One run of a rehearsal, as every part of it needs it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use regex::Regex;

use super::hardware::{Hardware, Recording};
use super::questions::Ask;
use crate::chain::Timed;
use crate::drive::error::DirectError;
use crate::drive::outside::Outside;
use crate::drive::router::Provider;
use crate::evidence::Evidence;
use crate::fault::{Kind, Struck};
use crate::file::FileError;
use crate::fixture::cache::Ready;
use crate::host::Host;
use crate::host::workspace::Workspace;
use crate::machine::setup::{Setup, Way};
use crate::ssh;
use crate::verdict::Verdict;

/// A rehearsal, with the machine for it.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The payload, packed.
    pub payload: PathBuf,
    /// Configuration for `anemos deploy`.
    pub config: Option<PathBuf>,
    /// The simulated VPS.
    pub fixture: Ready,
    /// The network of its provider; by default QEMU's own.
    pub provider: Option<Provider>,
    /// Whether the facts of the old system are kept with the evidence.
    pub keep_facts: bool,
    /// The machine; what it does not name is as the fixture has it.
    pub setup: Setup,
    /// What must be seen on the console of the new system.
    pub expect: Option<Regex>,
    /// Port that the new system must accept connections on.
    pub tcp: Option<u16>,
    /// What the new system must execute by SSH, with the key of the old system.
    pub asks: Vec<Ask>,
    /// Whether a new system that does not answer by SSH as the old one did gets a warning.
    pub ssh_check: bool,
    /// Whether the new system must turn off by its power button, then boot and pass once more.
    pub again: bool,
    /// Whether a control run finds out whose fault a failure is.
    pub control: Control,
    /// What happens to the disks.
    pub disks: Disks,
    /// After how many power cuts to check what boots, once the rehearsal has passed.
    pub power_cuts: usize,
}

impl Rehearsal {
    /// Returns whether a fault is a power cut.
    pub(super) fn cuts_power(&self) -> bool {
        self.setup.faults.iter().any(|fault| fault.kind == Kind::PowerCut)
    }

    fn recording(&self) -> Recording {
        let wanted = self.cuts_power() || self.power_cuts > 0 || self.setup.rehearse;
        if wanted { Recording::Writes } else { Recording::Nothing }
    }
}

/// Whether a control run finds out whose fault a failure is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control {
    /// It does, if the payload may be to blame.
    Run,
    /// There is none.
    Spare,
}

/// What happens to the disks after a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Disks {
    /// They are removed.
    Remove,
    /// They are kept with the evidence.
    Keep,
}

/// One run, with everything that it needs.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) host: &'a Host,
    pub(super) rehearsal: &'a Rehearsal,
    pub(super) workspace: Workspace,
    pub(super) hardware: Hardware,
    pub(super) outside: Outside,
}

impl<'a> Run<'a> {
    /// Makes its folder, with the hardware for its guests.
    pub(super) fn new(host: &'a Host, rehearsal: &'a Rehearsal) -> Result<Self, DirectError> {
        let workspace = Workspace::create(&host.cache.join("runs"));
        let workspace = workspace.map_err(FileError::new("making a folder for the run"))?;
        let hardware = Hardware::new(&rehearsal.setup, rehearsal.recording(), &workspace)?;
        Ok(Self { host, rehearsal, workspace, hardware, outside: Outside::Host })
    }

    /// Starts the router of the topology, if there is one; returns what went wrong.
    pub(super) async fn start_router(
        &mut self,
        evidence: &Evidence,
    ) -> Result<Option<Verdict>, DirectError> {
        let Some(provider) = &self.rehearsal.provider else { return Ok(None) };
        let ports = std::iter::once(ssh::PORT).chain(self.rehearsal.tcp);
        let ports: Vec<_> = ports.collect::<BTreeSet<_>>().into_iter().collect();
        let server = self.host.server(&self.rehearsal.payload, &self.rehearsal.setup.faults);
        let part = evidence.part("router")?;
        match Outside::start(self.host, provider, &ports, server, part.folder()).await? {
            Ok(outside) => self.outside = outside,
            Err(verdict) => return Ok(Some(verdict)),
        }
        Ok(None)
    }

    /// Returns the disk with the system.
    pub(super) fn disk(&self) -> PathBuf {
        self.disk_of(self.rehearsal.setup.entry)
    }

    /// Returns the disk with the system if the deploy environment is entered this way.
    pub(super) fn disk_of(&self, way: Way) -> PathBuf {
        self.workspace.join(if way == Way::Direct { "quick.qcow2" } else { "disk.qcow2" })
    }

    /// Returns the file for the host keys of its guests.
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.workspace.join("known_hosts")
    }

    /// Returns the memory of the machine.
    pub(super) fn memory_mib(&self) -> u32 {
        let memory = self.rehearsal.setup.memory;
        memory.unwrap_or(self.rehearsal.fixture.description.memory).mib()
    }

    /// Returns the size of the disk with the system in bytes, at least that of the fixture's.
    pub(super) fn disk_size(&self) -> u64 {
        let size = self.rehearsal.setup.system_disk().size;
        size.unwrap_or(self.rehearsal.fixture.description.disk_size).bytes()
    }
}

/// Notes about what happened on the way.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub(super) times: Vec<Timed>,
    /// The length of the log of writes at the jump.
    pub(super) log_at_jump: u64,
    /// How far the machine had come when the first fault struck.
    pub(super) struck: Option<Struck>,
    pub(super) others: Others,
}

/// Whether the other disks were compared with what they held before the deployment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Others {
    #[default]
    NotCompared,
    Compared,
}

impl Notes {
    /// Notes what began at `start` and has just ended.
    pub(super) fn timed(&mut self, host: &Host, name: &str, start: f64) {
        let seconds = host.at() - start;
        self.times.push(Timed { name: name.to_owned(), start, seconds });
    }
}
