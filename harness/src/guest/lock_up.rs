//! Makes the kernel of a guest hang with its interrupts off, through QEMU's debugger stub.
//!
//! The next instructions of the kernel become `cli` and a jump to itself. The clock of the machine
//! continues, and with it a watchdog.

use std::io;
use std::path::Path;
use std::time::Duration;

use qapi::qmp::RunState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Guest, GuestError};
use crate::file::FileError;

/// The instructions `cli; jmp .` of x86.
const HANG: &str = "faebfe";
/// How many times to check whether the processor runs the kernel; in a busy guest it mostly does
/// not.
const LOOKS: u32 = 2000;
/// How long the machine runs between two checks.
const BETWEEN: Duration = Duration::from_millis(7);
/// Where `rip` begins in the answer to `g`, in digits.
///
/// It comes after sixteen registers of eight bytes (GDB, `64bit-core.xml`); `eflags` and `cs`
/// follow.
const RIP: usize = 16 * 16;
/// The bits of a code selector that hold the privilege level; the kernel's is 0.
const PRIVILEGE: u8 = 3;

/// Longest time until the stub answers.
const PATIENCE: Duration = Duration::from_secs(30);
/// The stop reply of a machine that wants to be off, or to restart: `SIGQUIT` (QEMU, `gdbstub.c`).
const DOWN: &str = "03";

impl Guest {
    /// Makes the processor hang as soon as it is found in the kernel.
    ///
    /// Returns false if the machine has been reset before that.
    pub(super) async fn lock_up(&mut self) -> Result<bool, GuestError> {
        if self.is_down().await? {
            return Ok(false);
        }
        let path = self.run.path().join("debugger");
        let command_line = format!("gdbserver unix:{},server=on,wait=off", path.display());
        let open = qapi::qmp::human_monitor_command { cpu_index: None, command_line };
        self.ask("open its debugger", open).await?;
        let hung = self.hang(&path).await;
        Ok(hung.map_err(FileError::at("hanging the kernel through", &path))?)
    }

    /// Returns whether the machine wants to be off, or to restart, and is stopped.
    async fn is_down(&self) -> Result<bool, GuestError> {
        let status = self.qmp.execute(qapi::qmp::query_status {}).await;
        let status = status.map_err(GuestError::qmp("tell whether the machine runs"))?.status;
        Ok(matches!(status, RunState::shutdown | RunState::guest_panicked))
    }

    async fn hang(&self, socket: &Path) -> io::Result<bool> {
        let mut stub = Stub { stream: UnixStream::connect(socket).await? };
        let hangs = self.hang_through(&mut stub).await;
        // Whatever the result: a machine that is being debugged is stopped.
        let detached = stub.ask("D").await;
        detached.and(hangs)
    }

    async fn hang_through(&self, stub: &mut Stub) -> io::Result<bool> {
        for _ in 0..LOOKS {
            let registers = stub.ask("g").await?;
            let part = |from: usize, digits: usize| {
                registers
                    .get(from..from + digits)
                    .ok_or_else(|| io::Error::other(registers.clone()))
            };
            let rip = u64::from_str_radix(part(RIP, 16)?, 16).map_err(io::Error::other)?;
            let rip = rip.swap_bytes();
            let selector = u8::from_str_radix(part(RIP + 24, 2)?, 16).map_err(io::Error::other)?;
            // User programs may not switch interrupts off.
            if selector & PRIVILEGE == 0 {
                if self.is_down().await.map_err(io::Error::other)? {
                    return Ok(false);
                }
                let written = stub.ask(&format!("M{rip:x},3:{HANG}")).await?;
                let refused = || io::Error::other(format!("the code was not written: {written}"));
                return (written == "OK").then_some(true).ok_or_else(refused);
            }
            stub.say("c").await?;
            tokio::time::sleep(BETWEEN).await;
            stub.stream.write_all(&[3]).await?;
            if stub.stop().await?.get(1..3) == Some(DOWN) {
                return Ok(false);
            }
        }
        Err(io::Error::other("the processor was never found in the kernel"))
    }
}

/// Returns whether a packet says that the machine has stopped (GDB, "Stop Reply Packets").
fn is_stop(packet: &str) -> bool {
    packet.starts_with(['T', 'S'])
}

/// A connection that speaks GDB's remote serial protocol.
struct Stub {
    stream: UnixStream,
}

impl Stub {
    /// Asks something, and returns the answer; a message that the machine stopped for us is not
    /// one.
    async fn ask(&mut self, packet: &str) -> io::Result<String> {
        self.say(packet).await?;
        loop {
            let answer = self.hear().await?;
            if !is_stop(&answer) {
                return Ok(answer);
            }
        }
    }

    /// Waits until the machine stops, and returns the reason.
    async fn stop(&mut self) -> io::Result<String> {
        loop {
            let packet = self.hear().await?;
            if is_stop(&packet) {
                return Ok(packet);
            }
        }
    }

    async fn say(&mut self, packet: &str) -> io::Result<()> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.stream.write_all(format!("${packet}#{sum:02x}").as_bytes()).await
    }

    /// Returns the content of the next packet; whatever comes before it is an acknowledgement.
    async fn hear(&mut self) -> io::Result<String> {
        tokio::time::timeout(PATIENCE, self.packet()).await.map_err(io::Error::other)?
    }

    async fn packet(&mut self) -> io::Result<String> {
        while self.stream.read_u8().await? != b'$' {}
        let mut packet = Vec::new();
        loop {
            match self.stream.read_u8().await? {
                b'#' => break,
                byte => packet.push(byte),
            }
        }
        let mut sum = [0; 2];
        self.stream.read_exact(&mut sum).await?;
        self.stream.write_all(b"+").await?;
        String::from_utf8(packet).map_err(io::Error::other)
    }
}
