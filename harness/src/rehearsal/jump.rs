//! Boots the old system, copies everything into it, and makes it jump.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::old_system::{INSIDE, OldSystem, Up, bring_anemos, inside};
use crate::chain::{Aim, End, Link, Seen, Timed};
use crate::classify::Class;
use crate::command::{CommandError, quote};
use crate::drive::Drive;
use crate::drive::error::DirectError;
use crate::drive::outside::{Outside, Slot};
use crate::evidence::SAID;
use crate::fault::{self, Fault, Struck};
use crate::file::{FileError, whole};
use crate::fixture::cache::Ready;
use crate::host::Host;
use crate::machine::setup::Way;
use crate::machine::{Board, Disk};
use crate::ssh::{self, Ssh};
use crate::verdict::Verdict;

/// What the old system does.
#[derive(Clone, Debug)]
pub(crate) struct Jump<'a> {
    pub(crate) fixture: &'a Ready,
    pub(crate) payload: &'a Path,
    pub(crate) config: Option<&'a Path>,
    pub(crate) board: Board,
    pub(crate) memory_mib: u32,
    /// The faults that strike the machine.
    pub(crate) faults: &'a [Fault],
    /// What it is connected to.
    pub(crate) outside: &'a Outside,
    /// Whether the facts of the old system are kept with the evidence.
    pub(crate) keep_facts: bool,
    /// The slots of its network cards.
    pub(crate) slots: [Slot; 2],
    /// How the deploy environment is entered.
    pub(crate) way: Way,
    /// How far the deployment goes.
    pub(crate) aim: Aim,
    /// What root runs on the old system first.
    pub(crate) prepare: Option<&'a str>,
    /// What root runs in a rescue, instead of asking for its status.
    pub(crate) rescue: Option<&'a str>,
    pub(crate) disks: Vec<Disk>,
    /// The first of them, which does not exist yet.
    pub(crate) disk: &'a Path,
    /// Its size in bytes, at least that of the fixture's.
    pub(crate) disk_size: u64,
    /// File for the host keys of the guest.
    pub(crate) known_hosts: &'a Path,
}

/// How the way through the old system ended.
#[derive(Debug)]
pub(crate) struct Jumped {
    pub(crate) end: End,
    pub(crate) times: Vec<Timed>,
    pub(crate) old_root: Option<String>,
    /// The length of the log of writes at the jump.
    pub(crate) log_at_jump: u64,
    /// How far the machine had come when the first fault struck.
    pub(crate) struck: Option<Struck>,
}

/// Does everything up to the reset, or to what went wrong.
pub(crate) async fn deploy(
    host: &Host,
    jump: &Jump<'_>,
    folder: &Path,
) -> Result<Jumped, DirectError> {
    let mut machine = host.machine(&jump.board, jump.memory_mib, &[]);
    let doors = jump.outside.plug(&mut machine, &[ssh::PORT], jump.slots);
    let doors = doors.map_err(FileError::new("plugging the cables in"))?;
    machine.disks.clone_from(&jump.disks);
    machine.clock = fault::clock(jump.faults);
    machine.serve(host.server(jump.payload, jump.faults));
    let ssh = Ssh {
        port: doors.to(ssh::PORT).first().copied().unwrap_or_default(),
        user: jump.fixture.description.user.clone(),
        key: jump.fixture.key(),
        known_hosts: jump.known_hosts.to_owned(),
    };
    let Jump { fixture, aim, disk, disk_size, .. } = *jump;
    let old = OldSystem { host, fixture, aim, machine, disk, disk_size, ssh: &ssh, folder };
    let (mut drive, end, holds_anemos) = match old.start().await? {
        Ok(Up { mut drive, holds_anemos }) => {
            drive.guest.plug_late(&jump.disks).await?;
            drive.guest.plug_late_cards(&old.machine).await?;
            let end = take_in(&mut drive, jump, &ssh, folder).await;
            (drive, end, holds_anemos)
        }
        Err(failed) => (failed.drive, Some(failed.end), false),
    };
    let missing = (!holds_anemos).then_some(&host.anemos);
    let end = match end {
        Some(end) => Ok(end),
        None => through(&mut drive, jump, &ssh, missing, folder).await,
    };
    let end = end.map_err(FileError::new("keeping what anemos deploy says"))?;
    let (times, old_root) =
        (drive.chain.times().to_vec(), drive.chain.old_root().map(str::to_owned));
    let (log_at_jump, struck) = (drive.log_at_jump(), drive.struck.clone());
    drive.guest.quit().await;
    Ok(Jumped { end, times, old_root, log_at_jump, struck })
}

/// The file with the facts of the old system, in the folder of its evidence.
pub(super) const FACTS: &str = "facts.json";

/// Applies the topology, if there is one, to router and old system.
async fn take_in(drive: &mut Drive<'_>, jump: &Jump<'_>, ssh: &Ssh, folder: &Path) -> Option<End> {
    let Outside::Router(router) = jump.outside else { return None };
    drive.host.progress.step("old system: getting its network");
    match drive.meanwhile(router.take_in(drive.host, ssh, sudo(jump), folder)).await {
        Ok(Ok(())) => None,
        Ok(Err(verdict)) => Some(End::Failed(verdict)),
        Err(end) => Some(*end),
    }
}

async fn through(
    drive: &mut Drive<'_>,
    jump: &Jump<'_>,
    ssh: &Ssh,
    missing: Option<&PathBuf>,
    folder: &Path,
) -> io::Result<End> {
    let log = &folder.join(SAID);
    match drive.meanwhile(push(ssh, missing, jump)).await {
        Err(end) => return Ok(*end),
        Ok(Err(error)) => return Ok(unreachable(&error)),
        Ok(Ok(())) => drive.tell(&Seen::Pushed),
    };
    if jump.keep_facts {
        let gathered =
            drive.meanwhile(ssh.run(&format!("{}{INSIDE}/anemos facts", sudo(jump)))).await;
        match gathered {
            Err(end) => return Ok(*end),
            Ok(Err(error)) => return Ok(unreachable(&error)),
            Ok(Ok(output)) => fs::write(log.with_file_name(FACTS), output.stdout)?,
        }
    }
    match ssh.start(&command_line(jump), File::create(log)?) {
        Err(error) => return Ok(unreachable(&error)),
        Ok(child) => drive.attend(child, log),
    }
    drive.tell(&Seen::CommandStarted);
    drive.expect_faults(jump.faults);
    drive.mark_jump_in(jump.disks.iter().find_map(|disk| disk.log.clone()));
    let end = drive.follow(Link::Reset).await.unwrap_or(End::Deployed);
    Ok(match end {
        End::Failed(verdict) if verdict.class == Some(Class::Rescue) => {
            in_rescue(drive, jump, ssh, verdict).await
        }
        end => end,
    })
}

/// Logs in to a rescue with the key of the old system; its host keys must be the old ones, too.
async fn in_rescue(drive: &mut Drive<'_>, jump: &Jump<'_>, ssh: &Ssh, verdict: Verdict) -> End {
    let mut verdict = verdict;
    let ssh = Ssh { user: "root".to_owned(), ..ssh.clone() };
    drive.host.progress.step("rescue: logging in");
    let said = async {
        ssh.reach("true").await;
        ssh.run(jump.rescue.unwrap_or("anemos status")).await
    };
    let patience = drive.host.budget("an answer of the rescue", 6, 6).cap;
    let said = tokio::time::timeout(patience, said).await;
    verdict.rescue_answers = Some(said.is_ok());
    let struck = drive.struck.as_ref().filter(|_| said.is_ok());
    verdict.answers_after_secs = struck.map(|struck| drive.host.at() - struck.at);
    match said {
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            verdict.evidence.extend(text.lines().map(|line| format!("rescue: {line}")));
        }
        Ok(Err(error)) => verdict.evidence.push(format!("rescue: {}", whole(&error))),
        Err(_elapsed) => verdict.evidence.push("rescue: no answer by SSH".to_owned()),
    }
    if jump.rescue.is_none() || verdict.rescue_answers == Some(false) {
        return End::Failed(verdict);
    }
    drive.chain.again();
    drive.follow(Link::Reset).await.unwrap_or(End::Deployed)
}

fn unreachable(error: &CommandError) -> End {
    let reason = format!("the old system could not be reached: {}", whole(&error));
    End::Failed(Verdict::broken(Class::FixtureFailed, reason, Vec::new()))
}

/// Copies what is not there yet: `anemos`, configuration and payload.
async fn push(ssh: &Ssh, anemos: Option<&PathBuf>, jump: &Jump<'_>) -> Result<(), CommandError> {
    if let Some(anemos) = anemos {
        bring_anemos(ssh, anemos).await?;
    }
    if let Some(config) = jump.config {
        ssh.push(config, &inside("anemos.toml"), "600").await?;
    }
    ssh.push(jump.payload, &inside(&payload_name(jump)), "600").await?;
    // If a payload is signed, its signature is next to it (minisign(1)).
    let mut signature = jump.payload.as_os_str().to_owned();
    signature.push(".minisig");
    let signature = Path::new(&signature);
    if signature.exists() {
        ssh.push(signature, &inside(&format!("{}.minisig", payload_name(jump))), "600").await?;
    }
    if let Some(prepare) = jump.prepare {
        ssh.run(&format!("{}sh -c {}", sudo(jump), quote(prepare))).await?;
    }
    Ok(())
}

fn sudo(jump: &Jump<'_>) -> &'static str {
    as_root(&jump.fixture.description.user)
}

/// Returns what a user of the guest puts before a command for root.
fn as_root(user: &str) -> &'static str {
    if user == "root" { "" } else { "sudo " }
}

/// Returns the command that asks the old system about the result, for this user of it.
pub(crate) fn ask_for_status(user: &str) -> String {
    format!("{}{INSIDE}/anemos status", as_root(user))
}

/// Returns the name of the payload, which people and messages know it by.
fn payload_name(jump: &Jump<'_>) -> String {
    let name = jump.payload.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn command_line(jump: &Jump<'_>) -> String {
    let config = if jump.config.is_some() { "-c anemos.toml " } else { "" };
    let entry = jump.way.method().map(|method| format!("--entry {method} ")).unwrap_or_default();
    let payload = quote(&format!("./{}", payload_name(jump)));
    let aim = match jump.aim {
        Aim::Deployment => "",
        Aim::Rehearsal => "--rehearse ",
    };
    format!("cd {INSIDE} && {}./anemos deploy --yes {aim}{config}{entry}{payload}", sudo(jump))
}
