//! A running machine, with everything that its sensors report.

use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::OwnedWriteHalf;
use tokio::process::Child;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

use self::files::{Files, Transcript};
use self::process::Process;
use self::sampler::Sampler;
use self::sensors::Voice;
use crate::budget::{Budget, GaveUp, Watch};
use crate::classify;
use crate::command::CommandError;
use crate::file::FileError;
use crate::load;
use crate::machine::{Boot, Machine, MachineError};
use crate::qmp::Qmp;
use crate::screen::Screen;

mod capture;
mod event;
mod files;
mod lock_up;
mod loss;
mod process;
mod sampler;
mod saving;
mod sensors;
mod strike;

pub(crate) use self::process::run_folder;

/// How long each way of ending QEMU may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// An observation of one sensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Time since the guest was started.
    pub at: Duration,
    /// What was seen.
    pub what: What,
}

/// What sensors observe.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A finished, rendered line of the serial console; blank lines are left out.
    Line(String),
    /// The unfinished line of the serial console, such as a prompt; spaces at its end are kept.
    Pending(String),
    /// A line of the firmware's debug port.
    Firmware(String),
    /// The text screen, after it has changed.
    Screen(Screen),
    /// QEMU reports what happened to the machine.
    Event(Event),
    /// A disk was read or written.
    Disk(Traffic),
    /// The network carried packets: the size of the capture so far.
    Packets(u64),
    /// QEMU has ended; nothing follows.
    Ended(Ended),
}

/// What QEMU reports about a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The machine was reset.
    Reset,
    /// The machine wants to be off or, with reason `guest-reset`, to restart; it is stopped now.
    Shutdown {
        /// QEMU's word: `guest-reset`, `guest-shutdown`, `guest-panic`, `host-qmp-quit`…
        reason: String,
    },
    /// The processors stand still.
    Stop,
    /// The processors run.
    Resume,
    /// The guest's kernel reported a panic to a paravirtual device.
    GuestPanicked,
    /// The watchdog of the machine was not fed for too long.
    Watchdog,
    /// A disk could not be read or written.
    BlockIoError {
        /// The disk.
        disk: String,
        /// `read` or `write`.
        operation: String,
    },
    /// A migration has progressed.
    Migration {
        /// QEMU's word: `active`, `completed`, `failed`…
        status: String,
    },
    /// Anything else, by its name.
    Other(String),
}

/// How much a disk was used since the machine was switched on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Name of the disk in [`Machine`].
    pub disk: String,
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
}

/// How QEMU ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Status of the process; `None` if it is not available.
    pub status: Option<ExitStatus>,
    /// The last lines that QEMU printed.
    pub stderr: String,
}

/// The result of a wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Waited<T> {
    /// It happened.
    Met(T),
    /// The budget was used up.
    GaveUp(GaveUp),
    /// QEMU ended first.
    Ended(Ended),
}

/// Why a guest is not available, or cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// The machine cannot be rendered.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// QEMU could not be started.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// QEMU ended before the machine was switched on.
    #[error("{command} ended at once with {status}: {stderr}")]
    EndedAtOnce {
        /// The whole command line.
        command: String,
        /// How the process ended.
        status: String,
        /// The last lines that it printed.
        stderr: String,
    },
    /// QEMU runs but did not connect to our sockets.
    #[error("{command} does not connect to its sockets")]
    NoConnection {
        /// The whole command line.
        command: String,
    },
    /// A connection to QEMU broke.
    #[error("connecting with QEMU")]
    Connection {
        /// The reason.
        source: io::Error,
    },
    /// A file or socket of the guest failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// QEMU refused a command.
    #[error("asking QEMU to {command}: {reason}")]
    Qmp {
        /// The QMP command.
        command: &'static str,
        /// QEMU's answer.
        reason: String,
    },
    /// The serial console is gone.
    #[error("writing to the serial console")]
    Serial(#[source] io::Error),
}

impl GuestError {
    /// Explains a command that QEMU did not execute.
    fn qmp(command: &'static str) -> impl Fn(qapi::ExecuteError) -> Self {
        move |error| Self::Qmp { command, reason: error.to_string() }
    }
}

impl What {
    /// Returns whether it shows progress of the guest; a network chatters while a machine only
    /// waits.
    pub fn is_progress(&self) -> bool {
        match self {
            Self::Line(line) => classify::is_progress(line),
            Self::Firmware(_) | Self::Screen(_) | Self::Disk(_) | Self::Event(_) => true,
            Self::Pending(_) | Self::Packets(_) | Self::Ended(_) => false,
        }
    }
}

/// A running machine: dropping it kills QEMU, and [`Guest::quit`] ends it properly.
#[derive(Debug)]
pub struct Guest {
    voice: Voice,
    queue: UnboundedReceiver<Observation>,
    serial: OwnedWriteHalf,
    qmp: Arc<Qmp>,
    files: Files,
    pid: Option<Pid>,
    gone: Arc<AtomicBool>,
    /// How long QEMU has waited for a processor of the host, in nanoseconds, when last known.
    starved: AtomicU64,
    ended: Option<Ended>,
    run: TempDir,
    tasks: JoinSet<()>,
}

impl Guest {
    /// Switches a machine on after all sensors are connected, so that no byte is lost.
    ///
    /// Evidence goes to `folder`: `NAME.serial.raw`, `NAME.console.log`, `NAME.firmware.log`,
    /// `NAME.screen.txt`, `NAME.qmp.jsonl`, `NAME.pcap`, `NAME.stderr` and `NAME.qemu.sh`.
    pub async fn start(machine: &Machine, folder: &Path, name: &str) -> Result<Self, GuestError> {
        let files = Files::new(folder, name)?;
        let Process { child, run, wires } = Process::start(machine, &files).await?;
        let (sender, queue) = unbounded_channel();
        let voice = Voice { started: Instant::now(), queue: sender };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let (console, serial) = wires.serial.into_split();
        let (raw, log) = (files.create("serial.raw")?, Transcript(files.create("console.log")?));
        let firmware_log = Transcript(files.create("firmware.log")?);
        let mut ports = JoinSet::new();
        ports.spawn(sensors::serial(console, raw, log, voice.clone()));
        ports.spawn(sensors::firmware(wires.firmware, firmware_log, voice.clone()));
        ports.spawn(sensors::events(wires.events, voice.clone()));

        let qmp = Arc::new(wires.qmp);
        let page = run.path().join("page");
        let sampler = Sampler::new(Arc::clone(&qmp), files.clone(), page, voice.clone());
        let gone = Arc::new(AtomicBool::new(false));
        let starved = AtomicU64::new(0);
        let end = End { child, gone: Arc::clone(&gone), ports };
        let mut tasks = JoinSet::new();
        tasks.spawn(end.tell(files.clone(), voice.clone()));
        let mut guest =
            Self { voice, queue, serial, qmp, files, pid, gone, starved, ended: None, run, tasks };
        if let Boot::Saved { state } = &machine.boot {
            guest.restore(state).await?;
        }
        guest.go_on().await?;
        guest.tasks.spawn(sampler.run());
        Ok(guest)
    }

    /// Lets the machine run.
    pub(crate) async fn go_on(&self) -> Result<(), GuestError> {
        self.qmp.execute(qapi::qmp::cont {}).await.map_err(GuestError::qmp("run the machine"))?;
        Ok(())
    }

    /// Returns the time since the machine was switched on.
    pub fn elapsed(&self) -> Duration {
        self.voice.at()
    }

    /// Returns the time without that when QEMU was ready but others had the host's processors.
    ///
    /// Waits are measured by it, so that company costs no guest its verdict.
    pub fn now(&self) -> Instant {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok());
        let starved = pid.map_or(0, load::starved_nanos);
        // Once a process is gone, nothing is known about it.
        let starved = self.starved.fetch_max(starved, Ordering::Relaxed).max(starved);
        let now = Instant::now();
        now.checked_sub(Duration::from_nanos(starved)).unwrap_or(now)
    }

    /// Returns the time since the machine was switched on, as [`Self::now`] counts it.
    pub fn ran(&self) -> Duration {
        self.now().saturating_duration_since(self.voice.started)
    }

    /// Returns the process id of QEMU while it runs.
    pub fn pid(&self) -> Option<u32> {
        let pid = self.pid.filter(|_| !self.gone.load(Ordering::Relaxed))?;
        u32::try_from(pid.as_raw()).ok()
    }

    /// Describes whether the guest's processors were busy during the last second.
    ///
    /// A kernel that hangs in a loop keeps them busy; one that waits forever does not.
    pub async fn activity(&self) -> &'static str {
        const LOOK: Duration = Duration::from_secs(1);
        let Some(pid) = self.pid() else { return "its processors are gone" };
        let before = process::cpu_time(pid);
        tokio::time::sleep(LOOK).await;
        match (before, process::cpu_time(pid)) {
            (Some(before), Some(after)) if after.saturating_sub(before) * 2 > LOOK => {
                "its processors are busy"
            }
            (Some(_), Some(_)) => "its processors are idle",
            _ => "its processors are gone",
        }
    }

    /// Returns the next observation, or `None` if there is none until then.
    ///
    /// After [`What::Ended`] it returns `None` at once.
    pub async fn next(&mut self, until: Instant) -> Option<Observation> {
        if self.ended.is_some() {
            return None;
        }
        let next = tokio::time::timeout_at(until.into(), self.queue.recv()).await;
        let observation = next.ok().flatten()?;
        if let What::Ended(ended) = &observation.what {
            self.ended = Some(ended.clone());
        }
        Some(observation)
    }

    /// Reads observations until `met` returns something, within an already scaled budget.
    ///
    /// What `met` has seen is used up. See [`What::is_progress`] for what counts against a stall.
    pub async fn wait<T>(
        &mut self,
        budget: Budget,
        mut met: impl FnMut(&Observation) -> Option<T>,
    ) -> Waited<T> {
        let mut watch = Watch::begin(budget, self.now());
        loop {
            if let Some(ended) = &self.ended {
                return Waited::Ended(ended.clone());
            }
            let left = watch.deadline().saturating_duration_since(self.now());
            if let Some(observation) = self.next(Instant::now() + left).await {
                if observation.what.is_progress() {
                    watch.progress(self.now());
                }
                if let Some(found) = met(&observation) {
                    return Waited::Met(found);
                }
            }
            if let Some(gave_up) = watch.expired(self.now()) {
                return Waited::GaveUp(gave_up);
            }
        }
    }

    /// Types on the serial console; a line ends with `\n`.
    pub async fn send_serial(&mut self, text: &str) -> Result<(), GuestError> {
        self.serial.write_all(text.as_bytes()).await.map_err(GuestError::Serial)
    }

    /// Reads the text screen now.
    pub async fn screen(&mut self) -> Result<Screen, GuestError> {
        sampler::read_screen(&self.qmp, &self.run.path().join("page-asked-for")).await
    }

    /// Ends QEMU: by QMP, then SIGTERM, then SIGKILL. The disks can then be used by others.
    ///
    /// Observations that nobody has read are lost, but they are in the evidence.
    pub async fn quit(mut self) -> Ended {
        self.keep_last_screen().await;
        let quit = self.qmp.execute(qapi::qmp::quit {});
        // QEMU may be gone before it answers; only its end matters.
        drop(tokio::time::timeout(PATIENCE, quit).await);
        for signal in [None, Some(Signal::SIGTERM), Some(Signal::SIGKILL)] {
            self.signal(signal);
            let until = Instant::now() + PATIENCE;
            while self.ended.is_none() && self.next(until).await.is_some() {}
            if let Some(ended) = self.ended.clone() {
                self.shrink_captures().await;
                return ended;
            }
        }
        Ended { status: None, stderr: "QEMU does not end even by SIGKILL".to_owned() }
    }

    async fn shrink_captures(&self) {
        let first = self.files.path("pcap");
        // A capture that stays large changes no verdict.
        drop(tokio::task::spawn_blocking(move || capture::shrink_all(&first)).await);
    }

    async fn keep_last_screen(&mut self) {
        if self.ended.is_some() {
            return;
        }
        // The screen of a second ago is already there if this one is not available.
        if let Ok(Ok(screen)) = tokio::time::timeout(PATIENCE, self.screen()).await {
            drop(self.files.write("screen.txt", &screen.to_string()));
        }
        let picture = qapi::qmp::screendump {
            device: None,
            format: Some(qapi::qmp::ImageFormat::png),
            head: None,
            filename: self.files.path("screen.png").display().to_string(),
        };
        // One picture more or less changes no verdict.
        drop(tokio::time::timeout(PATIENCE, self.qmp.execute(picture)).await);
    }

    fn signal(&self, signal: Option<Signal>) {
        // Once QEMU was waited for, the number may belong to another process.
        let pid = self.pid.filter(|_| !self.gone.load(Ordering::Relaxed));
        if let (Some(pid), Some(signal)) = (pid, signal) {
            // It fails if QEMU has just ended, which is what we want.
            let _ = killpg(pid, signal);
        }
    }
}

/// The last observation of a guest.
struct End {
    child: Child,
    gone: Arc<AtomicBool>,
    ports: JoinSet<()>,
}

impl End {
    /// Waits until QEMU has ended and everything that it sent was heard.
    async fn tell(self, files: Files, voice: Voice) {
        let ended = process::ended(self.child, &files).await;
        self.gone.store(true, Ordering::Relaxed);
        self.ports.join_all().await;
        voice.say(What::Ended(ended));
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.signal(Some(Signal::SIGKILL));
    }
}
