//! Starts QEMU, and connects everything before the machine runs.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Child;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::files::Files;
use super::{Ended, GuestError};
use crate::command::{Command, quote, tail};
use crate::file::FileError;
use crate::machine::args::{PROGRAM, Sockets, Wiring, render};
use crate::machine::{Boot, Machine, Platform};
use crate::qmp::Qmp;

/// The prefix of folders of sockets.
const RUN_FOLDER: &str = "anemos-guest-";
/// No run takes this long.
const LEFT_BEHIND: Duration = Duration::from_hours(24);
/// QEMU connects within milliseconds unless the host is in trouble.
const CONNECTING: Duration = Duration::from_secs(30);
/// If QEMU breaks a connection, it is about to end.
const DYING: Duration = Duration::from_secs(2);

/// QEMU with a machine that has not started yet.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) run: TempDir,
    pub(super) wires: Wires,
}

/// Our ends of QEMU's connections.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) qmp: Qmp,
    pub(super) events: UnboundedReceiver<Value>,
    pub(super) serial: UnixStream,
    pub(super) firmware: UnixStream,
}

/// The sockets that QEMU connects to.
struct Listeners {
    qmp: UnixListener,
    serial: UnixListener,
    firmware: UnixListener,
}

impl Process {
    pub(super) async fn start(machine: &Machine, files: &Files) -> Result<Self, GuestError> {
        let run = run_folder()?;
        let sockets = Sockets {
            qmp: run.path().join("qmp"),
            serial: run.path().join("serial"),
            firmware: run.path().join("firmware"),
            packets: files.path("pcap"),
        };
        let listeners = Listeners {
            qmp: listen(&sockets.qmp)?,
            serial: listen(&sockets.serial)?,
            firmware: listen(&sockets.firmware)?,
        };
        let command = Command::new(PROGRAM).args(render(machine, &Wiring::Sockets(sockets))?);
        let by_hand = render(machine, &Wiring::Terminal)?;
        files.write("qemu.sh", &script(&command.line(), &by_hand, &files_of(machine)))?;
        let mut child = command.start(files.create("stderr")?)?;
        let wires = connect(&mut child, &listeners, files, &command).await?;
        Ok(Self { child, run, wires })
    }
}

/// Makes a folder for sockets, whose paths are limited to 107 bytes: too few for the evidence.
pub(crate) fn run_folder() -> Result<TempDir, GuestError> {
    sweep(&std::env::temp_dir());
    let made = tempfile::Builder::new().prefix(RUN_FOLDER).tempdir();
    Ok(made.map_err(FileError::at("making a folder in", &std::env::temp_dir()))?)
}

/// Removes what killed runs left; what cannot be removed may belong to someone else.
fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(RUN_FOLDER);
        let changed = entry.metadata().and_then(|it| it.modified()).map(|at| at.elapsed());
        if ours && matches!(changed, Ok(Ok(age)) if age > LEFT_BEHIND) {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
}

fn listen(path: &Path) -> Result<UnixListener, GuestError> {
    Ok(UnixListener::bind(path).map_err(FileError::at("listening on", path))?)
}

/// Renders the same machine for a person's terminal, with what was really run.
///
/// Files of a machine are removed with the run unless they are kept, so it looks for them first.
fn script(line: &str, by_hand: &[String], files: &[&Path]) -> String {
    let words: Vec<String> = by_hand.iter().map(|word| quote(word)).collect();
    let files: Vec<_> = files.iter().map(|file| quote(&file.display().to_string())).collect();
    format!(
        "#!/bin/sh\n\
         # The same machine on your terminal, with its disks as they were left; Ctrl-a x ends it.\n\
         # It writes to its disks. It was run as: {line}\n\
         for file in {}; do\n    \
             [ -e \"$file\" ] || {{ echo \"$file is gone; run again with --keep\" >&2; exit 1; }}\n\
         done\n\
         exec {PROGRAM} {}\n",
        files.join(" "),
        words.join(" ")
    )
}

/// Returns the files that a machine is made of.
fn files_of(machine: &Machine) -> Vec<&Path> {
    let mut files: Vec<_> = machine.disks.iter().map(|disk| disk.image.as_path()).collect();
    if let Platform::Uefi(flash) = &machine.board.platform {
        files.extend([flash.code.as_path(), flash.variables.as_path()]);
    }
    match &machine.boot {
        Boot::Saved { state } => files.push(state),
        Boot::Direct { kernel, initramfs, .. } => {
            files.push(kernel);
            files.extend(initramfs.as_deref());
        }
        Boot::Disk => {}
    }
    files
}

/// Waits for QEMU's connections.
///
/// QEMU opens them before it looks at disks and devices, so the end of QEMU may first show as a
/// connection that breaks.
async fn connect(
    child: &mut Child,
    listeners: &Listeners,
    files: &Files,
    command: &Command,
) -> Result<Wires, GuestError> {
    let cut = tokio::select! {
        wires = tokio::time::timeout(CONNECTING, wires(listeners, files)) => match wires {
            Ok(Ok(wires)) => return Ok(wires),
            Ok(Err(error)) => error,
            Err(_elapsed) => GuestError::NoConnection { command: command.line() },
        },
        _ = child.wait() => GuestError::NoConnection { command: command.line() },
    };
    match tokio::time::timeout(DYING, child.wait()).await {
        Ok(status) => Err(GuestError::EndedAtOnce {
            command: command.line(),
            status: status.map_or_else(|error| error.to_string(), |status| status.to_string()),
            stderr: last_words(files),
        }),
        Err(_elapsed) => Err(cut),
    }
}

async fn wires(listeners: &Listeners, files: &Files) -> Result<Wires, GuestError> {
    let lost = |source| GuestError::Connection { source };
    let accepted = tokio::try_join!(
        listeners.qmp.accept(),
        listeners.serial.accept(),
        listeners.firmware.accept()
    );
    let ((qmp, _), (serial, _), (firmware, _)) = accepted.map_err(lost)?;
    let (sender, events) = unbounded_channel();
    let qmp = Qmp::open(qmp, files.create("qmp.jsonl")?, sender).await.map_err(lost)?;
    Ok(Wires { qmp, events, serial, firmware })
}

/// Waits for the end of QEMU.
pub(super) async fn ended(mut child: Child, files: &Files) -> Ended {
    let status = child.wait().await.ok();
    Ended { status, stderr: last_words(files) }
}

/// Returns the time for which a process has used processors.
///
/// It is in fields 14 and 15 of `/proc/PID/stat`, in hundredths of a second, see proc(5).
pub(super) fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>().ok()?.iter().sum();
    Some(Duration::from_millis(ticks * 10))
}

fn last_words(files: &Files) -> String {
    // Without the file there are no messages, but still the status.
    tail(&std::fs::read(files.path("stderr")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_on_the_processors_is_read_of_any_process() {
        let own = cpu_time(std::process::id()).expect("we run");
        assert!(own < Duration::from_hours(1), "{own:?}");
        assert_eq!(cpu_time(u32::MAX), None);
    }

    #[test]
    fn the_script_runs_the_same_machine_on_a_terminal() {
        let words = ["-serial", "mon:stdio", "-append", "console=ttyS0 panic=-1"];
        let words = words.map(str::to_owned);
        let files = [Path::new("/runs/disk 1.qcow2"), Path::new("/k")];
        insta::assert_snapshot!(script("qemu-system-x86_64 -S", &words, &files), @r#"
        #!/bin/sh
        # The same machine on your terminal, with its disks as they were left; Ctrl-a x ends it.
        # It writes to its disks. It was run as: qemu-system-x86_64 -S
        for file in '/runs/disk 1.qcow2' /k; do
            [ -e "$file" ] || { echo "$file is gone; run again with --keep" >&2; exit 1; }
        done
        exec qemu-system-x86_64 -serial mon:stdio -append 'console=ttyS0 panic=-1'
        "#);
    }
}
