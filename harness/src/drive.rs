//! Follows a guest along the chain: reads its sensors, enforces the limits, shows the progress.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::process::Child;

use self::activity::Activity;
use crate::budget::{Budget, Watch};
use crate::chain::{Chain, End, Entry, Link, Seen};
use crate::classify::Class;
use crate::fault::{Fault, Faults, Kind, Progress, Struck};
use crate::file::whole;
use crate::guest::{Ended, Event, Guest, GuestError, What};
use crate::host::Host;
use crate::verdict::Verdict;

pub(crate) mod activity;
pub(crate) mod direct;
pub mod error;
pub(crate) mod outside;
pub mod router;

/// Name of the disk with the system.
pub(crate) const SYSTEM: &str = "system";
/// Bytes that router advertisements and the like may carry without counting as progress.
const CHATTER: u64 = 64 << 10;
/// Bytes that a disk moves before they count as progress.
const MOVED: u64 = 1 << 20;
/// Bytes that reports of the deploy environment for the old system may have.
///
/// They are 16 KiB before each of some stages, in a place that the old system has reserved, and do
/// not count as deployed.
const REPORTS: u64 = 128 << 10;
/// How long a watchdog may need to detect that the kernel hangs; it is longest at the jump.
const WATCHDOG: Duration = Duration::from_mins(4);
/// Longest time between two looks at the clock.
const BEAT: Duration = Duration::from_millis(250);

/// Translates the report of a sensor for the chain and the judge.
pub(crate) fn seen(what: &What) -> Option<Seen> {
    match what {
        What::Line(line) => Some(Seen::Line(line.clone())),
        What::Pending(line) => Some(Seen::Pending(line.clone())),
        What::Firmware(line) => Some(Seen::Firmware(line.clone())),
        What::Event(Event::Reset) => Some(Seen::Reset),
        What::Event(Event::Watchdog) => Some(Seen::Watchdog),
        What::Event(Event::GuestPanicked) => Some(Seen::Panicked),
        What::Event(Event::Shutdown { reason }) => match reason.as_str() {
            "guest-reset" => Some(Seen::Reset),
            "guest-panic" => Some(Seen::Panicked),
            // Somebody else asked QEMU to end; its end is what follows.
            by_host if by_host.starts_with("host-") => None,
            _ => Some(Seen::PoweredOff),
        },
        _ => None,
    }
}

/// Returns the verdict if QEMU ended by itself.
pub(crate) fn qemu_died(ended: &Ended) -> Verdict {
    let status = ended.status.map_or_else(|| "an unknown status".to_owned(), |s| s.to_string());
    let lines = ended.stderr.lines().map(str::to_owned).collect();
    Verdict::broken(Class::QemuDied, format!("QEMU ended by itself with {status}"), lines)
}

/// Returns the verdict if a disk failed without a fault for it; with NVMe QEMU does not report it.
pub(crate) fn host_disk_failed(what: &What) -> Option<Verdict> {
    let What::Event(Event::BlockIoError { disk, operation }) = what else { return None };
    let reason = format!("the host could not {operation} the image of the disk {disk}");
    let mut verdict = Verdict::broken(Class::HostDisk, reason, Vec::new());
    verdict.hint = Some("look at the space and the health of the file system of the cache".into());
    Some(verdict)
}

/// A guest on its way along the chain.
#[derive(Debug)]
pub(crate) struct Drive<'a> {
    pub(crate) host: &'a Host,
    pub(crate) guest: Guest,
    pub(crate) chain: Chain,
    command: Option<Running>,
    faults: Faults,
    /// How far the machine had come when the first of them struck, a slow disk not counted if there
    /// are others.
    pub(crate) struck: Option<Struck>,
    /// Whether a fault has struck that makes requests to the disk fail.
    disk_struck: bool,
    /// Whether nothing but a slow disk has struck yet.
    slowed_only: bool,
    written: u64,
    activity: Activity,
    /// The size of the packet capture when it last counted as progress.
    captured: u64,
    /// Whether the machine is going through a reset that it survives.
    restarting: bool,
    log: Option<PathBuf>,
    /// The length of the log of writes at the jump.
    log_at_jump: Option<u64>,
}

/// `anemos deploy` as it runs in the guest.
#[derive(Debug)]
struct Running {
    child: Child,
    log: LogTail,
}

impl<'a> Drive<'a> {
    pub(crate) fn new(host: &'a Host, guest: Guest, chain: Chain) -> Self {
        Self {
            host,
            guest,
            chain,
            command: None,
            faults: Faults::default(),
            struck: None,
            disk_struck: false,
            slowed_only: true,
            written: 0,
            activity: Activity::new(MOVED),
            captured: 0,
            restarting: false,
            log: None,
            log_at_jump: None,
        }
    }

    /// Makes faults strike the machine from now on, each at its moment.
    pub(crate) fn expect_faults(&mut self, faults: &[Fault]) {
        self.faults = Faults::new(faults);
    }

    /// Notes the length of a log of writes at the jump, during which nobody writes.
    pub(crate) fn mark_jump_in(&mut self, log: Option<PathBuf>) {
        self.log = log;
    }

    /// Returns the length of the log of writes at the jump.
    pub(crate) fn log_at_jump(&self) -> u64 {
        self.log_at_jump.unwrap_or_default()
    }

    /// Passes the chain something that no sensor of the guest reports.
    pub(crate) fn tell(&mut self, seen: &Seen) -> Option<End> {
        let end = self.chain.observe(self.host.at(), seen);
        self.show();
        end
    }

    /// Watches a command in the guest from now on; its output goes to the file `log`.
    pub(crate) fn attend(&mut self, child: Child, log: &Path) {
        self.command = Some(Running { child, log: LogTail::new(log) });
    }

    /// Follows the guest until the chain ends or `until` is reached.
    pub(crate) async fn follow(&mut self, until: Link) -> Option<End> {
        let mut link = self.chain.link();
        let mut watch = Watch::begin(self.budget(link), self.guest.now());
        while self.chain.link() < until {
            if let Some(end) = self.beat(&mut watch).await {
                return Some(end);
            }
            if self.chain.link() != link {
                link = self.chain.link();
                watch = Watch::begin(self.budget(link), self.guest.now());
            }
            if let Some(gave_up) = watch.expired(self.guest.now()) {
                let activity = self.guest.activity().await;
                return Some(self.chain.gave_up(&format!("{gave_up}; {activity}")));
            }
            if self.host.is_over() {
                return Some(self.chain.gave_up("the time given for the whole run is over"));
            }
        }
        None
    }

    /// Keeps following the guest while something else is done with it.
    pub(crate) async fn meanwhile<T>(
        &mut self,
        work: impl Future<Output = T>,
    ) -> Result<T, Box<End>> {
        let mut watch = Watch::begin(self.budget(self.chain.link()), self.guest.now());
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                end = self.beat(&mut watch) => if let Some(end) = end {
                    return Err(Box::new(end));
                },
            }
            if let Some(gave_up) = watch.expired(self.guest.now()) {
                return Err(Box::new(self.chain.gave_up(&gave_up.to_string())));
            }
            if self.host.is_over() {
                let end = self.chain.gave_up("the time given for the whole run is over");
                return Err(Box::new(end));
            }
        }
    }

    /// Takes one observation, or notes that there has been none for a moment.
    async fn beat(&mut self, watch: &mut Watch) -> Option<End> {
        let next = self.guest.next(Instant::now() + BEAT).await;
        if let Some(observation) = next {
            if self.activity.shows(&observation.what) || self.carries(&observation.what) {
                watch.progress(self.guest.now());
            }
            if let What::Disk(traffic) = &observation.what
                && traffic.disk == SYSTEM
            {
                self.written = traffic.written;
            }
            if let What::Ended(ended) = &observation.what {
                return Some(End::Failed(qemu_died(ended)));
            }
            if !self.disk_struck
                && let Some(verdict) = host_disk_failed(&observation.what)
            {
                return Some(End::Failed(verdict));
            }
            let end = match seen(&observation.what) {
                Some(Seen::Reset) => self.reset(watch).await,
                Some(seen) => self.tell(&seen),
                None => None,
            };
            if end.is_some() {
                return end;
            }
        }
        if let Some(end) = self.arrive().await {
            return Some(end);
        }
        if let Some(end) = self.strike(watch).await {
            return Some(end);
        }
        self.host.progress.tick();
        self.listen_to_the_command(watch)
    }

    /// Handles a reset: the end of the guest, or the way to the boot entry that the command
    /// announced.
    async fn reset(&mut self, watch: &mut Watch) -> Option<End> {
        let moved = if self.restarting {
            // `SeaBIOS` resets the machine a few more times until it is as it was when switched on.
            self.guest.go_on().await
        } else {
            // Its last lines may not have been read yet.
            let end = self.listen_to_the_command(watch).or_else(|| self.tell(&Seen::Reset));
            if end.is_some() {
                return end;
            }
            self.restarting = true;
            // After an operating system, UEFI under emulation neither says nor reads anything for a
            // minute.
            let budget = self.host.budget("the kernel that the boot loader boots", 150, 75);
            *watch = Watch::begin(budget, self.guest.now());
            self.guest.restart().await
        };
        broken(moved)
    }

    /// Makes the next reset the end of the guest again, once it is through the boot loader.
    async fn arrive(&mut self) -> Option<End> {
        if !self.restarting || self.chain.link() < Link::Jumped {
            return None;
        }
        self.restarting = false;
        broken(self.guest.restarted().await)
    }

    /// Returns whether the network has carried more than the chatter of idle machines.
    fn carries(&mut self, what: &What) -> bool {
        let What::Packets(captured) = *what else { return false };
        let carries = captured >= self.captured + CHATTER;
        if carries {
            self.captured = captured;
        }
        carries
    }

    /// Makes the faults strike whose moment has come.
    async fn strike(&mut self, watch: &mut Watch) -> Option<End> {
        let (jumped, stage) = (self.chain.link() >= Link::Jumped, self.chain.stage());
        if let (true, None, Some(log)) = (jumped, self.log_at_jump, &self.log) {
            self.log_at_jump = fs::metadata(log).map(|log| log.len()).ok();
        }
        if jumped && !self.faults.is_idle() {
            // The last writes of the old system have not been sampled yet.
            let before = self.guest.written(SYSTEM).await.unwrap_or(self.written);
            self.written = self.written.max(self.faults.begin_at(before));
        }
        if self.faults.wait_for_bytes() {
            // Samples are a second apart, in which a disk writes a lot.
            self.written = self.guest.written(SYSTEM).await.unwrap_or(self.written);
        }
        let due = self.faults.due(Progress { jumped, stage, written: self.written });
        for fault in due {
            let text = fault.to_string();
            let written = self.guest.written(SYSTEM).await.unwrap_or(self.written);
            let written = self.faults.since_jump(written).saturating_sub(REPORTS);
            let struck = Struck { at: self.host.at(), stage: stage.map(str::to_owned), written };
            self.host.progress.note(&format!("fault: {text}"));
            self.tell(&Seen::Fault(text.clone()));
            self.disk_struck |= fault.kind.fails_the_disk();
            match self.guest.strike(fault.kind, SYSTEM).await {
                Ok(true) if self.slowed_only => {
                    self.struck = Some(struck);
                    self.slowed_only = fault.kind == Kind::SlowDisk;
                }
                Ok(true) => {}
                Ok(false) => {
                    let late = format!("{text}, too late: the machine has been reset already");
                    self.host.progress.note(&format!("fault: {late}"));
                    self.tell(&Seen::Fault(late));
                    continue;
                }
                Err(error) => {
                    let reason = format!("the fault {text} could not strike: {}", whole(&error));
                    let verdict = Verdict::broken(Class::FaultFailed, reason, Vec::new());
                    return Some(End::Failed(verdict));
                }
            }
            if fault.kind == Kind::LockUp {
                let mut budget = self.budget(self.chain.link());
                budget.stall = budget.stall.max(WATCHDOG);
                *watch = Watch::begin(budget, self.guest.now());
            }
            if matches!(fault.kind, Kind::Reset | Kind::PowerCut) {
                return self.tell(&Seen::Cut(fault));
            }
        }
        None
    }

    fn listen_to_the_command(&mut self, watch: &mut Watch) -> Option<End> {
        let running = self.command.as_mut()?;
        // An error here is the end of the command too: without a status.
        let ended = running.child.try_wait().unwrap_or_default();
        let said = running.log.lines();
        if ended.is_some() {
            self.command = None;
        }
        if !said.is_empty() {
            watch.progress(self.guest.now());
        }
        for line in said {
            let end = self.tell(&Seen::CommandSaid(line));
            if end.is_some() {
                return end;
            }
        }
        ended.and_then(|status| self.tell(&Seen::CommandEnded(status.code())))
    }

    fn show(&self) {
        let direct = self.chain.entry() == Entry::Direct;
        let step = match (self.chain.link(), self.chain.stage()) {
            (Link::Started, _) if direct => "deploy environment: booting".to_owned(),
            // Between two stages the earlier one is still the news.
            (Link::Jumped, None) if self.chain.has_begun_stages() => return,
            (Link::PowerOn, _) => "old system: booting".to_owned(),
            (Link::OldSystem, _) => "old system: bringing the payload in".to_owned(),
            (Link::Pushed | Link::Started, _) => "old system: anemos deploy".to_owned(),
            (Link::Jumped, None) => "deploy environment: booting".to_owned(),
            (_, Some(stage)) => format!("deploy environment: stage {stage}"),
            (Link::Verdict | Link::Reset, None) => "deploy environment: rebooting".to_owned(),
        };
        self.host.progress.step(step);
    }

    fn budget(&self, link: Link) -> Budget {
        match link {
            Link::PowerOn => self.host.budget("the old system's login prompt", 60, 12),
            Link::OldSystem => self.host.budget("the payload to be in the guest", 90, 90),
            Link::Pushed => self.host.budget("anemos deploy to start", 10, 10),
            Link::Started => self.host.budget("the kernel of the deploy environment", 60, 20),
            // `deploy` has its own limit, which PID 1 enforces; one that says nothing stalls.
            Link::Jumped => self.host.budget("the verdict of the deploy environment", 4000, 12),
            Link::Verdict | Link::Reset => self.host.budget("the reset", 12, 12),
        }
    }
}

/// Returns the end if QEMU did not do what a restart needs.
fn broken(done: Result<(), GuestError>) -> Option<End> {
    let reason = format!("the machine could not be restarted: {}", done.err()?);
    Some(End::Failed(Verdict::broken(Class::QemuDied, reason, Vec::new())))
}

/// Reads whole lines of a growing file.
#[derive(Debug)]
struct LogTail {
    path: PathBuf,
    at: u64,
}

impl LogTail {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), at: 0 }
    }

    /// Returns the lines finished since the last call; none if the file does not exist yet.
    fn lines(&mut self) -> Vec<String> {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.at))?;
            file.read_to_end(&mut bytes)
        });
        let Ok(_) = read else { return Vec::new() };
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.at += whole as u64;
        String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_is_read_line_by_line_as_it_grows() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let mut tail = LogTail::new(file.path());
        assert_eq!(tail.lines(), [""; 0]);
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.lines(), ["one"]);
        file.write_all(b"o\n").unwrap();
        assert_eq!(tail.lines(), ["two"]);
        assert_eq!(tail.lines(), [""; 0]);
    }

    #[test]
    fn a_shutdown_of_qemu_says_what_the_guest_did() {
        for (reason, want) in [
            ("guest-reset", Seen::Reset),
            ("guest-panic", Seen::Panicked),
            ("guest-shutdown", Seen::PoweredOff),
        ] {
            let what = What::Event(Event::Shutdown { reason: reason.into() });
            assert_eq!(seen(&what), Some(want), "{reason}");
        }
    }
}
