//! Starts a fresh guest with only the disks, and judges it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::judge::{Expectation, Judge};
use super::questions::{Checkup, Question};
use crate::budget::Watch;
use crate::chain::Seen;
use crate::classify::Class;
use crate::drive::activity::Activity;
use crate::drive::outside::{Outside, Slot};
use crate::drive::{host_disk_failed, qemu_died, seen};
use crate::file::FileError;
use crate::guest::{Event, Guest, GuestError, What};
use crate::host::Host;
use crate::machine::{Board, Disk};
use crate::ssh;
use crate::verdict::{Ending, Verdict};

const BEAT: Duration = Duration::from_millis(250);
/// Bytes that a disk moves before they count as progress.
///
/// A system that waits in vain still writes its journal: some tens of kibibytes every few seconds.
const MOVED: u64 = 4 << 20;

/// The machine that the disks are put into.
#[derive(Clone, Debug)]
pub(crate) struct Fresh<'a> {
    pub(crate) board: Board,
    /// What it is connected to.
    pub(crate) outside: &'a Outside,
    /// The slots of its network cards.
    pub(crate) slots: [Slot; 2],
    pub(crate) memory_mib: u32,
    pub(crate) disks: Vec<Disk>,
    /// The name of the guest in the evidence and in the progress.
    pub(crate) name: &'static str,
    /// The questions that it must answer when it is up.
    pub(super) questions: Vec<Question>,
    /// How to log in to it when it is up, to see how it is.
    pub(super) checkup: Option<Checkup>,
    /// The command of the server, for a system that is updated from what it was installed from.
    pub(crate) server: Option<String>,
    /// How it ends once it has passed.
    pub(crate) end: TurnOff,
}

/// How the machine is turned off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TurnOff {
    /// At once, when everything is known.
    AtOnce,
    /// By its power button, which the system must listen to.
    ByButton,
}

/// The name of the new system's guest.
pub(crate) const NEW_SYSTEM: &str = "new-system";
/// The name of the same guest when it boots for the second time.
pub(crate) const NEW_SYSTEM_AGAIN: &str = "new-system-again";

impl Fresh<'_> {
    fn logs_in(&self) -> bool {
        !self.questions.is_empty() || self.checkup.is_some()
    }
}

/// Returns whether the root of a system is the old one's; `/dev/vda1` is the same anywhere.
fn is_old(old: Option<&str>, root: Option<&str>) -> bool {
    root.is_some() && root == old && root.is_some_and(|root| root.contains("UUID="))
}

/// Boots the disks, and judges what happens.
pub(crate) async fn judge(
    host: &Host,
    fresh: Fresh<'_>,
    expectation: Expectation,
    folder: &Path,
) -> Result<Verdict, GuestError> {
    host.progress.step(format!("{}: booting from its disk", fresh.name.replace('-', " ")));
    let mut machine = host.machine(&fresh.board, fresh.memory_mib, &[]);
    let port = expectation.tcp.or(expectation.ssh.then_some(ssh::PORT));
    let wanted: BTreeSet<_> =
        port.into_iter().chain(fresh.logs_in().then_some(ssh::PORT)).collect();
    let wanted: Vec<_> = wanted.into_iter().collect();
    let doors = fresh.outside.plug(&mut machine, &wanted, fresh.slots);
    let doors = doors.map_err(FileError::new("finding a free port"))?;
    let logs_in = fresh.logs_in();
    if let Some(server) = fresh.server {
        machine.serve(server);
    }
    machine.disks = fresh.disks;
    let mut guest = Guest::start(&machine, folder, fresh.name).await?;
    let old_root = expectation.old_root.clone();
    let judge = Judge::new(expectation);
    let ports = port.map(|port| doors.to(port).to_vec()).unwrap_or_default();
    let mut verdict = watch_it(host, &mut guest, judge, (port, ports)).await?;
    if let (true, Some(port), Ending::Passed) =
        (logs_in, doors.to(ssh::PORT).first(), verdict.verdict)
    {
        for question in &fresh.questions {
            let answer = question.put(host, &mut guest, *port).await;
            verdict.evidence.extend(answer.lines);
            if let Some(reason) = answer.failed {
                (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::Expectation));
                verdict.reason = reason;
                break;
            }
        }
        if let Some(checkup) = &fresh.checkup {
            let found = checkup.run(host, &mut guest, *port, folder).await;
            verdict.warnings.extend(found.warnings);
            if is_old(old_root.as_deref(), found.root.as_deref()) {
                (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::OldSystem));
                verdict.old_system_back = Some(true);
                "the old system came back: it answers by SSH".clone_into(&mut verdict.reason);
            }
        }
    }
    if fresh.end == TurnOff::ByButton && verdict.verdict == Ending::Passed {
        guest.press_power_button().await?;
        if !turns_off(host, &mut guest).await {
            (verdict.verdict, verdict.class) = (Ending::Failed, Some(Class::Expectation));
            let reason = "the new system does not turn off when its power button is pressed";
            reason.clone_into(&mut verdict.reason);
        }
    }
    guest.quit().await;
    Ok(verdict)
}

/// Waits until the machine is off, which a reset is not; returns whether it is.
async fn turns_off(host: &Host, guest: &mut Guest) -> bool {
    host.progress.step("new system: its power button is pressed");
    let until = guest.now() + host.budget("turning off", 90, 6).cap;
    while guest.now() < until {
        match guest.next(Instant::now() + BEAT).await.map(|observation| observation.what) {
            Some(What::Event(Event::Shutdown { reason })) => return reason != "guest-reset",
            Some(What::Ended(_)) => return true,
            _ => {}
        }
    }
    false
}

async fn watch_it(
    host: &Host,
    guest: &mut Guest,
    mut judge: Judge,
    (port, ports): (Option<u16>, Vec<u16>),
) -> Result<Verdict, GuestError> {
    let mut door = Door::knock(ports);
    let mut watch = Watch::begin(host.budget("the new system", 180, 12), guest.now());
    let (mut resets, mut held) = (Resets::new(), false);
    loop {
        let next = guest.next(Instant::now() + BEAT).await;
        if door.answers() {
            judge.observe(host.at(), &Seen::Connected(port.unwrap_or(ssh::PORT)));
        }
        match resets.take(host, guest, &mut judge, next.map(|next| next.what)).await? {
            Step::Ended(verdict) => return Ok(*verdict),
            Step::Progress => watch.progress(guest.now()),
            Step::Nothing => {}
            Step::BootsAgain => {
                host.progress.step("new system: reset itself, boots again");
                held = false;
                door = Door::knock(std::mem::take(&mut door.ports));
                watch = Watch::begin(host.budget("the new system", 180, 12), guest.now());
            }
        }
        if judge.holds() && !held {
            held = true;
            host.progress.step("new system: is up, must hold");
        }
        if let Some(verdict) = judge.tick(host.at()) {
            return Ok(verdict);
        }
        let silent = judge.must_speak() && !judge.heard() && guest.ran() > host.silence();
        if silent && !resets.restarting {
            let (waited, activity) = (guest.elapsed().as_secs(), guest.activity().await);
            let waited = format!("nothing but the firmware for {waited}s; {activity}");
            return Ok(judge.gave_up(&waited));
        }
        // A system that is up only has to hold, and the judge says when it did.
        if judge.holds() {
            host.progress.tick();
            continue;
        }
        if let Some(gave_up) = watch.expired(guest.now()) {
            return Ok(judge.gave_up(&format!("{gave_up}; {}", guest.activity().await)));
        }
        if host.is_over() {
            return Ok(judge.gave_up("the time given for the whole run is over"));
        }
        host.progress.tick();
    }
}

/// What one observation led to.
enum Step {
    Nothing,
    Progress,
    /// The machine was reset, and boots again.
    BootsAgain,
    Ended(Box<Verdict>),
}

/// A machine that stands still when it resets itself, and what it needs to go on.
struct Resets {
    /// It wants to restart; its last lines may not have been read yet.
    stopped: bool,
    /// It was restarted, and no kernel was heard since: it goes on if it is reset.
    restarting: bool,
    activity: Activity,
}

impl Resets {
    fn new() -> Self {
        Self { stopped: false, restarting: false, activity: Activity::new(MOVED) }
    }

    async fn take(
        &mut self,
        host: &Host,
        guest: &mut Guest,
        judge: &mut Judge,
        next: Option<What>,
    ) -> Result<Step, GuestError> {
        let ended = |verdict| Ok(Step::Ended(Box::new(verdict)));
        let step = match next {
            Some(What::Event(Event::Shutdown { reason })) if reason == "guest-reset" => {
                self.stopped = true;
                Step::Nothing
            }
            None if self.stopped => {
                if let Some(verdict) = judge.observe(host.at(), &Seen::Reset) {
                    return ended(verdict);
                }
                (self.stopped, self.restarting) = (false, true);
                guest.restart().await?;
                Step::BootsAgain
            }
            Some(What::Event(Event::Reset)) => {
                if self.restarting {
                    guest.go_on().await?;
                }
                match judge.observe(host.at(), &Seen::Reset) {
                    Some(verdict) => return ended(verdict),
                    None if self.restarting => Step::Nothing,
                    // A watchdog resets a machine without asking.
                    None => Step::BootsAgain,
                }
            }
            Some(what) => match look(host, judge, &what) {
                Some(verdict) => return ended(verdict),
                None if self.activity.shows(&what) => Step::Progress,
                None => Step::Nothing,
            },
            None => Step::Nothing,
        };
        if self.restarting && judge.started() {
            self.restarting = false;
            guest.restarted().await?;
        }
        Ok(step)
    }
}

/// Ports of the guest that are tried until something answers.
struct Door {
    ports: Vec<u16>,
    answered: watch::Receiver<bool>,
    knocking: JoinHandle<()>,
}

impl Door {
    fn knock(ports: Vec<u16>) -> Self {
        let (answered, answers) = watch::channel(false);
        let knocking = tokio::spawn(knock(ports.clone(), answered));
        Self { ports, answered: answers, knocking }
    }

    fn answers(&self) -> bool {
        !self.ports.is_empty() && *self.answered.borrow()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.knocking.abort();
    }
}

fn look(host: &Host, judge: &mut Judge, what: &What) -> Option<Verdict> {
    match what {
        What::Ended(ended) => Some(qemu_died(ended)),
        What::Event(Event::BlockIoError { .. }) => host_disk_failed(what),
        What::Screen(screen) => judge.screen(host.at(), screen.rows.clone()),
        what => seen(what).and_then(|seen| judge.observe(host.at(), &seen)),
    }
}

/// Tries each port of the guest until something answers.
///
/// QEMU accepts connections for the guest before the guest does, so only bytes from the guest
/// count: a server's greeting, or its answer to a request.
async fn knock(ports: Vec<u16>, answered: watch::Sender<bool>) {
    for port in ports {
        while !answers(port).await {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
    answered.send_replace(true);
}

async fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut byte = [0];
    if let Ok(greeting) = timeout(Duration::from_secs(10), stream.read(&mut byte)).await {
        return greeting.is_ok_and(|len| len > 0);
    }
    let request = b"GET / HTTP/1.0\r\n\r\n";
    if stream.write_all(request).await.is_err() {
        return false;
    }
    let answer = timeout(Duration::from_secs(20), stream.read(&mut byte)).await;
    answer.is_ok_and(|read| read.is_ok_and(|len| len > 0))
}
