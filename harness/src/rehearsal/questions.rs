//! What a system is asked by SSH once it is up.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use crate::command::CommandError;
use crate::evidence::ANSWER;
use crate::guest::Guest;
use crate::host::Host;
use crate::ssh::Ssh;

/// How often the guest's sensors are read while an answer is waited for.
const BEAT: Duration = Duration::from_millis(250);

/// What somebody wants to know of the new system.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ask {
    /// A command line.
    Command(String),
    /// A script of this host, which the new system executes.
    Script(PathBuf),
}

impl Ask {
    /// Returns what a command line means by a question: `@FILE` is a script, else it is a command.
    pub fn parse(text: &str) -> Self {
        text.strip_prefix('@')
            .map_or_else(|| Self::Command(text.to_owned()), |file| Self::Script(file.into()))
    }

    /// Returns the words for people.
    fn name(&self) -> String {
        match self {
            Self::Command(command) => format!("`{command}`"),
            Self::Script(file) => file.display().to_string(),
        }
    }
}

/// A command that a system must execute by SSH.
#[derive(Clone, Debug)]
pub(super) struct Question {
    /// How to log in; the port is found once there is one.
    pub(super) ssh: Ssh,
    pub(super) ask: Ask,
    /// The prefix of every line of the answer, in the evidence.
    pub(super) mark: &'static str,
}

/// An answer, or why there is none.
pub(super) struct Answer {
    /// The lines for the evidence.
    pub(super) lines: Vec<String>,
    /// Why the system fails, if it had to answer and did not.
    pub(super) failed: Option<String>,
}

impl Question {
    /// Asks; the guest's sensors are read meanwhile.
    pub(super) async fn put(&self, host: &Host, guest: &mut Guest, port: u16) -> Answer {
        let ssh = Ssh { port, ..self.ssh.clone() };
        let patience = host.budget("an answer by SSH", 30, 30).cap;
        let asked = async {
            match &self.ask {
                Ask::Command(command) => ssh.run(command).await,
                Ask::Script(file) => ssh.run_script(file).await,
            }
        };
        let (text, failed) = match meanwhile(guest, timeout(patience, asked)).await {
            Ok(Ok(output)) => (output.text(), false),
            Ok(Err(error)) => (error.to_string(), true),
            Err(_elapsed) => ("no answer by SSH".to_owned(), true),
        };
        let lines = text.lines().map(|line| format!("{}{line}", self.mark)).collect();
        let must = failed && self.mark == ANSWER;
        let failed = must.then(|| {
            let (what, why) = (self.ask.name(), text.lines().next().unwrap_or_default());
            format!("the new system boots, but does not answer {what} by SSH as it must: {why}")
        });
        Answer { lines, failed }
    }
}

/// Reads the guest's sensors until something else is done.
pub(super) async fn meanwhile<T>(guest: &mut Guest, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            // What it says meanwhile is in its transcript.
            _heard = guest.next(Instant::now() + BEAT) => {}
        }
    }
}

/// A check of whether a system can be reached and is healthy.
#[derive(Clone, Debug)]
pub(super) struct Checkup {
    /// How to log in, with a file for its host keys of its own.
    pub(super) ssh: Ssh,
    /// The host keys of the old system.
    pub(super) old_keys: PathBuf,
}

/// Prints what the new system knows of itself, in parts with headings.
const FACTS: &str = "part() { echo \"== $1\"; shift; \"$@\" 2>/dev/null; }
part clock date +%s
part command-line cat /proc/cmdline
part file-systems df -P
part resolver cat /etc/resolv.conf
part failed-units systemctl --failed --no-legend --plain
part addresses ip -json address
part routes ip -json route
part routes-of-ipv6 ip -json -6 route
part kernel uname -a
part release cat /etc/os-release
part disks lsblk --pairs --output NAME,SIZE,FSTYPE,MOUNTPOINT,UUID
true
";
/// Name of the file that they are kept in.
pub const FACTS_FILE: &str = "facts.txt";

/// What a checkup found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) warnings: Vec<String>,
    /// `root=` of its kernel.
    pub(super) root: Option<String>,
}

impl Checkup {
    /// Logs in as the old system was logged in to, and keeps what the system says of itself.
    pub(super) async fn run(
        &self,
        host: &Host,
        guest: &mut Guest,
        port: u16,
        folder: &Path,
    ) -> Found {
        let ssh = Ssh { port, ..self.ssh.clone() };
        host.progress.step("new system: logging in by SSH");
        // It may start its SSH server after it has asked for a login.
        let patience = host.budget("SSH of the new system", 10, 10).cap;
        let facts = meanwhile(guest, timeout(patience, facts(&ssh))).await;
        let refused = |reason: &str| Found { warnings: vec![format!("SSH: {reason}")], root: None };
        match facts {
            Err(_elapsed) => refused("the new system does not answer, but the old one did"),
            Ok(Err(())) => refused("the new system does not accept the key of the old one"),
            Ok(Ok(text)) => {
                // Without the file there are still the warnings.
                drop(std::fs::write(folder.join(FACTS_FILE), &text));
                let mut warnings = warnings(&text, seconds_now());
                if key_changed(&self.old_keys, &ssh.known_hosts) {
                    let changed = "SSH: the host key is another one than that of the old system";
                    warnings.insert(0, changed.to_owned());
                }
                let root =
                    part(&text, "command-line").next().and_then(crate::classify::root_parameter);
                Found { warnings, root: root.map(str::to_owned) }
            }
        }
    }
}

/// Waits until the system says what it knows of itself; the error is a key that it refuses.
async fn facts(ssh: &Ssh) -> Result<String, ()> {
    loop {
        match ssh.run(FACTS).await {
            Ok(output) => return Ok(output.text()),
            Err(CommandError::Status { tail, .. }) if tail.contains("Permission denied") => {
                return Err(());
            }
            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
        }
    }
}

fn seconds_now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}

/// Returns the lines of a part of the facts.
fn part<'t>(text: &'t str, name: &str) -> impl Iterator<Item = &'t str> {
    let heading = format!("== {name}");
    let lines = text.lines().skip_while(move |line| *line != heading).skip(1);
    lines.take_while(|line| !line.starts_with("== "))
}

/// Returns what is not as it should be, when the host's clock says `now`.
fn warnings(facts: &str, now: u64) -> Vec<String> {
    /// A clock that is off by more makes certificates invalid, or worse.
    const OFF: u64 = 3600;
    let mut warnings = Vec::new();
    for line in part(facts, "failed-units") {
        // A bullet may stand before the name.
        let unit = line.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        warnings
            .extend(unit.split_whitespace().next().map(|unit| format!("unit: {unit} has failed")));
    }
    for line in part(facts, "file-systems").filter(|line| line.starts_with("/dev/")) {
        let fields: Vec<_> = line.split_whitespace().collect();
        if let [_, _, _, left, "100%" | "99%", place] = fields[..] {
            warnings.push(format!("the file system on {place} is full: {left} KiB are left"));
        }
    }
    if let Some(clock) = part(facts, "clock").next().and_then(|line| line.parse::<u64>().ok())
        && clock.abs_diff(now) > OFF
    {
        warnings.push(format!("its clock is off by {} s", clock.abs_diff(now)));
    }
    if !part(facts, "resolver").any(|line| line.trim_start().starts_with("nameserver")) {
        warnings.push("it has no resolver: /etc/resolv.conf names no server".to_owned());
    }
    warnings
}

/// Returns whether a system has another key of a kind that the old one had.
fn key_changed(old: &Path, new: &Path) -> bool {
    let keys = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let keys = text.lines().map(|line| {
            let mut fields = line.split_whitespace().skip(1).map(str::to_owned);
            (fields.next().unwrap_or_default(), fields.next().unwrap_or_default())
        });
        keys.collect::<Vec<_>>()
    };
    let (old, new) = (keys(old), keys(new));
    new.iter().any(|(kind, key)| {
        old.iter().any(|(of, _)| of == kind) && !old.iter().any(|(of, it)| of == kind && it == key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEALTHY: &str = "== clock\n1700000000\n== command-line\nroot=UUID=1 quiet\n\
        == file-systems\nFilesystem 1024-blocks Used Available Capacity Mounted on\n\
        /dev/vda1 1000 500 500 50% /\ntmpfs 10 10 0 100% /run\n\
        == resolver\nnameserver 10.0.2.3\n== failed-units\n== routes\n[]\n";

    #[test]
    fn a_healthy_system_has_no_warnings_and_each_ailment_has_one() {
        for (from, to, want) in [
            ("", "", vec![]),
            (
                "failed-units\n",
                "failed-units\n● a.service loaded failed failed A\nb.timer x\n",
                vec!["unit: a.service has failed", "unit: b.timer has failed"],
            ),
            ("500 50% /", "4 100% /", vec!["the file system on / is full: 4 KiB are left"]),
            ("1700000000", "978307200", vec!["its clock is off by 721692900 s"]),
            (
                "nameserver 10.0.2.3\n",
                "",
                vec!["it has no resolver: /etc/resolv.conf names no server"],
            ),
        ] {
            let facts = HEALTHY.replace(from, to);
            let facts = if from.is_empty() { HEALTHY.to_owned() } else { facts };
            assert_eq!(warnings(&facts, 1_700_000_100), want, "{to}");
        }
    }

    #[test]
    fn a_host_key_counts_as_changed_only_if_it_is_of_a_known_kind() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let old = file("old", "[127.0.0.1]:1 ssh-ed25519 AAAA\n[127.0.0.1]:2 ssh-ed25519 AAAA\n");
        for (new, want) in [
            ("[127.0.0.1]:9 ssh-ed25519 AAAA\n", false),
            ("[127.0.0.1]:9 ssh-ed25519 BBBB\n", true),
            ("[127.0.0.1]:9 ecdsa-sha2-nistp256 CCCC\n", false),
            ("", false),
        ] {
            assert_eq!(key_changed(&old, &file("new", new)), want, "{new}");
        }
        assert!(!key_changed(&folder.path().join("none"), &old));
    }

    #[test]
    fn a_question_is_a_command_or_a_script() {
        assert_eq!(Ask::parse("uname -r"), Ask::Command("uname -r".to_owned()));
        assert_eq!(Ask::parse("@check.sh"), Ask::Script("check.sh".into()));
    }
}
