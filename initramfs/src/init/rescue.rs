//! Keeps a machine with a half-written disk reachable: SSH, a console shell, another try.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use nix::poll::{PollTimeout, poll};
use nix::sys::wait::{WaitPidFlag, waitpid};

use super::known::Known;
use super::processes::{EVERYBODY, command, exists, kill_all};
use super::report::Report;
use super::ssh::{self, Server};
use super::{last_attempt, memory, payload};
use contract::paths;
use contract::quote;
use contract::stages::Outcome;

/// Time between two checks for ended processes and requests.
const TURN: Duration = Duration::from_secs(1);

/// Waits for people, forever; returns if the payload was run again and succeeded.
pub(super) fn wait(report: &mut Report, known: &Known) {
    prepare(report, known);
    memory::make_room(report);
    let mut services = Services::default();
    // Being reachable comes first.
    services.keep_up(report, known);
    tell(report, known);
    loop {
        services.keep_up(report, known);
        let pause = PollTimeout::try_from(TURN).unwrap_or(PollTimeout::MAX);
        // There is nothing to read: this is the pause between two looks.
        let _elapsed = poll(&mut [], pause);
        // A request is a file of that name, which is removed as soon as it was seen.
        if fs::remove_file(paths::RETRY).is_err() {
            continue;
        }
        report.line("the payload is run again");
        // People who asked for it can see the message first; then nobody may be working on the
        // disk.
        let _elapsed = poll(&mut [], pause);
        kill_all(EVERYBODY);
        report.failed = None;
        match payload::run(report, known) {
            Ok(()) => return,
            Err(error) => report.error(&error),
        }
        services = Services::default();
        tell(report, known);
    }
}

/// Reports what happened and what can be done, and leaves the same for `anemos status`.
fn tell(report: &mut Report, known: &Known) {
    let attempt = last_attempt::describe(report, known, Some(Outcome::Rescue));
    let written = serde_json::to_vec(&attempt).map(|text| fs::write(paths::STATE, text));
    if !matches!(written, Ok(Ok(()))) {
        report.line("`anemos status` will not know of this");
    }
    report.line("the disk was written, so the old system cannot be booted again");
    let addresses = addresses();
    if !addresses.is_empty() {
        let ports = ssh::describe(&ssh::ports(known));
        report.line(&format!("this machine stays as it is; log in as root at {addresses}{ports}"));
    }
    report.line(&format!(
        "`anemos status` tells what happened, `anemos retry` runs the payload again; the log is {}",
        paths::LOG
    ));
    report.line(&format!("verdict {}", Outcome::Rescue));
}

/// Turns the deploy environment into one that people can work in.
fn prepare(report: &mut Report, known: &Known) {
    let exported = known.environment.iter();
    let exported = exported.map(|(name, value)| format!("export {name}={}", quote::word(value)));
    let mut profile: Vec<_> = exported.collect();
    let prompt = prompt(known);
    profile.push(format!("export PS1='{prompt}'\ncd {} 2>/dev/null\n", paths::WORK));
    let program = Path::new("/").join(paths::INIT);
    let prepared = fs::write("/etc/profile", profile.join("\n"))
        .and_then(|()| fs::create_dir_all("/usr/bin"))
        .and_then(|()| std::os::unix::fs::symlink(program, "/usr/bin/anemos"));
    if let Err(error) = prepared {
        report.line(&format!("the shell is not as it should be: {error}"));
    }
}

/// Returns a prompt with the machine's name for people who have several machines open.
fn prompt(known: &Known) -> String {
    let hostname = known.deploy.as_ref().map(|deploy| deploy.hostname.as_str()).unwrap_or_default();
    // A shell expands its prompt, so only a name may get into it.
    let is_name =
        |name: &str| name.chars().all(|it| it.is_ascii_alphanumeric() || "-._".contains(it));
    if hostname.is_empty() || !is_name(hostname) {
        return "rescue# ".to_owned();
    }
    format!("{hostname} rescue# ")
}

/// The services by which people reach the machine.
#[derive(Debug, Default)]
struct Services {
    shell: Option<u32>,
    ssh: Server,
}

impl Services {
    /// Reaps what has ended, and restarts what should run.
    fn keep_up(&mut self, report: &mut Report, known: &Known) {
        while let Ok(status) = waitpid(EVERYBODY, Some(WaitPidFlag::WNOHANG)) {
            let Some(ended) = status.pid() else { break };
            let ended = u32::try_from(ended.as_raw()).ok();
            if self.shell == ended {
                self.shell = None;
            }
            self.ssh.note_end(ended);
        }
        if self.shell.is_none() {
            self.shell = start_shell(known);
        }
        self.ssh.keep_up(report, &ssh::ports(known));
    }
}

/// Starts a shell on the console; `None` if that fails.
fn start_shell(known: &Known) -> Option<u32> {
    let open = || OpenOptions::new().read(true).write(true).open("/dev/console");
    let (Ok(input), Ok(output), Ok(errors)) = (open(), open(), open()) else { return None };
    // A session of its own with a controlling terminal, so that Ctrl-C reaches what runs in it.
    // setsid(1) stays one process only because it does not lead a process group.
    let setsid = ["/usr/bin/setsid", "/bin/setsid"].into_iter().find(|path| exists(path));
    let mut shell = command(Path::new(setsid.unwrap_or("/bin/sh")));
    if setsid.is_some() {
        shell.args(["-c", "/bin/sh"]);
    }
    let child = shell
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .envs(&known.environment)
        .env("PS1", prompt(known))
        .current_dir(if exists(paths::WORK) { paths::WORK } else { "/" })
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(output))
        .stderr(Stdio::from(errors))
        .spawn();
    child.ok().map(|child| child.id())
}

/// Lists the addresses at which others may reach this machine, for people.
fn addresses() -> String {
    let mut found: Vec<String> = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        let four = address.as_sockaddr_in().map(|four| std::net::IpAddr::V4(four.ip()));
        let six = address.as_sockaddr_in6().map(|six| std::net::IpAddr::V6(six.ip()));
        let Some(address) = four.or(six) else { continue };
        let linked = matches!(address, std::net::IpAddr::V6(six) if six.is_unicast_link_local());
        let address = address.to_string();
        if interface.interface_name != "lo" && !linked && !found.contains(&address) {
            found.push(address);
        }
    }
    found.join(", ")
}
