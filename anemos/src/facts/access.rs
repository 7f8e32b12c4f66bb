//! Who may log in, and by which keys they recognise this host.
//!
//! What is secret or long is not in the facts.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::authorized_keys::{self, AuthorizedKey, KeySummary};
use super::host_keys::HostKey;
use super::root::Root;
use super::sshd::{Settings, Sshd};
use super::users::User;
use super::{host_keys, users};

/// Who may log in, without the keys themselves.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Access {
    pub(crate) authorized_keys: Vec<KeySummary>,
    /// Types of the SSH host keys, e.g. `ed25519`.
    pub(crate) host_keys: Vec<String>,
    /// The ports of its SSH server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) ssh_ports: Vec<u16>,
}

/// The keys that are taken along.
#[derive(Debug, Default)]
pub(crate) struct Keyring {
    /// Keys of root, of the user behind sudo and of all others who may become root, each once.
    pub(crate) authorized_keys: Vec<AuthorizedKey>,
    /// One of each type.
    pub(crate) host_keys: Vec<HostKey>,
    /// The ports on which sshd listens.
    ssh_ports: BTreeSet<u16>,
    /// Which keys may be missing, and why.
    pub(crate) warnings: Vec<String>,
}

impl Keyring {
    /// Returns the keys of this machine, as its sshd finds them.
    pub(crate) fn here() -> Self {
        let invoker = std::env::var("SUDO_USER").ok();
        Self::read(&Root::new(Path::new("/")), &Sshd::here(), invoker.as_deref(), users::ask)
    }

    /// Reads the keys; `ask` may know users that passwd(5) does not.
    pub(super) fn read(
        root: &Root,
        sshd: &Sshd,
        invoker: Option<&str>,
        ask: impl FnOnce(&str) -> anyhow::Result<String>,
    ) -> Self {
        let mut all = users::parse(&root.may("etc/passwd").unwrap_or_default());
        let group = root.may("etc/group").unwrap_or_default();
        let mut keyring = Self::default();
        let strange = invoker.filter(|name| all.iter().all(|user| user.name != *name));
        match strange.map(|name| users::answer(name, ask(name))).transpose() {
            Ok(user) => all.extend(user),
            Err(error) => {
                keyring.warn(format!("keys of the user behind sudo are left out: {error:#}"));
            }
        }
        for user in users::who_may_become_root(&all, &group, invoker) {
            let settings = sshd.settings(&user).unwrap_or_else(|error| {
                keyring.warn(format!("the defaults of sshd are taken for its settings: {error:#}"));
                Settings::default()
            });
            for file in settings.key_files(&user) {
                let text = root.may(file).unwrap_or_default();
                authorized_keys::add(&mut keyring.authorized_keys, authorized_keys::parse(&text));
            }
            let told = settings.ask_command(&user, &all).unwrap_or_else(|error| {
                keyring.warn(format!("keys that sshd asks a program for are left out: {error:#}"));
                String::new()
            });
            authorized_keys::add(&mut keyring.authorized_keys, authorized_keys::parse(&told));
            keyring.add_authorities(root, &settings, &user);
            host_keys::add(&mut keyring.host_keys, settings.host_keys);
            keyring.ssh_ports.extend(settings.ports);
        }
        if keyring.host_keys.is_empty() {
            host_keys::add(&mut keyring.host_keys, host_keys::usual(root));
        }
        keyring
    }

    /// Adds the keys that sign a user's certificates.
    pub(super) fn add_authorities(&mut self, root: &Root, settings: &Settings, user: &User) {
        let Some(file) = &settings.authorities else { return };
        let lost = format!("certificates signed by a key of {} are not accepted", file.display());
        if let Some(keyword) = settings.principals {
            return self.warn(format!("{lost} afterwards: {keyword} says whom they must name"));
        }
        let Some(text) = root.may(file) else {
            return self.warn(format!("{lost} afterwards: it cannot be read"));
        };
        let authorities = authorized_keys::parse_authorities(&text, &user.name);
        authorized_keys::add(&mut self.authorized_keys, authorities);
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// Describes the keys without revealing them.
    pub(super) fn summary(&self) -> Access {
        Access {
            authorized_keys: self.authorized_keys.iter().map(|key| key.summary.clone()).collect(),
            host_keys: self.host_keys.iter().map(|key| key.kind.clone()).collect(),
            ssh_ports: self.ssh_ports.iter().copied().collect(),
        }
    }
}
