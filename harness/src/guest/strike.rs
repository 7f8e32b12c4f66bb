//! Does to a running machine what a fault describes.

use nix::sys::signal::Signal;
use qapi::qmp::RebootAction;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[cfg(doc)]
use super::Event;
use super::{Guest, GuestError};
use crate::fault::Kind;
use crate::machine::args::{FIRST_LATE_SLOT, card_name, link_name};
use crate::machine::{Disk, Machine, Network, Plugged};
use crate::qmp::QueryBlockstats;

/// The speed of a slow disk, in bytes per second.
const SLOW: u64 = 4 << 20;

impl Guest {
    /// Strikes the machine, or its disk `disk`; returns false if the machine was reset before that.
    pub async fn strike(&mut self, kind: Kind, disk: &str) -> Result<bool, GuestError> {
        match kind {
            Kind::LockUp => return self.lock_up().await,
            Kind::Reset => self.ask("reset the machine", qapi::qmp::system_reset {}).await,
            // If it ended properly, QEMU would flush the disk.
            Kind::PowerCut => {
                self.signal(Some(Signal::SIGKILL));
                Ok(())
            }
            Kind::ReadError => self.fail(disk, "read", nix::libc::EIO).await,
            Kind::WriteError => self.fail(disk, "write", nix::libc::EIO).await,
            Kind::FlushError => self.fail(disk, "flush", nix::libc::EIO).await,
            Kind::DiskFull => self.fail(disk, "write", nix::libc::ENOSPC).await,
            Kind::SlowDisk => {
                let slow = qapi::qmp::qom_set {
                    path: format!("/objects/{disk}-limits"),
                    property: "limits".to_owned(),
                    value: json!({ "bps-total": SLOW }),
                };
                self.ask("slow the disk down", slow).await
            }
            Kind::PacketLoss => self.lose_packets().await,
            Kind::LinkDown => {
                let down = qapi::qmp::set_link { name: "net".to_owned(), up: false };
                self.ask("pull the cable", down).await
            }
            Kind::Hang => self.ask("stop the machine", qapi::qmp::stop {}).await,
            Kind::Kill => self.sysrq("i").await,
            Kind::Panic => self.sysrq("c").await,
            // It is in the machine's arguments.
            Kind::ClockOff | Kind::ServerStops | Kind::ServerResumes | Kind::ServerLies => Ok(()),
        }?;
        Ok(true)
    }

    /// Returns how many bytes were written to a disk since the machine was switched on.
    pub(crate) async fn written(&mut self, disk: &str) -> Result<u64, GuestError> {
        let found = self.qmp.execute(QueryBlockstats {}).await.map_err(GuestError::qmp("tell"))?;
        let found = found.into_iter().find(|one| one.node_name.as_deref() == Some(disk));
        Ok(found.map_or(0, |found| found.stats.wr_bytes))
    }

    /// Sends a magic key over the serial console (Linux, `admin-guide/sysrq.rst`).
    async fn sysrq(&mut self, key: &str) -> Result<(), GuestError> {
        let attention = qapi::qmp::chardev_send_break { id: "serial".to_owned() };
        self.ask("send a break", attention).await?;
        self.send_serial(key).await
    }

    /// Plugs in the late disks, the first of them into the first slot.
    pub(crate) async fn plug_late(&mut self, disks: &[Disk]) -> Result<(), GuestError> {
        let late = disks.iter().filter(|disk| disk.plugged == Plugged::Late);
        for (disk, slot) in late.zip(FIRST_LATE_SLOT..) {
            let mut device = json!({
                "driver": "virtio-blk-pci", "id": format!("disk-{}", disk.id), "drive": disk.id,
                "addr": format!("{slot:#x}"), "rerror": "report", "werror": "report",
            });
            if let Some(serial) = &disk.serial {
                device["serial"] = serial.as_str().into();
            }
            let command = "plug a disk in";
            let add: qapi::qmp::device_add = options(command, device)?;
            self.ask(command, add).await?;
        }
        Ok(())
    }

    /// Plugs in the late network cards.
    pub(crate) async fn plug_late_cards(&mut self, machine: &Machine) -> Result<(), GuestError> {
        let Network::Cables(cables) = &machine.network else { return Ok(()) };
        let all = cables.iter().enumerate();
        for (number, cable) in all.filter(|(_, cable)| cable.plugged == Plugged::Late) {
            let device = json!({
                "driver": card_name(machine.board.network_card), "netdev": link_name(number),
                "mac": cable.mac, "addr": format!("{:#x}", cable.slot), "romfile": "",
            });
            let command = "plug a network card in";
            let add: qapi::qmp::device_add = options(command, device)?;
            self.ask(command, add).await?;
        }
        Ok(())
    }

    /// Makes a stopped machine that wants to restart do so.
    ///
    /// It continues after the [`Event::Reset`] that follows, and also if it resets itself again.
    ///
    /// By default QEMU takes every reset for a request to end, even one that it is asked for
    /// (`-action reboot=shutdown`).
    pub(crate) async fn restart(&mut self) -> Result<(), GuestError> {
        self.on_reboot(RebootAction::reset).await?;
        self.ask("reset the machine", qapi::qmp::system_reset {}).await
    }

    /// Presses the power button (ACPI), which a system may listen to.
    pub(crate) async fn press_power_button(&mut self) -> Result<(), GuestError> {
        self.ask("press the power button", qapi::qmp::system_powerdown {}).await
    }

    /// Makes the next reset of a restarted machine its end again.
    pub(crate) async fn restarted(&mut self) -> Result<(), GuestError> {
        self.on_reboot(RebootAction::shutdown).await
    }

    async fn on_reboot(&mut self, action: RebootAction) -> Result<(), GuestError> {
        let action = qapi::qmp::set_action {
            reboot: Some(action),
            shutdown: None,
            panic: None,
            watchdog: None,
        };
        self.ask("set the action of a reset", action).await
    }

    /// Makes all requests of a kind fail from now on, by a filter that takes the image's place.
    async fn fail(&mut self, disk: &str, requests: &str, errno: i32) -> Result<(), GuestError> {
        let (filter, image) = (format!("{disk}-{requests}-error"), format!("{disk}-image"));
        let rule = json!({ "event": "none", "iotype": requests, "errno": errno });
        let node = json!({
            "driver": "blkdebug", "node-name": filter, "image": image, "inject-error": [rule],
        });
        let add = qapi::qmp::blockdev_add(options("add a failing disk", node)?);
        self.ask("add a failing disk", add).await?;
        let throttle = json!({
            "driver": "throttle", "node-name": disk, "throttle-group": format!("{disk}-limits"),
            "file": filter,
        });
        let options = vec![options("let the disk fail", throttle)?];
        self.ask("let the disk fail", qapi::qmp::blockdev_reopen { options }).await
    }

    pub(super) async fn ask<C>(&mut self, what: &'static str, command: C) -> Result<(), GuestError>
    where
        C: qapi::qmp::QmpCommand,
    {
        self.qmp.execute(command).await.map_err(GuestError::qmp(what))?;
        Ok(())
    }
}

/// Reads options in the form that QMP uses.
fn options<T: DeserializeOwned>(command: &'static str, node: Value) -> Result<T, GuestError> {
    let reason = |error: serde_json::Error| GuestError::Qmp { command, reason: error.to_string() };
    serde_json::from_value(node).map_err(reason)
}
