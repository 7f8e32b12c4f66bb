//! Starts the old system, from its disk or from where a guest of it was kept.

use std::io;
use std::path::Path;

use super::saved::{self, Place, Proof, SaveError};
use crate::chain::{Aim, Chain, End, Entry, Link, Route, Seen};
use crate::classify::Class;
use crate::command::CommandError;
use crate::drive::Drive;
use crate::drive::error::DirectError;
use crate::file::{FileError, whole};
use crate::fixture::cache::Ready;
use crate::guest::Guest;
use crate::host::{Host, Start};
use crate::image;
use crate::machine::{Format, Machine};
use crate::ssh::Ssh;
use crate::verdict::Verdict;

/// Gives a kept guest the present time and new random numbers.
///
/// Fresh bytes are mixed in, and if there is a perl that can, the generator takes them at once
/// (`RNDRESEEDCRNG` of random(4)).
const RENEW: &str = "head -c 512 /dev/hwrng >/dev/urandom 2>/dev/null; \
    perl -e 'open my $f, \">\", \"/dev/urandom\"; ioctl $f, 0x5207, 0' 2>/dev/null; true";

/// Folder in the home of the guest's user that everything is copied to.
pub(super) const INSIDE: &str = "anemos-rehearsal";

/// The old system, with how to start it.
pub(super) struct OldSystem<'a> {
    pub(super) host: &'a Host,
    pub(super) fixture: &'a Ready,
    /// How far the deployment goes.
    pub(super) aim: Aim,
    pub(super) machine: Machine,
    /// Its disk, which does not exist yet.
    pub(super) disk: &'a Path,
    /// The size of its disk in bytes, at least that of the fixture's.
    pub(super) disk_size: u64,
    pub(super) ssh: &'a Ssh,
    pub(super) folder: &'a Path,
}

/// An old system that one can log in to.
pub(super) struct Up<'a> {
    pub(super) drive: Drive<'a>,
    /// Whether it already holds the `anemos` of this run.
    pub(super) holds_anemos: bool,
}

/// An old system that did not come up.
pub(super) struct Failed<'a> {
    pub(super) drive: Drive<'a>,
    pub(super) end: End,
}

impl<'a> OldSystem<'a> {
    /// Starts it, and waits until one can log in to it.
    pub(super) async fn start(&self) -> Result<Result<Up<'a>, Box<Failed<'a>>>, DirectError> {
        let Some(place) = self.place().await else { return self.boot(None).await };
        // Others that need the same guest wait for it instead of booting one as well.
        let mut lock = None;
        if !place.is_taken() {
            let taken = place.lock(&self.host.progress).await;
            lock = Some(taken.map_err(FileError::new("locking the kept guest"))?);
        }
        if place.is_taken() {
            match self.resume(&place).await {
                Ok(up) => return Ok(Ok(up)),
                Err(reason) => self.give_up(&place, &reason),
            }
        }
        let booted = self.boot(Some(&place)).await;
        drop(lock);
        booted
    }

    /// Returns where a guest is kept, or could be; reports why if there is no such place.
    async fn place(&self) -> Option<Place> {
        if self.host.start == Start::Cold {
            return None;
        }
        let (cache, size) = (&self.host.cache, self.disk_size);
        let found = match saved::obstacle(&self.machine) {
            Some(obstacle) => Err(obstacle.to_owned()),
            None => saved::place(cache, self.fixture, &self.machine, size)
                .await
                .map_err(|error| whole(&error)),
        };
        found.map_err(|reason| self.cold(&reason)).ok()
    }

    fn cold(&self, reason: &str) {
        self.host.progress.note(&format!("the old system boots from its disk: {reason}"));
    }

    /// Gives up a kept guest that does not continue, because it is of no use.
    fn give_up(&self, place: &Place, reason: &SaveError) {
        self.cold(&format!("the kept guest does not go on: {}", whole(reason)));
        // What cannot be removed is tried again, and reported again, the next time.
        drop(place.forget());
    }

    async fn resume(&self, place: &Place) -> Result<Up<'a>, SaveError> {
        self.host.progress.step("old system: going on from its prompt");
        image::overlay(self.disk, &std::path::absolute(place.disk())?, Format::Qcow2).await?;
        place.bring_variables(&self.machine.board.platform)?;
        let Proof { old_root, anemos } = place.proof(self.folder)?;
        let holds_anemos = anemos == saved::digest_of(&self.host.anemos)?;
        let machine = place.resumed(self.machine.clone());
        let began = self.host.at();
        let guest = Guest::start(&machine, self.folder, "old-system").await?;
        let mut drive = self.drive(guest, began);
        drive.tell(&Seen::Resumed { old_root });
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.map_err(io::Error::other)?.as_secs();
        let sudo = if self.ssh.user == "root" { "" } else { "sudo " };
        // A clock that is off must stay so.
        let now = if self.machine.clock.is_some() { "true" } else { &format!("date -s @{now}") };
        let renew = format!("{sudo}{now} && {sudo}sh -c {}", crate::command::quote(RENEW));
        match drive.meanwhile(self.ssh.run(&renew)).await {
            Ok(Ok(_said)) => Ok(Up { drive, holds_anemos }),
            Ok(Err(error)) => Err(error.into()),
            Err(_end) => Err(io::Error::other("it does not answer").into()),
        }
    }

    async fn boot(
        &self,
        place: Option<&Place>,
    ) -> Result<Result<Up<'a>, Box<Failed<'a>>>, DirectError> {
        self.host.progress.step("old system: booting");
        // A kept guest that did not go on may have had other host keys at the same port.
        drop(std::fs::remove_file(&self.ssh.known_hosts));
        let made = self.make_disk().await.map_err(io::Error::other);
        made.map_err(FileError::new("making the disk of the old system"))?;
        let began = self.host.at();
        let guest = Guest::start(&self.machine, self.folder, "old-system").await?;
        let mut drive = self.drive(guest, began);
        if let Some(end) = drive.follow(Link::OldSystem).await {
            return Ok(Err(Box::new(Failed { drive, end })));
        }
        let Some(place) = place else { return Ok(Ok(Up { drive, holds_anemos: false })) };
        let settled = match drive.meanwhile(self.settle()).await {
            Ok(settled) => settled.map_err(SaveError::from),
            Err(end) => return Ok(Err(Box::new(Failed { drive, end: *end }))),
        };
        match self.keep(&mut drive, place, settled).await {
            Ok(()) => drop(drive.tell(&Seen::Kept)),
            Err(error) => {
                let reason = format!("the old system could not be kept: {}", whole(&error));
                let verdict = Verdict::broken(Class::FixtureFailed, reason, Vec::new());
                return Ok(Err(Box::new(Failed { drive, end: End::Failed(verdict) })));
            }
        }
        Ok(Ok(Up { drive, holds_anemos: true }))
    }

    /// Waits until everything has started, and brings in what every rehearsal needs: what is done
    /// before a guest is kept need not be done again.
    async fn settle(&self) -> Result<(), CommandError> {
        self.ssh.reach("true").await;
        // A system that says it is degraded, or has no systemd, is as good as any other.
        drop(self.ssh.run("systemctl is-system-running --wait").await);
        bring_anemos(self.ssh, &self.host.anemos).await
    }

    async fn keep(
        &self,
        drive: &mut Drive<'_>,
        place: &Place,
        settled: Result<(), SaveError>,
    ) -> Result<(), SaveError> {
        settled?;
        let old_root = drive.chain.old_root().map(str::to_owned);
        let proof = Proof { old_root, anemos: saved::digest_of(&self.host.anemos)? };
        place.keep(&mut drive.guest, &self.machine, &proof, self.folder).await
    }

    async fn make_disk(&self) -> Result<(), SaveError> {
        // A kept guest that did not continue may have left one.
        drop(std::fs::remove_file(self.disk));
        image::overlay(self.disk, &std::path::absolute(self.fixture.disk())?, Format::Qcow2)
            .await?;
        image::grow(self.disk, self.disk_size).await?;
        Ok(())
    }

    fn drive(&self, guest: Guest, began: f64) -> Drive<'a> {
        let description = &self.fixture.description;
        let (identity, login) = (description.identity.clone(), description.login.clone());
        let route = Route { entry: Entry::Jump, identity, login, aim: self.aim };
        Drive::new(self.host, guest, Chain::new(route, began))
    }
}

/// Copies `anemos` to where rehearsals have it, as soon as the SSH server answers.
pub(super) async fn bring_anemos(ssh: &Ssh, anemos: &Path) -> Result<(), CommandError> {
    ssh.reach(&format!("mkdir -p -m 700 {INSIDE}")).await;
    ssh.push(anemos, &inside("anemos"), "755").await
}

/// Returns the path of a file in that folder.
pub(super) fn inside(name: &str) -> String {
    format!("{INSIDE}/{name}")
}
