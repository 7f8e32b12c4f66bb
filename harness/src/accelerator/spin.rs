//! Times a short loop on a KVM processor.
//!
//! A KVM that is itself emulated can be opened, makes machines and boots firmware, but takes
//! hundreds of nanoseconds for an instruction, so a kernel never comes up on it. Its pace gives it
//! away.
#![expect(unsafe_code, reason = "KVM gets the address of the memory that the guest uses")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};

/// How many times the loop runs.
pub(super) const ROUNDS: u32 = 100_000;
/// Real hardware needs about a tenth of a millisecond.
pub(super) const SLOW: Duration = Duration::from_millis(10);
/// How long to wait for a processor that may not come back at all.
const NEVER: Duration = Duration::from_secs(2);
/// How long to try again.
///
/// The host's processor may be taken away in the middle of the loop, so one try is not enough.
const ENOUGH: Duration = Duration::from_millis(100);

const MEMORY_LEN: usize = 0x4000;
const LEVEL_4: u16 = 0x0000;
const LEVEL_3: u16 = 0x1000;
const LEVEL_2: u16 = 0x2000;
const CODE: u16 = 0x3000;
/// Present and writable.
const TABLE: u16 = 0x03;
/// Present, writable, 2 MiB.
const PAGE: u16 = 0x83;

/// Why the loop could not be timed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpinError {
    #[error("KVM cannot be used: opening /dev/kvm: {0}")]
    Open(kvm_ioctls::Error),
    #[error("{doing} by KVM: {error}")]
    Call { doing: &'static str, error: kvm_ioctls::Error },
    #[error("{ROUNDS} rounds of a loop under KVM ended as {0}")]
    Exit(String),
    #[error("{ROUNDS} rounds of a loop under KVM did not end within {} s", NEVER.as_secs())]
    Never,
}

/// Returns the best of several attempts, or the first that is not [`SLOW`].
pub(super) fn time() -> Result<Duration, SpinError> {
    let (sender, receiver) = mpsc::channel();
    // It gets its own thread, because only the end of our process stops a lost processor.
    std::thread::spawn(move || sender.send(attempts()));
    receiver.recv_timeout(NEVER).unwrap_or(Err(SpinError::Never))
}

fn attempts() -> Result<Duration, SpinError> {
    let kvm = Kvm::new().map_err(SpinError::Open)?;
    let vm = kvm.create_vm().map_err(call("making a machine"))?;
    let memory = Box::new(Memory::with_loop());
    lend(&vm, &memory)?;
    let mut processor = vm.create_vcpu(0).map_err(call("making a processor"))?;
    let began = Instant::now();
    let mut best = attempt(&mut processor)?;
    while best >= SLOW && began.elapsed() < ENOUGH {
        best = best.min(attempt(&mut processor)?);
    }
    // The machine goes before the memory that it uses.
    drop((processor, vm));
    drop(memory);
    Ok(best)
}

fn attempt(processor: &mut VcpuFd) -> Result<Duration, SpinError> {
    let system = processor.get_sregs().map_err(call("reading registers"))?;
    processor.set_sregs(&long_mode(&system)).map_err(call("entering long mode"))?;
    let registers = kvm_regs { rip: CODE.into(), rflags: 2, ..Default::default() };
    processor.set_regs(&registers).map_err(call("setting registers"))?;
    let began = Instant::now();
    match processor.run().map_err(call("running a loop"))? {
        VcpuExit::Hlt => Ok(began.elapsed()),
        other => Err(SpinError::Exit(format!("{other:?}"))),
    }
}

fn call(doing: &'static str) -> impl Fn(kvm_ioctls::Error) -> SpinError {
    move |error| SpinError::Call { doing, error }
}

/// The memory of the machine, from address 0.
#[repr(align(4096))]
struct Memory([u8; MEMORY_LEN]);

impl Memory {
    /// Returns page tables that map the first 2 MiB to themselves, with the loop.
    fn with_loop() -> Self {
        let mut memory = Self([0; MEMORY_LEN]);
        memory.put(LEVEL_4, &(LEVEL_3 | TABLE).to_le_bytes());
        memory.put(LEVEL_3, &(LEVEL_2 | TABLE).to_le_bytes());
        memory.put(LEVEL_2, &PAGE.to_le_bytes());
        let [a, b, c, d] = ROUNDS.to_le_bytes();
        // mov ecx, ROUNDS; again: dec ecx; jnz again; hlt
        memory.put(CODE, &[0xb9, a, b, c, d, 0xff, 0xc9, 0x75, 0xfc, 0xf4]);
        memory
    }

    fn put(&mut self, address: u16, bytes: &[u8]) {
        let cells = self.0.iter_mut().skip(usize::from(address));
        cells.zip(bytes).for_each(|(cell, byte)| *cell = *byte);
    }
}

fn lend(vm: &VmFd, memory: &Memory) -> Result<(), SpinError> {
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: MEMORY_LEN as u64,
        userspace_addr: std::ptr::from_ref(memory).addr() as u64,
    };
    // SAFETY: the region is exactly one page-aligned allocation of `MEMORY_LEN` bytes, which the
    // caller keeps until processor and machine are gone, and which we do not touch meanwhile.
    unsafe { vm.set_user_memory_region(region) }.map_err(call("lending memory"))
}

/// Sets 64-bit mode with flat segments (Intel SDM volume 3, 10.8.5 Initializing IA-32e Mode).
fn long_mode(registers: &kvm_sregs) -> kvm_sregs {
    let data = kvm_segment {
        limit: u32::MAX,
        selector: 0x10,
        type_: 3,
        present: 1,
        db: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    let code = kvm_segment { selector: 8, type_: 11, db: 0, l: 1, ..data };
    kvm_sregs {
        cs: code,
        ds: data,
        es: data,
        ss: data,
        cr0: 0x8000_0031,
        cr3: LEVEL_4.into(),
        cr4: 0x20,
        efer: 0x500,
        ..*registers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_lead_to_a_page_that_holds_the_loop() {
        let memory = Memory::with_loop();
        let entry = |at: u16| {
            let at = usize::from(at);
            u16::from_le_bytes([memory.0[at], memory.0[at + 1]])
        };
        assert_eq!(entry(LEVEL_4) & !0xfff, LEVEL_3);
        assert_eq!(entry(LEVEL_3) & !0xfff, LEVEL_2);
        assert_eq!(entry(LEVEL_2), PAGE);
        let code = usize::from(CODE);
        assert_eq!(memory.0[code + 1..code + 5], ROUNDS.to_le_bytes());
        assert_eq!(memory.0[code + 9], 0xf4, "it ends with hlt");
    }
}
