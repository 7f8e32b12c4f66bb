//! Guests that are kept at their login prompt, so that a rehearsal need not boot the old system.
//!
//! Each is a migration stream of QEMU, next to the disk as it was at that moment. It only fits the
//! same machine on the same QEMU: the digest of all of that is part of its name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::command::{Command, CommandError};
use crate::fixture::cache::Ready;
use crate::guest::{Guest, GuestError};
use crate::host::lock;
use crate::machine::args::{PROGRAM, Wiring, render};
use crate::machine::setup::Bus;
use crate::machine::{Boot, Machine, MachineError, Network, Platform};
use crate::progress::Progress;

/// Raised if what is done before a guest is kept changes, which no digest shows.
const RECIPE: &str = "anemos saved guest 2";
/// The migration stream, compressed: a third of the size, and no slower to read.
const STATE: &str = "state.zst";
const DISK: &str = "disk.qcow2";
const VARIABLES: &str = "variables.fd";
const PROOF: &str = "proof.json";
const TRANSCRIPT: &str = "old-system.console.log";

/// What the chain must know about a boot that it did not see.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Proof {
    /// `root=` from the old system's kernel command line.
    pub(crate) old_root: Option<String>,
    /// The digest of the `anemos` that it already holds.
    pub(crate) anemos: String,
}

/// The place of a saved guest, whether or not it is there.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    folder: PathBuf,
}

/// Returns the digest of a program, by which a kept guest knows that it holds the same one.
pub(crate) fn digest_of(program: &Path) -> io::Result<String> {
    let mut digest = Sha256::new();
    io::copy(&mut fs::File::open(program)?, &mut digest)?;
    Ok(format!("{:x}", digest.finalize()))
}

/// Why a guest cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SaveError {
    /// The machine cannot be rendered.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// QEMU failed.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// A file operation failed.
    #[error("keeping the guest: {0}")]
    File(#[from] io::Error),
}

/// Returns why a machine cannot be saved, or `None` if it can.
pub(crate) fn obstacle(machine: &Machine) -> Option<&'static str> {
    let nvme = machine.disks.iter().any(|disk| disk.bus == Bus::Nvme);
    nvme.then_some("QEMU cannot save a machine with an NVMe disk")
}

/// Finds the place for a machine that boots a fixture.
pub(crate) async fn place(
    cache: &Path,
    fixture: &Ready,
    machine: &Machine,
    disk_size: u64,
) -> Result<Place, SaveError> {
    let version = Command::new(PROGRAM).arg("--version").run().await?.text();
    let name = fixture.folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // A fixture that was built anew from the same inputs has another key, and another disk.
    let key = fs::read_to_string(fixture.folder.join("key.pub")).unwrap_or_default();
    let digest = digest(&format!("{name} {}", key.trim()), &version, machine, disk_size)?;
    Ok(Place { folder: cache.join("saved").join(format!("{name}-{}", &digest[..16])) })
}

/// Returns the digest of everything that a saved guest depends on, except what differs by run.
fn digest(
    fixture: &str,
    version: &str,
    machine: &Machine,
    disk_size: u64,
) -> Result<String, MachineError> {
    let mut machine = machine.clone();
    for disk in &mut machine.disks {
        disk.image = PathBuf::from(&disk.id);
        // The log does not belong to the machine.
        disk.log = None;
    }
    match &mut machine.network {
        Network::User { forwards, server, .. } => {
            forwards.clear();
            *server = None;
        }
        // Whatever its topology will be: the router imitates QEMU's own network at first. That one
        // has a state of its own, though, which a guest with cables cannot take.
        Network::Cables(cables) => {
            for cable in cables {
                cable.socket = cable.mac.clone().into();
            }
        }
        Network::None | Network::Router(_) => {}
    }
    if let Platform::Uefi(flash) = &mut machine.board.platform {
        flash.variables = VARIABLES.into();
    }
    let arguments = render(&machine, &Wiring::Terminal)?.join("\n");
    let mut digest = Sha256::new();
    for part in [RECIPE, fixture, version, &arguments, &disk_size.to_string()] {
        digest.update(format!("{} {part}\n", part.len()));
    }
    Ok(format!("{:x}", digest.finalize()))
}

impl Place {
    /// Returns whether a guest is kept here: it is moved here as the last step.
    pub(crate) fn is_taken(&self) -> bool {
        self.folder.is_dir()
    }

    /// Waits until nobody else is about to keep a guest here; the file is the lock.
    pub(crate) async fn lock(&self, progress: &Progress) -> io::Result<fs::File> {
        let saved = self.folder.parent().unwrap_or(&self.folder);
        fs::create_dir_all(saved)?;
        let path = saved.join(format!(".{}.lock", name_of(&self.folder)));
        lock::take(progress, &path, "a guest at its prompt").await
    }

    /// Returns the disk as it was when the guest was saved; it is never written.
    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.join(DISK)
    }

    /// Copies the variables of the firmware to where the machine has them.
    pub(crate) fn bring_variables(&self, platform: &Platform) -> io::Result<()> {
        if let Platform::Uefi(flash) = platform {
            fs::copy(self.folder.join(VARIABLES), &flash.variables)?;
        }
        Ok(())
    }

    /// Returns the machine as it is when it continues from here.
    pub(crate) fn resumed(&self, machine: Machine) -> Machine {
        machine.boot(Boot::Saved { state: self.folder.join(STATE) })
    }

    /// Returns what was proved when the guest booted, and leaves its transcript in `evidence`.
    pub(crate) fn proof(&self, evidence: &Path) -> io::Result<Proof> {
        fs::copy(self.folder.join(TRANSCRIPT), evidence.join("old-system.kept.console.log"))?;
        let text = fs::read_to_string(self.folder.join(PROOF))?;
        serde_json::from_str(&text).map_err(io::Error::from)
    }

    /// Removes a guest that did not continue from here.
    pub(crate) fn forget(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }

    /// Keeps a guest as it is now, and lets it continue.
    ///
    /// If another run keeps the same guest first, this one is dropped. Guests of other editions of
    /// the fixture are removed.
    pub(crate) async fn keep(
        &self,
        guest: &mut Guest,
        machine: &Machine,
        proof: &Proof,
        evidence: &Path,
    ) -> Result<(), SaveError> {
        let saved = self.folder.parent().unwrap_or(&self.folder);
        fs::create_dir_all(saved)?;
        let aside = tempfile::Builder::new().prefix(".keeping-").tempdir_in(saved)?;
        guest.save(&aside.path().join(STATE)).await?;
        if let Some(system) = machine.disks.first() {
            let copy = Command::new("cp").args(["--sparse=always", "--"]).arg(&system.image);
            copy.arg(aside.path().join(DISK)).run().await?;
        }
        if let Platform::Uefi(flash) = &machine.board.platform {
            fs::copy(&flash.variables, aside.path().join(VARIABLES))?;
        }
        guest.go_on().await?;
        fs::copy(evidence.join(TRANSCRIPT), aside.path().join(TRANSCRIPT))?;
        fs::write(
            aside.path().join(PROOF),
            serde_json::to_string(proof).map_err(io::Error::from)?,
        )?;
        remove_other_editions(saved, &self.folder)?;
        let made = aside.keep();
        if fs::rename(&made, &self.folder).is_err() {
            fs::remove_dir_all(&made)?;
        }
        Ok(())
    }
}

/// Removes guests of the same fixture made from other inputs: nobody will ask for them.
///
/// A run of another edition may be continuing from one now, but takes less than a day.
fn remove_other_editions(saved: &Path, place: &Path) -> io::Result<()> {
    for entry in fs::read_dir(saved)? {
        let entry = entry?;
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        let other = is_other_edition(&entry.file_name().to_string_lossy(), &name_of(place));
        if other && age > Duration::from_hours(24) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn name_of(place: &Path) -> String {
    place.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns whether `FIXTURE-DIGEST-DIGEST` is the same fixture with another first digest.
fn is_other_edition(name: &str, ours: &str) -> bool {
    fn parts(name: &str) -> Option<(&str, &str)> {
        let (edition, _machine) = name.rsplit_once('-')?;
        edition.rsplit_once('-')
    }
    match (parts(name), parts(ours)) {
        (Some((fixture, digest)), Some((our_fixture, our_digest))) => {
            fixture == our_fixture && digest != our_digest
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Cable, Disk, Forward, Plugged};

    fn machine() -> Machine {
        let forwards = vec![Forward { host_port: 2222, guest_port: 22 }];
        let mac = "52:54:00:12:34:56".to_owned();
        let network = Network::User { mac, forwards, server: None };
        Machine::new().network(network).disk(Disk::new("system", "/run/1/disk").boot_index(0))
    }

    #[test]
    fn the_digest_knows_the_machine_and_not_the_run() {
        let of = |machine: &Machine| digest("debian-12-01", "7.2", machine, 4).unwrap();
        let first = of(&machine());
        let mut other_run = machine();
        other_run.disks[0].image = "/run/2/disk".into();
        let forwards = vec![Forward { host_port: 3333, guest_port: 22 }];
        let mac = "52:54:00:12:34:56".to_owned();
        other_run.network = Network::User { mac, forwards, server: Some("serve".to_owned()) };
        assert_eq!(of(&other_run), first, "another run");
        let cables = |socket: &str| {
            let cable = Cable {
                mac: "52:54:00:12:34:56".into(),
                slot: 16,
                socket: socket.into(),
                plugged: Plugged::AtStart,
            };
            machine().network(Network::Cables(vec![cable]))
        };
        assert_eq!(of(&cables("/run/1/link-0")), of(&cables("/run/2/link-0")), "another router");
        for (machine, what) in [
            (cables("/run/1/link-0"), "cables"),
            (machine().memory_mib(512), "memory"),
            (machine().cpus(2), "processors"),
            (machine().disk(Disk::new("more", "/d")), "disks"),
        ] {
            assert_ne!(of(&machine), first, "{what}");
        }
        assert_ne!(digest("debian-12-02", "7.2", &machine(), 4).unwrap(), first, "fixture");
        assert_ne!(digest("debian-12-01", "8.0", &machine(), 4).unwrap(), first, "QEMU");
        assert_ne!(digest("debian-12-01", "7.2", &machine(), 8).unwrap(), first, "size");
    }

    #[test]
    fn only_nvme_is_in_the_way() {
        assert_eq!(obstacle(&machine()), None);
        let nvme = machine().disk(Disk::new("a", "/a").bus(Bus::Nvme));
        assert_eq!(obstacle(&nvme), Some("QEMU cannot save a machine with an NVMe disk"));
    }

    #[test]
    fn other_editions_are_told_by_the_digest_of_the_fixture() {
        let ours = "debian-12-aaaa-1111";
        for (name, want) in [
            ("debian-12-aaaa-2222", false),
            ("debian-12-bbbb-1111", true),
            ("debian-12-generic-bbbb-1111", false),
            (".keeping-x", false),
        ] {
            assert_eq!(is_other_edition(name, ours), want, "{name}");
        }
    }
}
