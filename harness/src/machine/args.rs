//! Renders the arguments of QEMU for a machine, without looking at the host.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::setup::{Bus, Chipset, CpuLevel, Sector};
use super::{
    Accelerator, Access, Board, Boot, Disk, Flash, Machine, MachineError, Platform, Plugged,
    SecureBoot,
};
use crate::command::quote;

mod network;

pub(crate) use network::{FIRST_SLOT as FIRST_CARD_SLOT, card_name, link_name};

/// The emulator.
pub const PROGRAM: &str = "qemu-system-x86_64";

/// The second level of the x86-64 ABI, which current distributions are compiled for.
///
/// An AMD model avoids page-table isolation, and string instructions that are slow to emulate.
const EMULATED_V2: &str = "qemu64,+cx16,+lahf_lm,+popcnt,+sse4.1,+sse4.2,+ssse3";
/// The third level, as additions to the second.
const EMULATED_V3: &str = "qemu64,+cx16,+lahf_lm,+popcnt,+sse4.1,+sse4.2,+ssse3,\
                           +xsave,+avx,+avx2,+bmi1,+bmi2,+f16c,+fma,+abm,+movbe";

/// First slot of a PCI bus that late disks may have; QEMU fills the slots before it by itself.
pub(crate) const FIRST_LATE_SLOT: u8 = 0x6;
/// The first slot after those.
const FIRST_SLOT_AFTER_LATE: u8 = 0x9;

/// What the sensors of a machine are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// Sockets on which we listen; the machine is created standing still.
    Sockets(Sockets),
    /// The terminal of a person who pastes the command; the machine runs at once.
    Terminal,
}

/// Files below the run directory of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sockets {
    /// Socket for QMP.
    pub qmp: PathBuf,
    /// Socket for the serial console.
    pub serial: PathBuf,
    /// Socket for the firmware's debug port.
    pub firmware: PathBuf,
    /// File for the packets.
    pub packets: PathBuf,
}

/// Renders the arguments of [`PROGRAM`].
pub fn render(machine: &Machine, wiring: &Wiring) -> Result<Vec<String>, MachineError> {
    check(machine)?;
    let mut args = Args(Vec::new());
    board(&mut args, machine)?;
    sensors(&mut args, wiring)?;
    disks(&mut args, &machine.disks)?;
    network::render(&mut args, machine, wiring)?;
    spare_cards(&mut args, machine.board.spare_cards);
    boot(&mut args, &machine.boot, wiring)?;
    Ok(args.0)
}

fn check(machine: &Machine) -> Result<(), MachineError> {
    for (place, disk) in machine.disks.iter().enumerate() {
        let id = &disk.id;
        let letter = id.starts_with(|c: char| c.is_ascii_alphabetic());
        if !letter || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
            return Err(MachineError::DiskName { id: id.clone() });
        }
        if machine.disks.iter().take(place).any(|other| other.id == *id) {
            return Err(MachineError::DiskTwice { id: id.clone() });
        }
        check_sector(machine, disk)?;
        let can_be_late = disk.bus == Bus::VirtioBlk && machine.board.chipset == Chipset::Pc;
        if disk.plugged == Plugged::Late && !can_be_late {
            return Err(MachineError::LateDisk { id: id.clone() });
        }
    }
    Ok(())
}

fn check_sector(machine: &Machine, disk: &Disk) -> Result<(), MachineError> {
    let id = disk.id.clone();
    let bios = machine.board.platform == Platform::Bios && machine.boot == Boot::Disk;
    match (disk.sector, disk.bus, disk.boot_index) {
        (Sector::Bytes512, ..) => Ok(()),
        (_, Bus::Sata, _) => Err(MachineError::SataSector { id }),
        (_, _, Some(0)) if bios => Err(MachineError::BiosSector { id }),
        _ => Ok(()),
    }
}

/// Renders the machine itself, without anything that QEMU would add unasked.
///
/// A reset stops the machine as a shutdown does, so that the end of a boot can be examined.
fn board(args: &mut Args, machine: &Machine) -> Result<(), MachineError> {
    args.flag("-nodefaults");
    args.flag("-no-user-config");
    platform(args, &machine.board)?;
    args.pair("-accel", machine.accelerator.name());
    let cpu = match (machine.accelerator, machine.board.cpu) {
        (Accelerator::Kvm, _) => "host",
        (Accelerator::Tcg, CpuLevel::V2) => EMULATED_V2,
        (Accelerator::Tcg, CpuLevel::V3) => EMULATED_V3,
        (Accelerator::Tcg, CpuLevel::Max) => "max",
    };
    args.pair("-cpu", cpu);
    args.pair("-smp", machine.cpus.to_string());
    args.pair("-m", format!("{}M", machine.memory_mib));
    if let Some(clock) = machine.clock {
        args.pair("-rtc", format!("base={clock}"));
    }
    args.pair("-action", "panic=pause,reboot=shutdown,shutdown=pause,watchdog=reset");
    if machine.board.watchdog {
        args.pair("-device", "i6300esb");
    }
    args.pair("-display", "none");
    args.pair("-device", "VGA");
    args.pair("-object", "rng-random,id=entropy,filename=/dev/urandom");
    args.pair("-device", "virtio-rng-pci,rng=entropy");
    Ok(())
}

/// Renders the board with its flash memory.
fn platform(args: &mut Args, board: &Board) -> Result<(), MachineError> {
    let chipset = match board.chipset {
        Chipset::Pc => "pc",
        Chipset::Q35 => "q35",
    };
    let Platform::Uefi(Flash { code, variables, secure_boot }) = &board.platform else {
        args.pair("-machine", chipset);
        return Ok(());
    };
    for (name, path, read_only) in [("code", code, true), ("variables", variables, false)] {
        let node = json!({
            "driver": "file",
            "node-name": format!("flash-{name}"),
            "filename": text(path)?,
            "read-only": read_only,
        });
        args.pair("-blockdev", node.to_string());
    }
    let smm = if *secure_boot == SecureBoot::Enforced { ",smm=on" } else { "" };
    let flash = "pflash0=flash-code,pflash1=flash-variables";
    args.pair("-machine", format!("{chipset}{smm},{flash}"));
    if *secure_boot == SecureBoot::Enforced {
        // Only code in system management mode may write to the variables.
        args.pair("-global", "driver=cfi.pflash01,property=secure,value=on");
    }
    Ok(())
}

fn sensors(args: &mut Args, wiring: &Wiring) -> Result<(), MachineError> {
    match wiring {
        Wiring::Terminal => {
            args.pair("-serial", "mon:stdio");
        }
        Wiring::Sockets(sockets) => {
            args.flag("-S");
            args.pair("-chardev", socket("qmp", &sockets.qmp)?);
            args.pair("-mon", "chardev=qmp,mode=control");
            args.pair("-chardev", socket("serial", &sockets.serial)?);
            args.pair("-serial", "chardev:serial");
            args.pair("-chardev", socket("firmware", &sockets.firmware)?);
            args.pair("-device", "isa-debugcon,iobase=0x402,chardev=firmware");
        }
    }
    Ok(())
}

/// Renders a socket that QEMU connects to, so that nobody has to wait for it to appear.
fn socket(id: &str, path: &Path) -> Result<String, MachineError> {
    Ok(format!("socket,id={id},path={}", option(path)?))
}

fn disks(args: &mut Args, disks: &[Disk]) -> Result<(), MachineError> {
    for (bus, controller) in
        [(Bus::VirtioScsi, "virtio-scsi-pci,id=scsi"), (Bus::Sata, "ich9-ahci,id=sata")]
    {
        if disks.iter().any(|disk| disk.bus == bus) {
            args.pair("-device", controller);
        }
    }
    let mut ports = 0..;
    // If some are plugged in late, the others leave them the slots before their own.
    let any_late = disks.iter().any(|disk| disk.plugged == Plugged::Late);
    let mut slots = FIRST_SLOT_AFTER_LATE..;
    for disk in disks {
        args.pair("-blockdev", file(disk)?);
        args.pair("-blockdev", format(disk));
        if let Some(log) = &disk.log {
            args.pair("-blockdev", log_file(disk, log)?);
            args.pair("-blockdev", logged(disk));
        }
        args.pair("-object", format!("throttle-group,id={}-limits", disk.id));
        args.pair("-blockdev", limits(disk));
        if disk.plugged == Plugged::Late {
            continue;
        }
        let device = match disk.bus {
            Bus::VirtioBlk if any_late => {
                format!("virtio-blk-pci,addr={:#x}", slots.next().unwrap_or_default())
            }
            Bus::VirtioBlk => "virtio-blk-pci".to_owned(),
            Bus::VirtioScsi => "scsi-hd,bus=scsi.0".to_owned(),
            Bus::Nvme => "nvme".to_owned(),
            Bus::Sata => format!("ide-hd,bus=sata.{}", ports.next().unwrap_or(0)),
        };
        args.pair("-device", device + &plug(disk));
    }
    Ok(())
}

/// Renders the file of a disk.
///
/// The host's page cache outlives QEMU, so a flush of the guest need not wait for the host's disk.
fn file(disk: &Disk) -> Result<String, MachineError> {
    let node = json!({
        "driver": "file",
        "node-name": format!("{}-file", disk.id),
        "filename": text(&disk.image)?,
        "discard": "unmap",
        "cache": { "no-flush": true },
        "read-only": disk.access == Access::ReadOnly,
    });
    Ok(node.to_string())
}

fn format(disk: &Disk) -> String {
    let mut node = json!({
        "driver": disk.format.name(),
        // Whatever lies between image and device has the name of the image for what is above.
        "node-name": format!("{}-{}", disk.id, if disk.log.is_some() { "store" } else { "image" }),
        "file": format!("{}-file", disk.id),
        "discard": "unmap",
        "read-only": disk.access == Access::ReadOnly,
    });
    if disk.access == Access::ReadWrite {
        node["detect-zeroes"] = "unmap".into();
    }
    node.to_string()
}

fn log_file(disk: &Disk, log: &Path) -> Result<String, MachineError> {
    let node = json!({
        "driver": "file",
        "node-name": format!("{}-log", disk.id),
        "filename": text(log)?,
        "cache": { "no-flush": true },
    });
    Ok(node.to_string())
}

fn logged(disk: &Disk) -> String {
    let node = json!({
        "driver": "blklogwrites",
        "node-name": format!("{}-image", disk.id),
        "file": format!("{}-store", disk.id),
        "log": format!("{}-log", disk.id),
        "log-sector-size": u32::from(disk.sector),
    });
    node.to_string()
}

/// Returns the node that the device is plugged into: what is below it can be replaced while it
/// runs.
fn limits(disk: &Disk) -> String {
    let node = json!({
        "driver": "throttle",
        "node-name": disk.id,
        "throttle-group": format!("{}-limits", disk.id),
        "file": format!("{}-image", disk.id),
        "read-only": disk.access == Access::ReadOnly,
    });
    node.to_string()
}

fn plug(disk: &Disk) -> String {
    let mut plug = format!(",id=disk-{id},drive={id}", id = disk.id);
    // The guest learns of every error, a full host included; NVMe cannot do otherwise.
    if disk.bus != Bus::Nvme {
        plug += ",rerror=report,werror=report";
    }
    // A merged request has as many parts as the host takes at once (IOV_MAX); with the header of
    // the log's record it would have one too many, so fail.
    if disk.log.is_some() && disk.bus == Bus::VirtioBlk {
        plug += ",request-merging=off";
    }
    // NVMe has no default; the other buses do without.
    let default = (disk.bus == Bus::Nvme).then_some(&disk.id);
    if let Some(serial) = disk.serial.as_ref().or(default) {
        plug = format!("{plug},serial={}", serial.replace(',', ",,"));
    }
    if disk.sector == Sector::Bytes4096 {
        plug += ",logical_block_size=4096,physical_block_size=4096";
    }
    if let Some(index) = disk.boot_index {
        plug = format!("{plug},bootindex={index}");
    }
    plug
}

/// Their MAC addresses are known to scenarios, and their slots come after that of the card in use.
fn spare_cards(args: &mut Args, count: u8) {
    for number in 1..=count {
        args.pair("-netdev", format!("hubport,id=spare{number},hubid={number}"));
        let (mac, slot) = (format!("52:54:00:aa:00:{number:02x}"), 0x10 + number);
        let plug = format!("netdev=spare{number},mac={mac},romfile=,addr={slot:#x}");
        args.pair("-device", format!("virtio-net-pci,{plug}"));
    }
}

fn boot(args: &mut Args, boot: &Boot, wiring: &Wiring) -> Result<(), MachineError> {
    if let Boot::Saved { state } = boot {
        let by_hand = reader(state);
        args.pair("-incoming", if *wiring == Wiring::Terminal { &by_hand } else { "defer" });
    }
    if let Boot::Direct { kernel, initramfs, command_line } = boot {
        args.pair("-kernel", text(kernel)?);
        if let Some(initramfs) = initramfs {
            args.pair("-initrd", text(initramfs)?);
        }
        args.pair("-append", command_line.as_str());
    }
    Ok(())
}

/// Returns the command line that writes a migration stream.
pub(crate) fn writer(state: &Path) -> String {
    format!("exec:zstd -q -1 > {}", quote(&state.display().to_string()))
}

/// Returns the command line that reads it.
pub(crate) fn reader(state: &Path) -> String {
    format!("exec:zstd -q -d -c < {}", quote(&state.display().to_string()))
}

struct Args(Vec<String>);

impl Args {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }
}

fn text(path: &Path) -> Result<&str, MachineError> {
    path.to_str().ok_or_else(|| MachineError::PathNotText { path: path.to_path_buf() })
}

/// Formats a path for an option list, in which a comma is written twice.
fn option(path: &Path) -> Result<String, MachineError> {
    Ok(text(path)?.replace(',', ",,"))
}

#[cfg(test)]
mod tests;
