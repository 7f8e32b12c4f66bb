//! Has the kernel of a guest hang with its interrupts off, through QEMU's debugger stub.
//!
//! The next instructions of the kernel become `cli` and a jump to itself. The clock of the machine
//! goes on, and with it a watchdog.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Guest, GuestError};

/// `cli; jmp .` of x86.
const HANG: &str = "faebfe";
/// How often it is looked whether the processor runs the kernel; a busy guest mostly does not.
const LOOKS: u32 = 2000;
/// How long the machine runs between two looks.
const BETWEEN: Duration = Duration::from_millis(7);
/// Where `rip` begins in the answer to `g`, in digits: after sixteen registers of eight bytes
/// (GDB, `64bit-core.xml`); `eflags` and `cs` follow.
const RIP: usize = 16 * 16;
/// The bits of a code selector that tell the privilege level; the kernel's is 0.
const PRIVILEGE: u8 = 3;

impl Guest {
    /// Has the processor hang as soon as it is found in the kernel.
    pub(super) async fn lock_up(&mut self) -> Result<(), GuestError> {
        let path = self.run.path().join("debugger");
        let command_line = format!("gdbserver unix:{},server=on,wait=off", path.display());
        let open = qapi::qmp::human_monitor_command { cpu_index: None, command_line };
        self.ask("open its debugger", open).await?;
        hang(&path).await.map_err(|source| GuestError::File {
            doing: "hanging the kernel through",
            path,
            source,
        })
    }
}

async fn hang(socket: &Path) -> io::Result<()> {
    let mut stub = Stub { stream: UnixStream::connect(socket).await? };
    for _ in 0..LOOKS {
        let registers = stub.ask("g").await?;
        let part = |from: usize, digits: usize| {
            registers.get(from..from + digits).ok_or_else(|| io::Error::other(registers.clone()))
        };
        let rip = u64::from_str_radix(part(RIP, 16)?, 16).map_err(io::Error::other)?.swap_bytes();
        let selector = u8::from_str_radix(part(RIP + 24, 2)?, 16).map_err(io::Error::other)?;
        // User programs may not switch interrupts off.
        if selector & PRIVILEGE == 0 {
            let written = stub.ask(&format!("M{rip:x},3:{HANG}")).await?;
            stub.ask("D").await?;
            let refused = || io::Error::other(format!("the code was not written: {written}"));
            return (written == "OK").then_some(()).ok_or_else(refused);
        }
        stub.say("c").await?;
        tokio::time::sleep(BETWEEN).await;
        stub.stream.write_all(&[3]).await?;
        while !is_stop(&stub.hear().await?) {}
    }
    stub.ask("D").await?;
    Err(io::Error::other("the processor was never found in the kernel"))
}

/// Whether a packet tells that the machine has stopped (GDB, "Stop Reply Packets").
fn is_stop(packet: &str) -> bool {
    packet.starts_with(['T', 'S'])
}

/// A connection that speaks GDB's remote serial protocol.
struct Stub {
    stream: UnixStream,
}

impl Stub {
    /// Asks something, and returns the answer: that the machine stands still for us is none.
    async fn ask(&mut self, packet: &str) -> io::Result<String> {
        self.say(packet).await?;
        loop {
            let answer = self.hear().await?;
            if !is_stop(&answer) {
                return Ok(answer);
            }
        }
    }

    async fn say(&mut self, packet: &str) -> io::Result<()> {
        let sum = packet.bytes().fold(0_u8, u8::wrapping_add);
        self.stream.write_all(format!("${packet}#{sum:02x}").as_bytes()).await
    }

    /// Returns what the next packet holds; whatever lies before it is an acknowledgement.
    async fn hear(&mut self) -> io::Result<String> {
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
