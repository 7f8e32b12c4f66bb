//! Asks sshd for its effective configuration, and the programs that it would ask about keys.

use std::collections::BTreeSet;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};

use super::users::User;
use crate::command;

/// Where distributions install it.
const PROGRAMS: [&str; 4] =
    ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd", "/run/current-system/sw/bin/sshd"];
/// The second option is newer than OpenSSH 9.2; it requires neither host keys nor folders.
const QUESTIONS: [&str; 2] = ["-T", "-G"];
/// An unreachable directory service may take a while to return nothing.
const LIMIT: Duration = Duration::from_secs(30);

/// The sshd of a machine, if it can be asked.
#[derive(Debug)]
pub(super) struct Sshd(Option<PathBuf>);

impl Sshd {
    /// Returns the sshd of this machine; only root can ask it, because it reads its own files.
    pub(super) fn here() -> Self {
        let programs = PROGRAMS.map(PathBuf::from).into_iter();
        let asked = nix::unistd::geteuid().is_root();
        Self(asked.then(|| programs.into_iter().find(|path| path.exists())).flatten())
    }

    /// Returns the sshd of a machine on which nothing runs.
    #[cfg(test)]
    pub(super) fn absent() -> Self {
        Self(None)
    }

    /// Returns the settings for a user; without an sshd, these are its defaults.
    pub(super) fn settings(&self, user: &User) -> anyhow::Result<Settings> {
        let Some(program) = &self.0 else { return Ok(Settings::default()) };
        let client = std::env::var("SSH_CONNECTION").unwrap_or_default();
        let mut last = None;
        for question in QUESTIONS {
            let mut command = command::start(program);
            command.args([question, "-C", &connection(&user.name, &client)]);
            match command::output_within(command, LIMIT) {
                Ok(text) => return Ok(Settings::parse(&text)),
                // The first error is the one about this machine.
                Err(error) => last = last.or(Some(error)),
            }
        }
        last.map_or_else(|| Ok(Settings::default()), Err)
    }
}

/// Describes the connection that `Match` is evaluated for.
///
/// It is the present connection, if there is one, because its user wants to make it again. Older
/// versions require all three values.
fn connection(user: &str, client: &str) -> String {
    /// An address of nobody (RFC 5737), so no rule is about it.
    const STRANGER: &str = "192.0.2.1";
    let address = client.split_whitespace().next().unwrap_or(STRANGER);
    format!("user={user},host={address},addr={address}")
}

/// What `sshd_config(5)` decides about the keys of one user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Settings {
    /// Patterns of file names.
    key_files: Vec<String>,
    /// A program that knows keys, and the user that it runs as.
    command: Option<(String, String)>,
    /// Public keys of those who sign certificates that let people in.
    pub(super) authorities: Option<PathBuf>,
    /// The setting that decides whom a certificate must name, unless that is only the user.
    pub(super) principals: Option<&'static str>,
    /// Private host keys; empty if they are not known.
    pub(super) host_keys: Vec<PathBuf>,
    /// Ports that it listens on; empty if they are not known.
    pub(super) ports: Vec<u16>,
}

impl Default for Settings {
    fn default() -> Self {
        let key_files = [".ssh/authorized_keys", ".ssh/authorized_keys2"];
        Self {
            key_files: key_files.map(str::to_owned).into(),
            command: None,
            authorities: None,
            principals: None,
            host_keys: Vec::new(),
            ports: Vec::new(),
        }
    }
}

impl Settings {
    /// Parses the output of `sshd -T`: a keyword in lower case and its value on each line.
    pub(super) fn parse(text: &str) -> Self {
        let values = |wanted: &'static str| {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.filter(move |(keyword, _)| *keyword == wanted).map(|(_, value)| value.trim())
        };
        let set = |keyword| values(keyword).next().filter(|value| *value != "none");
        let command = set("authorizedkeyscommand").zip(set("authorizedkeyscommanduser"));
        let files = values("authorizedkeysfile").next().map(|value| {
            let files = value.split_whitespace().filter(|file| *file != "none");
            files.map(str::to_owned).collect()
        });
        let principals = [
            ("authorizedprincipalsfile", "AuthorizedPrincipalsFile"),
            ("authorizedprincipalscommand", "AuthorizedPrincipalsCommand"),
        ];
        let principals = principals.into_iter().find(|(keyword, _)| set(keyword).is_some());
        Self {
            key_files: files.unwrap_or_else(|| Self::default().key_files),
            command: command.map(|(line, user)| (line.to_owned(), user.to_owned())),
            authorities: set("trustedusercakeys").map(PathBuf::from),
            principals: principals.map(|(_, name)| name),
            host_keys: values("hostkey").map(PathBuf::from).collect(),
            // Each has its address; `port` lines only apply to addresses without a port of their
            // own.
            ports: ports(values("listenaddress")),
        }
    }

    /// Returns the files with keys of a user; relative paths are below the home folder.
    pub(super) fn key_files(&self, user: &User) -> Vec<PathBuf> {
        let files = self.key_files.iter().filter_map(|file| expand(file, user));
        files.map(|file| Path::new(&user.home).join(file)).collect()
    }

    /// Asks the program that knows keys of a user, if there is one.
    pub(super) fn ask_command(&self, user: &User, users: &[User]) -> anyhow::Result<String> {
        let Some((line, runs_as)) = &self.command else { return Ok(String::new()) };
        let runner = users.iter().find(|other| other.name == *runs_as);
        let runner = runner.with_context(|| format!("finding the user {runs_as}"))?;
        let mut words = Vec::new();
        for word in line.split_whitespace() {
            let Some(word) = expand(word, user) else {
                bail!("{line} tells about one key at a time, never about all");
            };
            words.push(word);
        }
        // If it has no arguments, it gets the user name (sshd_config(5)).
        let Some((program, arguments)) = words.split_first() else { return Ok(String::new()) };
        let alone = arguments.is_empty().then_some(&user.name);
        let mut command = command::start(Path::new(program));
        command.args(arguments).args(alone).current_dir("/").stdin(Stdio::null());
        command.uid(runner.uid).gid(runner.gid).env_clear().envs([
            ("PATH", "/usr/bin:/bin:/usr/sbin:/sbin"),
            ("USER", &runner.name),
            ("LOGNAME", &runner.name),
            ("HOME", &runner.home),
        ]);
        command::output_within(command, LIMIT)
    }
}

/// Returns the ports of listen addresses without duplicates; a routing domain may follow.
fn ports<'v>(addresses: impl Iterator<Item = &'v str>) -> Vec<u16> {
    let ports = addresses.filter_map(|value| {
        let address = value.split_whitespace().next()?;
        address.rsplit_once(':')?.1.parse().ok()
    });
    let ports: BTreeSet<u16> = ports.collect();
    ports.into_iter().collect()
}

/// Replaces the tokens about the user; none if a token is about a key or a connection.
fn expand(pattern: &str, user: &User) -> Option<String> {
    let mut parts = pattern.split('%');
    let mut text = parts.next()?.to_owned();
    while let Some(part) = parts.next() {
        let mut rest = part.chars();
        match rest.next() {
            // `%%` is split into an empty part and the part after it.
            None => {
                text.push('%');
                text.push_str(parts.next()?);
                continue;
            }
            Some('h') => text.push_str(&user.home),
            Some('u') => text.push_str(&user.name),
            Some('U') => text.push_str(&user.uid.to_string()),
            Some(_) => return None,
        }
        text.push_str(rest.as_str());
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Settings, Sshd, connection, expand};
    use crate::facts::users::{self, User};

    const DEBIAN: &str = include_str!("testdata/debian-12.sshd");

    fn ada() -> User {
        users::parse("ada:x:1000:1000::/home/ada:/bin/sh").remove(0)
    }

    #[test]
    fn what_debian_prints_is_read() {
        let want = Settings {
            key_files: vec![
                ".ssh/authorized_keys".to_owned(),
                "/etc/ssh/authorized_keys/%u".to_owned(),
            ],
            command: Some(("/usr/bin/keys --for %u --home %h".to_owned(), "nobody".to_owned())),
            authorities: None,
            principals: None,
            host_keys: ["keys/main", "ssh_host_rsa_key"]
                .map(|it| PathBuf::from("/etc/ssh").join(it))
                .into(),
            ports: vec![22],
        };
        assert_eq!(Settings::parse(DEBIAN), want);
        let files = want.key_files(&ada());
        let [home, other] = ["/home/ada/.ssh/authorized_keys", "/etc/ssh/authorized_keys/ada"];
        assert_eq!(files, [PathBuf::from(home), PathBuf::from(other)]);
    }

    #[test]
    fn what_is_not_said_is_as_by_default_and_none_is_none() {
        let default = Settings::default();
        for (text, want) in [
            ("", default.clone()),
            (
                "port 22\nauthorizedkeyscommand none\nauthorizedkeyscommanduser none",
                default.clone(),
            ),
            ("authorizedkeysfile none", Settings { key_files: Vec::new(), ..default.clone() }),
            (
                "port 22\nlistenaddress 0.0.0.0:2222\nlistenaddress [2001:db8::1]:22 rdomain x\n\
                 listenaddress [::]:2222",
                Settings { ports: vec![22, 2222], ..default },
            ),
        ] {
            assert_eq!(Settings::parse(text), want, "{text}");
        }
        assert_eq!(Sshd::absent().settings(&ada()).unwrap(), Settings::default());
    }

    #[test]
    fn tokens_about_the_user_are_replaced_and_others_cannot_be() {
        for (pattern, want) in [
            ("/k/%u/%U%h.pub", Some("/k/ada/1000/home/ada.pub")),
            ("100%%", Some("100%")),
            ("%%u%%%u", Some("%u%ada")),
            ("plain", Some("plain")),
            ("%f", None),
            ("%u %k", None),
            ("%", None),
        ] {
            assert_eq!(expand(pattern, &ada()).as_deref(), want, "{pattern}");
        }
    }

    #[test]
    fn the_connection_asked_about_is_the_present_one_or_that_of_a_stranger() {
        for (client, want) in [
            ("2001:db8::7 50022 2001:db8::1 22", "user=ada,host=2001:db8::7,addr=2001:db8::7"),
            ("", "user=ada,host=192.0.2.1,addr=192.0.2.1"),
        ] {
            assert_eq!(connection("ada", client), want);
        }
    }

    #[test]
    fn programs_that_know_keys_are_asked_as_sshd_does() {
        // Only root may run anything as somebody else.
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let mut runner = ada();
        (runner.uid, runner.gid) = (uid.as_raw(), gid.as_raw());
        for (line, want) in [
            ("/bin/echo", Ok("ada\n")),
            ("/bin/echo %u at %h", Ok("ada at /home/ada\n")),
            ("/bin/echo %f", Err("/bin/echo %f tells about one key at a time, never about all")),
            ("/bin/false", Err("/bin/false ada ended with exit status: 1: ")),
            ("/usr/bin/printenv PATH", Ok("/usr/bin:/bin:/usr/sbin:/sbin\n")),
        ] {
            let command = Some((line.to_owned(), runner.name.clone()));
            let settings = Settings { command, ..Settings::default() };
            let said = settings.ask_command(&ada(), std::slice::from_ref(&runner));
            let said = said.map_err(|error| format!("{error:#}"));
            match want {
                Ok(want) => assert!(said.as_deref().is_ok_and(|it| it.contains(want)), "{said:?}"),
                Err(want) => assert_eq!(said, Err(want.to_owned())),
            }
        }
    }
}
