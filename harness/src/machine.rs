//! Describes a machine for QEMU to simulate; nothing here runs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use self::setup::{Bus, Chipset, CpuLevel, NetworkCard, Sector};

pub mod args;
pub mod setup;

/// A machine to be simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The board that everything is plugged into.
    pub board: Board,
    /// Size of memory.
    pub memory_mib: u32,
    /// Number of processors.
    pub cpus: u32,
    /// Disks, in the order in which they are plugged in.
    pub disks: Vec<Disk>,
    /// What the machine is connected to.
    pub network: Network,
    /// Where its first kernel comes from.
    pub boot: Boot,
    /// What its clock says when it is switched on; `None` for the host's time.
    pub clock: Option<&'static str>,
    /// What runs its instructions.
    pub accelerator: Accelerator,
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Machine {
    /// Describes a small emulated BIOS machine without disks and network.
    pub fn new() -> Self {
        Self {
            board: Board::default(),
            memory_mib: 1024,
            cpus: 1,
            disks: Vec::new(),
            network: Network::None,
            boot: Boot::Disk,
            clock: None,
            accelerator: Accelerator::Tcg,
        }
    }

    /// Sets the board that everything is plugged into.
    #[must_use]
    pub fn board(self, board: Board) -> Self {
        Self { board, ..self }
    }

    /// Sets the size of memory.
    #[must_use]
    pub fn memory_mib(self, memory_mib: u32) -> Self {
        Self { memory_mib, ..self }
    }

    /// Sets the number of processors.
    #[must_use]
    pub fn cpus(self, cpus: u32) -> Self {
        Self { cpus, ..self }
    }

    /// Plugs in one more disk.
    #[must_use]
    pub fn disk(mut self, disk: Disk) -> Self {
        self.disks.push(disk);
        self
    }

    /// Sets what the machine is connected to.
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    /// Sets the command that answers at port 80 of [`crate::server::ADDRESS`].
    pub fn serve(&mut self, command: String) {
        match &mut self.network {
            Network::User { server, .. } => *server = Some(command),
            Network::Router(router) => router.server = Some(command),
            Network::None | Network::Cables(_) => {}
        }
    }

    /// Sets where the first kernel comes from.
    #[must_use]
    pub fn boot(self, boot: Boot) -> Self {
        Self { boot, ..self }
    }

    /// Sets what the clock says when the machine is switched on, as `2001-01-01T00:00:00`.
    #[must_use]
    pub fn clock(self, clock: Option<&'static str>) -> Self {
        Self { clock, ..self }
    }

    /// Sets what runs the machine's instructions.
    #[must_use]
    pub fn accelerator(self, accelerator: Accelerator) -> Self {
        Self { accelerator, ..self }
    }
}

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// Returns QEMU's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// The board that everything is plugged into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Board {
    /// Platform firmware.
    pub platform: Platform,
    /// The board proper.
    pub chipset: Chipset,
    /// What the processors can do; with KVM everything that the host's can.
    pub cpu: CpuLevel,
    /// The network card.
    pub network_card: NetworkCard,
    /// Number of further cards, with a carrier but nobody at the other end.
    pub spare_cards: u8,
    /// Whether it has a watchdog (i6300esb).
    pub watchdog: bool,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            platform: Platform::Bios,
            chipset: Chipset::Pc,
            cpu: CpuLevel::V2,
            network_card: NetworkCard::VirtioNet,
            spare_cards: 0,
            watchdog: false,
        }
    }
}

/// Platform firmware, with its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platform {
    /// `SeaBIOS`, which comes with QEMU.
    Bios,
    /// UEFI.
    Uefi(Flash),
}

/// The flash memory of a machine with UEFI, as raw files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flash {
    /// The firmware itself, never written.
    pub code: PathBuf,
    /// The variables of this one machine.
    pub variables: PathBuf,
    /// Whether only the firmware may write to the variables.
    pub secure_boot: SecureBoot,
}

/// Whether the platform enforces secure boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecureBoot {
    /// It starts whatever it finds.
    Absent,
    /// It starts only what is signed by a key among its variables.
    Enforced,
}

/// One disk of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Name of the disk in QEMU and in every observation: letters, digits, `-`.
    pub id: String,
    /// File that holds its content.
    pub image: PathBuf,
    /// Format of that file.
    pub format: Format,
    /// How the disk is attached.
    pub bus: Bus,
    /// Size of its sectors.
    pub sector: Sector,
    /// Serial number that the guest sees.
    pub serial: Option<String>,
    /// Place in the firmware's boot order; without one it is tried last.
    pub boot_index: Option<u32>,
    /// Whether the guest can write.
    pub access: Access,
    /// File that logs all writes; see [`crate::write_log`].
    pub log: Option<PathBuf>,
    /// When it is plugged in.
    pub plugged: Plugged,
}

/// When a disk or a network card is plugged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plugged {
    /// Before the machine is switched on.
    AtStart,
    /// While it runs, into a slot before all others: the next kernel finds it first.
    Late,
}

impl Disk {
    /// Describes a writable qcow2 disk on virtio-blk that is not in the boot order.
    pub fn new(id: impl Into<String>, image: impl AsRef<Path>) -> Self {
        Self {
            id: id.into(),
            image: image.as_ref().to_path_buf(),
            format: Format::Qcow2,
            bus: Bus::VirtioBlk,
            sector: Sector::Bytes512,
            serial: None,
            boot_index: None,
            access: Access::ReadWrite,
            log: None,
            plugged: Plugged::AtStart,
        }
    }

    /// Sets the file that logs all writes, which must exist.
    #[must_use]
    pub fn log(self, log: Option<PathBuf>) -> Self {
        Self { log, ..self }
    }

    /// Sets the format of the image file.
    #[must_use]
    pub fn format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// Sets how the disk is attached.
    #[must_use]
    pub fn bus(self, bus: Bus) -> Self {
        Self { bus, ..self }
    }

    /// Sets the size of its sectors.
    #[must_use]
    pub fn sector(self, sector: Sector) -> Self {
        Self { sector, ..self }
    }

    /// Sets the serial number that the guest sees (at most 20 characters).
    #[must_use]
    pub fn serial(self, serial: impl Into<String>) -> Self {
        Self { serial: Some(serial.into()), ..self }
    }

    /// Puts the disk into the firmware's boot order.
    #[must_use]
    pub fn boot_index(self, index: u32) -> Self {
        Self { boot_index: Some(index), ..self }
    }

    /// Sets when it is plugged in.
    #[must_use]
    pub fn plugged(self, plugged: Plugged) -> Self {
        Self { plugged, ..self }
    }

    /// Sets whether the guest can write.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }
}

/// Format of a disk image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Sector by sector.
    Raw,
    /// QEMU's own format, with backing files.
    Qcow2,
}

impl Format {
    /// Returns QEMU's name for the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }
}

/// Whether a guest can write to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can.
    ReadWrite,
    /// QEMU refuses every write.
    ReadOnly,
}

/// What a machine is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Network {
    /// Nothing.
    None,
    /// QEMU's own network with DHCP, behind which nothing is reachable.
    User {
        /// Address of the virtio network device.
        mac: String,
        /// Ports of the host's loopback that lead into the guest.
        forwards: Vec<Forward>,
        /// The command that answers at port 80 of [`crate::server::ADDRESS`].
        server: Option<String>,
    },
    /// Cards whose cables lead to a router.
    Cables(Vec<Cable>),
    /// The router at the other ends of these cables.
    Router(RouterNetwork),
}

/// A network card, with the other end of its cable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// Address of the card.
    pub mac: String,
    /// The slot of the PCI bus that it is in.
    pub slot: u8,
    /// When it is plugged in.
    pub plugged: Plugged,
    /// Socket on which the router's QEMU listens.
    pub socket: PathBuf,
}

/// What a router is connected to, and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterNetwork {
    /// Sockets for the cables of the machine, in the order of its links.
    pub sockets: Vec<PathBuf>,
    /// Ports of the host's loopback that lead to ports of the router.
    pub forwards: Vec<Forward>,
    /// The command that answers what the router forwards from its server's address.
    pub server: Option<String>,
    /// Files that it reads through its firmware, by their names.
    pub notes: Vec<(String, PathBuf)>,
}

/// A TCP port of the host's loopback interface that leads into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Port on 127.0.0.1 of the host.
    pub host_port: u16,
    /// Port of the guest.
    pub guest_port: u16,
}

/// Where the first kernel comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Boot {
    /// From a disk, by the platform firmware.
    Disk,
    /// From the host, put into memory by QEMU.
    Direct {
        /// Kernel image.
        kernel: PathBuf,
        /// Initramfs, if any.
        initramfs: Option<PathBuf>,
        /// Kernel command line.
        command_line: String,
    },
    /// From a saved state, from which the machine continues.
    Saved {
        /// The migration stream.
        state: PathBuf,
    },
}

/// Why a machine cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// QEMU's disks on SATA always have 512 bytes.
    #[error("the disk {id:?} is on SATA, where QEMU has no sectors of 4096 bytes")]
    SataSector {
        /// The name of the disk.
        id: String,
    },
    /// `SeaBIOS` reads the first 512 bytes of a disk only if they are a sector.
    #[error("the disk {id:?} has sectors of 4096 bytes, which a BIOS does not boot; use UEFI")]
    BiosSector {
        /// The name of the disk.
        id: String,
    },
    /// This only works where PCI is hot-plugged without bridges.
    #[error("the disk {id:?} is plugged in late, which needs virtio-blk on the chipset pc")]
    LateDisk {
        /// The name of the disk.
        id: String,
    },
    /// QEMU takes its options as text.
    #[error("the path {} is not UTF-8", path.display())]
    PathNotText {
        /// The path as it is.
        path: PathBuf,
    },
    /// QEMU only accepts simple names for devices.
    #[error("the disk name {id:?} is not a letter followed by letters, digits or dashes")]
    DiskName {
        /// The name as given.
        id: String,
    },
    /// Two disks may not share a name.
    #[error("two disks are called {id:?}")]
    DiskTwice {
        /// The name as given.
        id: String,
    },
}
