//! The hardware of the guests of a rehearsal: their boards and their disks.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::firmware::{self, FirmwareError};
use crate::host::workspace::Workspace;
use crate::image::{self, Witness};
use crate::machine::setup::{Content, DiskOrder, DiskSetup, Firmware, Setup, Way};
use crate::machine::{Board, Disk, Format, Plugged};

/// Serial number of the disk that is deployed to.
pub(super) const SERIAL: &str = "anemos-system";

/// What is recorded of the accesses to the system's disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Recording {
    /// Every write, so that the disk can be rebuilt as of any flush.
    Writes,
    /// Nothing.
    Nothing,
}

/// The boards and disks of a rehearsal.
#[derive(Debug)]
pub(super) struct Hardware {
    setup: Setup,
    deploy: Board,
    new: Board,
    others: Vec<Other>,
    log: Option<PathBuf>,
}

/// A disk that nobody may write to, unless the scenario says otherwise.
#[derive(Debug)]
struct Other {
    name: String,
    image: PathBuf,
    pattern: Witness,
    disk: DiskSetup,
}

impl Hardware {
    /// Finds the firmware, and determines what the other disks contain.
    ///
    /// A kernel that starts without a boot loader is not signed for the firmware: the deploy
    /// environment then runs on the same UEFI without secure boot, and what it leaves is judged
    /// with it.
    pub(super) fn new(
        setup: &Setup,
        recording: Recording,
        workspace: &Workspace,
    ) -> Result<Self, FirmwareError> {
        let board = |firmware, variables: &str| {
            let chipset = setup.chipset();
            let platform = firmware::prepare(firmware, chipset, &workspace.join(variables))?;
            let network_card = setup.network_card;
            let (watchdog, spare_cards) = (setup.watchdog, setup.spare_cards);
            Ok::<_, FirmwareError>(Board {
                platform,
                chipset,
                cpu: setup.cpu,
                network_card,
                spare_cards,
                watchdog,
            })
        };
        let new = board(setup.firmware, "variables.fd")?;
        let deploy = match (setup.firmware, setup.entry) {
            (Firmware::UefiSecure, Way::Direct) => board(Firmware::Uefi, "variables-direct.fd")?,
            _ => new.clone(),
        };
        let system = setup.system_disk();
        let further = setup.disks.iter().skip(1).copied().enumerate();
        let further = further.map(|(place, disk)| (format!("other-{}", place + 1), disk));
        let DiskSetup { bus, sector, .. } = system;
        let witness = ("witness".to_owned(), DiskSetup { bus, sector, ..DiskSetup::default() });
        let others = further.chain([witness]).zip(1..).map(|((name, disk), seed)| Other {
            image: workspace.join(&format!("{name}.raw")),
            pattern: Witness::new(seed),
            name,
            disk,
        });
        let log = (recording == Recording::Writes).then(|| workspace.join("writes.log"));
        Ok(Self { setup: setup.clone(), deploy, new, others: others.collect(), log })
    }

    /// Describes what a real machine would not have, or not meet.
    pub(super) fn added(&self) -> Vec<String> {
        let untouchable = self.others.iter().filter(|other| !other.disk.may_change);
        let others = untouchable.map(|it| format!("disk {} that nobody may write to", it.name));
        let sensors = [
            "debug port 0x402 (isa-debugcon), which the firmware writes to",
            "paravirtual source of random numbers (virtio-rng)",
            "network without a way out; a server at 10.0.2.100 while a payload is deployed",
        ];
        let kernel = "kernel parameters console=ttyS0,115200 panic=1 of the deploy environment";
        let kernel = (self.setup.entry == Way::Direct).then(|| kernel.to_owned());
        let router = self.setup.topology.iter();
        let router = router.map(|name| format!("router that stands for a provider: {name}"));
        let log = self.log.as_ref().map(|_| "log of all writes to the system's disk".to_owned());
        let faults = self.setup.faults.iter().map(|fault| format!("fault: {fault}"));
        let sensors = sensors.into_iter().map(str::to_owned);
        others.chain(sensors).chain(router).chain(kernel).chain(log).chain(faults).collect()
    }

    /// Returns the log of what is written to the system's disk, if it is recorded.
    pub(super) fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// Writes the content of the other disks, and begins the log.
    ///
    /// A clone is one of `system`, a qcow2 image, and has its size.
    pub(super) async fn write_others(&self, system: &Path) -> io::Result<()> {
        if let Some(log) = &self.log {
            File::create(log)?;
        }
        for other in &self.others {
            match other.disk.content {
                Content::Data => other.pattern.write(&other.image)?,
                // A control run may follow a rehearsal.
                Content::Clone => {
                    drop(std::fs::remove_file(&other.image));
                    let made = image::overlay(&other.image, system, Format::Qcow2).await;
                    made.map_err(io::Error::other)?;
                }
            }
        }
        Ok(())
    }

    /// Returns which other disk was written, and where.
    pub(super) async fn written(&self, system: &Path) -> io::Result<Option<String>> {
        for other in self.others.iter().filter(|other| !other.disk.may_change) {
            let place = match other.disk.content {
                Content::Data => {
                    let offset = other.pattern.first_difference(&other.image)?;
                    offset.map(|offset| format!("at byte {offset}"))
                }
                Content::Clone => {
                    let same = image::same(system, &other.image).await;
                    (!same.map_err(io::Error::other)?).then(|| "somewhere".to_owned())
                }
            };
            if let Some(place) = place {
                let name = &other.name;
                return Ok(Some(format!("the other disk ({name}) was written, {place}")));
            }
        }
        Ok(None)
    }

    /// Returns the board on which the deploy environment is entered.
    pub(super) fn deploy_board(&self) -> Board {
        self.deploy.clone()
    }

    /// Returns the board on which the new system boots.
    pub(super) fn new_board(&self) -> Board {
        self.new.clone()
    }

    /// Returns the disks as they are plugged in at first.
    pub(super) fn disks(&self, system: &Path) -> Vec<Disk> {
        let plugged = |disk: Disk, serial: &str, setup: DiskSetup| {
            let DiskSetup { bus, sector, nameless, late, .. } = setup;
            let when = if late { Plugged::Late } else { Plugged::AtStart };
            let disk = disk.bus(bus).sector(sector).plugged(when);
            if nameless { disk } else { disk.serial(serial) }
        };
        let system = Disk::new("system", system).log(self.log.clone()).boot_index(0);
        let system = plugged(system, SERIAL, self.setup.system_disk());
        let others = self.others.iter().map(|other| {
            let format = match other.disk.content {
                Content::Data => Format::Raw,
                Content::Clone => Format::Qcow2,
            };
            let disk = Disk::new(&other.name, &other.image).format(format);
            plugged(disk, &format!("anemos-{}", other.name), other.disk)
        });
        std::iter::once(system).chain(others).collect()
    }

    /// Returns the disks as they are plugged in after the reset.
    pub(super) fn disks_after_reset(&self, system: &Path) -> Vec<Disk> {
        let mut disks = self.disks(system);
        disks[0].log = None;
        // A disk that was plugged in late is there from the start when the machine is switched on
        // again.
        for disk in &mut disks {
            disk.plugged = Plugged::AtStart;
        }
        if self.setup.disk_order == DiskOrder::Swapped {
            disks.reverse();
        }
        disks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    fn hardware(setup: &str) -> (Hardware, tempfile::TempDir) {
        let runs = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(runs.path()).unwrap();
        let setup = toml::from_str(setup).unwrap();
        (Hardware::new(&setup, Recording::Nothing, &workspace).unwrap(), runs)
    }

    #[test]
    fn disks_keep_their_identity_whatever_their_order() {
        let (hardware, _runs) =
            hardware("disk-order = 'swapped'\n[[disk]]\n[[disk]]\nbus = 'nvme'");
        let names = |disks: Vec<Disk>| -> Vec<String> {
            disks.into_iter().map(|disk| format!("{} {:?}", disk.id, disk.boot_index)).collect()
        };
        let system = Path::new("/s");
        let before = names(hardware.disks(system));
        assert_eq!(before, ["system Some(0)", "other-1 None", "witness None"]);
        let after = names(hardware.disks_after_reset(system));
        assert_eq!(after, ["witness None", "other-1 None", "system Some(0)"]);
    }

    #[tokio::test]
    async fn every_other_disk_is_a_witness_of_its_own() {
        let runs = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(runs.path()).unwrap();
        let setup = "[[disk]]\n[[disk]]\n[[disk]]\ncontent = 'clone'\nlate = true\n";
        let setup = toml::from_str(setup).unwrap();
        let hardware = Hardware::new(&setup, Recording::Nothing, &workspace).unwrap();
        let system = workspace.join("system.qcow2");
        image::create(&system, 1 << 20).await.unwrap();
        hardware.write_others(&system).await.unwrap();
        assert_eq!(hardware.written(&system).await.unwrap(), None);
        std::fs::copy(workspace.join("witness.raw"), workspace.join("other-1.raw")).unwrap();
        let written = hardware.written(&system).await.unwrap().unwrap();
        assert_eq!(written, "the other disk (other-1) was written, at byte 0");
        hardware.write_others(&system).await.unwrap();
        let clone = workspace.join("other-2.raw");
        let write = Command::new("qemu-io").args(["-c", "write -P 7 64k 512"]).arg(&clone);
        write.run().await.unwrap();
        let written = hardware.written(&system).await.unwrap().unwrap();
        assert_eq!(written, "the other disk (other-2) was written, somewhere");
    }
}
