//! The SSH server of a rescue: the base's own sshd, with the keys of the running system.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::known::Known;
use super::processes::{command, exists};
use super::report::Report;
use contract::paths;

/// The port of SSH (RFC 4253, section 4), on which the server listens in any case.
const PORT: u16 = 22;
const CONFIGURATION: &str = "/anemos/sshd_config";
const LOG: &str = "/anemos/sshd.log";
/// Folders that sshd confines its children to, compiled in by distributions.
const EMPTY: [&str; 4] = ["/run/sshd", "/var/empty", "/var/empty/sshd", "/usr/share/empty.sshd"];
/// After this many starts, the server is started only once a minute.
const QUICK_STARTS: u32 = 3;
const PAUSE: Duration = Duration::from_mins(1);

/// The server, which is never given up: if it lacks memory, others may free some.
#[derive(Debug, Default)]
pub(super) struct Server {
    process: Option<u32>,
    starts: u32,
    /// It is not started again before this.
    next: Option<Instant>,
    /// The last message about why it does not run.
    said: String,
}

impl Server {
    /// Notes that a process has ended.
    pub(super) fn note_end(&mut self, ended: Option<u32>) {
        if self.process == ended {
            self.process = None;
        }
    }

    /// Starts the server if it does not run; reports it if that fails.
    pub(super) fn keep_up(&mut self, report: &mut Report, ports: &[u16]) {
        if self.process.is_some() || self.next.is_some_and(|next| Instant::now() < next) {
            return;
        }
        if self.starts == QUICK_STARTS {
            self.say(report, format!("the SSH server ends again and again: {LOG} says why"));
        }
        self.starts = self.starts.saturating_add(1);
        self.next = (self.starts > QUICK_STARTS).then(|| Instant::now() + PAUSE);
        match start(ports) {
            Ok(process) => self.process = Some(process),
            Err(error) => self.say(report, format!("no SSH server: {error:#}")),
        }
    }

    fn say(&mut self, report: &mut Report, text: String) {
        if self.said != text {
            report.line(&text);
            self.said = text;
        }
    }
}

/// Returns the usual port and those of the old system's sshd, as a firewall may allow no others.
pub(super) fn ports(known: &Known) -> Vec<u16> {
    let inherited = known.deploy.iter().flat_map(|deploy| deploy.ssh_ports.iter().copied());
    std::iter::once(PORT).chain(inherited.filter(|port| *port != PORT)).collect()
}

/// Describes the ports for people, if there are any but the usual one.
pub(super) fn describe(ports: &[u16]) -> String {
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    if ports.len() < 2 { String::new() } else { format!(", at port {}", ports.join(" or ")) }
}

fn start(ports: &[u16]) -> anyhow::Result<u32> {
    // It restarts itself by its own path.
    let program = paths::SSH_SERVERS.into_iter().find(|path| exists(path));
    let program = program.context("the base initramfs has no sshd")?;
    for folder in EMPTY {
        fs::create_dir_all(folder).with_context(|| format!("making {folder}"))?;
        // It refuses to work with a folder that others may write to.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .with_context(|| format!("closing {folder}"))?;
    }
    add_user().context("adding the user sshd")?;
    let keys = host_keys().context("finding the host keys")?;
    fs::write(CONFIGURATION, configuration(&keys, ports)).context("writing its configuration")?;
    let log = File::create(LOG).context("making its log")?;
    let server = command(Path::new(program))
        .args(["-D", "-e", "-f", CONFIGURATION])
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .spawn();
    Ok(server.with_context(|| format!("starting {program}"))?.id())
}

/// Adds the user who owns nothing, as whom sshd does some of its work for strangers (sshd(8)).
fn add_user() -> io::Result<()> {
    for (file, line) in
        [("/etc/passwd", "sshd:x:74:74::/run/sshd:/bin/false\n"), ("/etc/group", "sshd:x:74:\n")]
    {
        let users = fs::read_to_string(file).unwrap_or_default();
        if !users.lines().any(|user| user.starts_with("sshd:")) {
            OpenOptions::new().append(true).create(true).open(file)?.write_all(line.as_bytes())?;
        }
    }
    Ok(())
}

/// Returns the host keys of the running system, or a new one if there are none to keep.
fn host_keys() -> anyhow::Result<Vec<PathBuf>> {
    let folder = Path::new("/").join(paths::HOST_KEYS);
    let inherited = private_keys(&folder)?;
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    let key = folder.join("ssh_host_ed25519_key");
    let status = command(Path::new("/usr/bin/ssh-keygen"))
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&key)
        .status();
    status.context("making a host key with ssh-keygen")?;
    private_keys(&folder)
}

fn private_keys(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ssh_host_") && name.ends_with("_key") {
            keys.push(path);
        }
    }
    keys.sort();
    Ok(keys)
}

/// Renders the configuration: only keys, only root, nothing of the old system's own.
fn configuration(keys: &[PathBuf], ports: &[u16]) -> String {
    let ports = ports.iter().fold(String::new(), |text, port| format!("{text}Port {port}\n"));
    let keys: Vec<_> = keys.iter().map(|key| format!("HostKey {}", key.display())).collect();
    let keys = keys.join("\n");
    format!(
        "{ports}{keys}\nAuthorizedKeysFile /{}\nPermitRootLogin prohibit-password\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\n\
         PidFile none\nSubsystem sftp internal-sftp\n",
        paths::AUTHORIZED_KEYS
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_host_keys_are_served() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ssh_host_rsa_key", "ssh_host_rsa_key.pub", "ssh_host_ed25519_key", "other"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let keys = private_keys(folder.path()).unwrap();
        let names: Vec<_> = keys.iter().map(|key| key.file_name().unwrap()).collect();
        assert_eq!(names, ["ssh_host_ed25519_key", "ssh_host_rsa_key"]);
    }

    #[test]
    fn every_port_is_served_and_named_where_there_are_others() {
        for (ports, want, described) in [
            (&[22][..], "Port 22\nHostKey /k\n", ""),
            (
                &[22, 2222, 443],
                "Port 22\nPort 2222\nPort 443\nHostKey /k\n",
                ", at port 22 or 2222 or 443",
            ),
        ] {
            let text = configuration(&[PathBuf::from("/k")], ports);
            assert!(text.starts_with(want), "{text}");
            assert_eq!(describe(ports), described);
        }
    }

    #[test]
    fn a_server_that_always_ends_waits_before_it_is_started_again() {
        let next = Some(Instant::now() + PAUSE);
        let mut server = Server { starts: QUICK_STARTS + 1, next, ..Server::default() };
        server.keep_up(&mut Report::silent(), &[PORT]);
        assert_eq!((server.process, server.starts), (None, QUICK_STARTS + 1));
    }
}
