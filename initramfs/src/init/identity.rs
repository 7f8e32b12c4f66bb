//! Gives the deploy environment the names of the running system.
//!
//! People and logs can then tell one machine from another, and programs that look for names find
//! some.

use std::path::Path;
use std::{fs, io};

use super::report::Report;
use contract::deploy::Deploy;

/// The place of machine-id(5).
const MACHINE_ID: &str = "/etc/machine-id";
/// The place of hostname(5).
const HOSTNAME: &str = "/etc/hostname";
/// The place of hosts(5).
const HOSTS: &str = "/etc/hosts";
/// A new random number with every read (random(4)).
const RANDOM: &str = "/proc/sys/kernel/random/uuid";
/// What systemd calls a machine without a name (`src/shared/hostname-setup.c`).
const NO_NAME: &str = "localhost";

/// Sets host name and machine-id; a machine without names can be deployed all the same.
pub(super) fn take(report: &mut Report, deploy: &Deploy) {
    let given = deploy.hostname.as_str();
    let hostname = if given.is_empty() { NO_NAME } else { given };
    match nix::unistd::sethostname(hostname) {
        Ok(()) => report.line(&format!("this is the machine {hostname}")),
        Err(errno) => report.line(&format!("the host name {hostname} cannot be set: {errno}")),
    }
    let id = deploy.machine_id.clone().map_or_else(random_id, Ok);
    let id = id.and_then(|id| write_anew(Path::new(MACHINE_ID), &format!("{id}\n")));
    let name = write_anew(Path::new(HOSTNAME), &format!("{hostname}\n"));
    let hosts = write_hosts(Path::new(HOSTS), hostname);
    for (path, written) in [(MACHINE_ID, id), (HOSTNAME, name), (HOSTS, hosts)] {
        if let Err(error) = written {
            report.line(&format!("{path} cannot be written: {error}"));
        }
    }
}

/// Returns a random machine-id, as systemd does for a machine that has none.
///
/// See `src/shared/machine-id-setup.c`. Package scripts of D-Bus and systemd fail without one.
fn random_id() -> io::Result<String> {
    Ok(fs::read_to_string(RANDOM)?.trim().replace('-', ""))
}

/// Writes a new file, even if the base has a link to somewhere else in its place.
fn write_anew(path: &Path, text: &str) -> io::Result<()> {
    // If it does not exist, nothing is in the way; any other error shows when writing.
    let _none_is_fine = fs::remove_file(path);
    fs::write(path, text)
}

/// Writes what a distribution's installer writes; a base that has this file knows better.
fn write_hosts(path: &Path, hostname: &str) -> io::Result<()> {
    let own = if hostname == NO_NAME { "" } else { &format!("127.0.1.1 {hostname}\n") };
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(_) => fs::write(path, format!("127.0.0.1 localhost\n{own}::1 localhost\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_with_an_identity_or_a_link_for_one_gets_that_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        for what in ["nothing", "a file", "a link to nowhere"] {
            match what {
                "a file" => fs::write(&path, "uninitialized\n").unwrap(),
                "a link to nowhere" => {
                    fs::remove_file(&path).unwrap();
                    std::os::unix::fs::symlink("/nowhere/machine-id", &path).unwrap();
                }
                _ => {}
            }
            write_anew(&path, "5f2c\n").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "5f2c\n", "{what}");
        }
    }

    #[test]
    fn a_random_machine_id_is_one_of_machine_id_5() {
        let id = random_id().unwrap();
        assert!(id.len() == 32 && id.chars().all(|it| "0123456789abcdef".contains(it)), "{id}");
    }

    #[test]
    fn hosts_names_this_machine_unless_the_base_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        for (hostname, before, want) in [
            ("vps", "", "127.0.0.1 localhost\n127.0.1.1 vps\n::1 localhost\n"),
            ("localhost", "", "127.0.0.1 localhost\n::1 localhost\n"),
            ("vps", "own", "own"),
        ] {
            let _none_is_fine = fs::remove_file(&path);
            if !before.is_empty() {
                fs::write(&path, before).unwrap();
            }
            write_hosts(&path, hostname).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), want, "{hostname} {before}");
        }
    }
}
