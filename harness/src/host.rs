//! Everything that the guests of a run share: accelerator, limits, progress, the finished `anemos`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::accelerator::{self, Proof};
use crate::budget::{Budget, SpeedFactor};
use crate::command::{Command, CommandError, quote};
use crate::fault::{Fault, Kind};
use crate::machine::{Accelerator, Board, Forward, Machine, Network};
use crate::progress::Progress;
use crate::server::{Manners, Served};
use crate::topology::MACS;

pub mod interrupt;
pub(crate) mod lock;
pub mod workspace;

/// How old systems start.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Start {
    /// From a guest that was kept at its prompt, if there is one that fits.
    #[default]
    Warm,
    /// From its disk.
    Cold,
}

/// The computer that runs QEMU, as far as a run needs to know it.
#[derive(Debug)]
pub struct Host {
    /// The program under test, as a user has it.
    pub anemos: PathBuf,
    /// Where fixtures and runs are kept.
    pub cache: PathBuf,
    /// How old systems start.
    pub start: Start,
    /// Processors of a guest.
    pub cpus: u32,
    /// What runs a guest's instructions, with the reason.
    pub proof: Proof,
    /// How slow guests are.
    pub factor: SpeedFactor,
    /// Where steps are shown.
    pub progress: Progress,
    /// When everything must be over.
    pub deadline: Option<Instant>,
    /// What the server offers to guests beside the payload.
    pub served: Vec<Served>,
    /// When the run began; times of observations count from here.
    pub began: Instant,
}

impl Host {
    /// Finds out what runs guests, and how fast, with the host's own kernel if it can be read.
    pub async fn prove(anemos: &Path, cache: &Path, progress: Progress) -> Self {
        let kernel = accelerator::host_kernel();
        let proof = accelerator::prove(&cache.join("accelerator.json"), kernel.as_deref()).await;
        let factor = match proof.accelerator {
            Accelerator::Kvm => SpeedFactor::REAL,
            Accelerator::Tcg => SpeedFactor::EMULATED,
        };
        progress.note(&format!("guests run by {}: {}", proof.accelerator.name(), proof.evidence));
        let (anemos, cache) = (anemos.to_owned(), cache.to_owned());
        let began = Instant::now();
        let (start, deadline, served) = (Start::Warm, None, Vec::new());
        Self { anemos, cache, start, cpus: 2, proof, factor, progress, deadline, served, began }
    }

    /// Finds out whether KVM also boots the fixture's kernel, and how slow guests are with it.
    pub async fn measure(&mut self, kernel: &Path) {
        if self.proof.accelerator == Accelerator::Kvm {
            let memory = self.cache.join("accelerator-fixture.json");
            self.proof = accelerator::prove(&memory, Some(kernel)).await;
            let Proof { accelerator, evidence } = &self.proof;
            self.progress.note(&format!("guests run by {}: {evidence}", accelerator.name()));
        }
        let file = self.cache.join("speed.json");
        self.factor = accelerator::measure(&file, self.proof.accelerator, Some(kernel)).await;
        self.progress.note(&format!("guests are {} times slower than real machines", self.factor));
    }

    /// Returns the seconds since the run began.
    pub fn at(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Returns a machine of this host with its network; `ports` of the guest become reachable.
    pub(crate) fn machine(&self, board: &Board, memory_mib: u32, ports: &[Forward]) -> Machine {
        let (mac, forwards) = (MACS[0].to_owned(), ports.to_vec());
        let network = Network::User { mac, forwards, server: None };
        let machine = Machine::new().accelerator(self.proof.accelerator).cpus(self.cpus);
        machine.board(board.clone()).memory_mib(memory_mib).network(network)
    }

    /// Returns the command of the server that gives a payload to a guest with these faults.
    pub(crate) fn server(&self, payload: &Path, faults: &[Fault]) -> String {
        let bad = faults.iter().find_map(|fault| match fault.kind {
            Kind::ServerStops => Some(Manners::Stops),
            Kind::ServerResumes => Some(Manners::Resumes),
            Kind::ServerLies => Some(Manners::Lies),
            _ => None,
        });
        let manners = bad.unwrap_or_default();
        let payload = std::path::absolute(payload).unwrap_or_else(|_| payload.to_owned());
        let words = [&self.anemos, &payload].map(|path| quote(&path.display().to_string()));
        let mut words = vec![words[0].clone(), "serve-guest".to_owned(), words[1].clone()];
        words.push(manners.name().to_owned());
        words.extend(self.served.iter().map(|served| quote(&served.word())));
        words.join(" ")
    }

    /// Returns limits in the time of real machines, extended for this one.
    ///
    /// A guest's own limits do not get longer: systemd waits 90 s for a device before it gives up,
    /// and nothing moves meanwhile.
    pub(crate) fn budget(&self, what: &str, cap_secs: u64, stall_secs: u64) -> Budget {
        let (cap, stall) = (Duration::from_secs(cap_secs), Duration::from_secs(stall_secs));
        let mut budget = Budget::new(what, cap, stall).scaled(self.factor);
        budget.stall = budget.stall.max(Duration::from_secs(110)).min(budget.cap);
        budget
    }

    /// Returns the time in which a booting machine says something on its serial console.
    ///
    /// A system without a serial console needs `--tcp`, or its screen, to be noticed.
    pub(crate) fn silence(&self) -> Duration {
        Duration::from_secs(6).mul_f64(self.factor.get()).max(Duration::from_secs(45))
    }

    /// Returns whether everything must be over.
    pub(crate) fn is_over(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Runs the program under test on this host to its end.
    pub(crate) async fn run_anemos(&self, arguments: &[&str]) -> Result<(), CommandError> {
        Command::new(&self.anemos).args(arguments).run().await.map(drop)
    }
}

/// Finds a free port of the host's loopback that leads to a port of the guest.
///
/// It is free at this moment; if another program takes it meanwhile, QEMU says so and ends.
pub(crate) fn forward(guest_port: u16) -> std::io::Result<Forward> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
    Ok(Forward { host_port: listener.local_addr()?.port(), guest_port })
}
