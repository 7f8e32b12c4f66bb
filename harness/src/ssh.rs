//! Reaches a guest over its network with the system's `ssh`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Child;

use crate::command::{Command, CommandError, Output, quote};

/// The port of a guest for logging in.
pub(crate) const PORT: u16 = 22;

/// How to log in to a guest.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// Port on 127.0.0.1 that leads to the guest's SSH server.
    pub port: u16,
    /// User in the guest.
    pub user: String,
    /// Private key.
    pub key: PathBuf,
    /// File of our own that records the guest's host keys.
    pub known_hosts: PathBuf,
}

impl Ssh {
    /// Runs a command line in the guest to its end.
    pub async fn run(&self, remote: &str) -> Result<Output, CommandError> {
        Command::new("ssh").args(self.arguments(remote)).run().await
    }

    /// Runs a command line as soon as the guest answers.
    pub async fn reach(&self, remote: &str) {
        while self.run(remote).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Starts a command line in the guest; its output goes to `log`.
    pub fn start(&self, remote: &str, log: File) -> Result<Child, CommandError> {
        Command::new("ssh").args(self.arguments(remote)).start(log)
    }

    /// Copies a file into the guest with the given mode.
    ///
    /// The guest needs nothing but `cat`, so it does not matter what else a provider's image lacks.
    pub async fn push(&self, file: &Path, to: &str, mode: &str) -> Result<(), CommandError> {
        let to = quote(to);
        let remote = format!("umask 077 && cat >{to} && chmod {mode} {to}");
        let shell = Command::new("sh").args(["-c", "exec ssh \"$@\" <\"$0\""]).arg(file);
        shell.args(self.arguments(&remote)).run().await?;
        Ok(())
    }

    /// Runs a script of this host in the guest to its end.
    pub(crate) async fn run_script(&self, script: &Path) -> Result<Output, CommandError> {
        // Its own first line says what interprets it.
        let remote = "script=$(mktemp) && cat >\"$script\" && chmod 700 \"$script\" && \
                      { \"$script\"; status=$?; rm \"$script\"; exit $status; }";
        let shell = Command::new("sh").args(["-c", "exec ssh \"$@\" <\"$0\""]).arg(script);
        shell.args(self.arguments(remote)).run().await
    }

    fn arguments(&self, remote: &str) -> Vec<String> {
        let known_hosts = format!("UserKnownHostsFile={}", self.known_hosts.display());
        let options = [
            "BatchMode=yes",
            "StrictHostKeyChecking=accept-new",
            "GlobalKnownHostsFile=none",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "ConnectTimeout=20",
            "ServerAliveInterval=10",
            "ServerAliveCountMax=6",
            "LogLevel=ERROR",
            &known_hosts,
        ];
        let mut arguments = vec!["-F".to_owned(), "none".to_owned()];
        arguments.extend(options.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
        arguments.extend(["-i".to_owned(), self.key.display().to_string()]);
        arguments.extend(["-p".to_owned(), self.port.to_string()]);
        arguments.push(format!("{}@127.0.0.1", self.user));
        arguments.push(remote.to_owned());
        arguments
    }
}

/// Makes a key pair: `key` and `key.pub`.
pub async fn make_key(key: &Path) -> Result<(), CommandError> {
    let command = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", ""]);
    command.args(["-C", "anemos-fixture", "-f"]).arg(key).run().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_uses_neither_the_users_configuration_nor_the_users_known_hosts() {
        let (key, known_hosts) = ("/k".into(), "/h".into());
        let ssh = Ssh { port: 2222, user: "root".into(), key, known_hosts };
        insta::assert_snapshot!(ssh.arguments("true").join(" "), @"-F none -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o GlobalKnownHostsFile=none -o IdentitiesOnly=yes -o IdentityAgent=none -o ConnectTimeout=20 -o ServerAliveInterval=10 -o ServerAliveCountMax=6 -o LogLevel=ERROR -o UserKnownHostsFile=/h -i /k -p 2222 root@127.0.0.1 true");
    }
}
