//! SSH host keys, whose files may have any name here but get the usual names in the archive.

use std::fs;
use std::path::{Path, PathBuf};

use super::root::Root;

/// A private SSH host key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct HostKey {
    /// Its type, e.g. `ed25519`.
    pub(super) kind: String,
    path: PathBuf,
}

impl HostKey {
    /// Returns both halves with the names that sshd gives them; the public one only if it exists.
    pub(crate) fn files(&self) -> impl Iterator<Item = (String, PathBuf)> {
        let name = format!("ssh_host_{}_key", self.kind);
        let public = (format!("{name}.pub"), public_half(&self.path));
        let public = Some(public).filter(|(_, path)| path.exists());
        std::iter::once((name, self.path.clone())).chain(public)
    }
}

/// Adds the files that exist, one of each type, as sshd does.
pub(super) fn add(keys: &mut Vec<HostKey>, paths: Vec<PathBuf>) {
    for path in paths.into_iter().filter(|path| path.exists()) {
        let public = fs::read_to_string(public_half(&path)).unwrap_or_default();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(kind) = kind(&public, &name).map(str::to_owned) else { continue };
        if keys.iter().all(|known| known.kind != kind) {
            keys.push(HostKey { kind, path });
        }
    }
}

/// Returns the files where they are unless the configuration says otherwise.
pub(super) fn usual(root: &Root) -> Vec<PathBuf> {
    let names = root.names("etc/ssh").into_iter();
    let names = names.filter(|name| name.starts_with("ssh_host_") && name.ends_with("_key"));
    names.map(|name| root.path("etc/ssh").join(name)).collect()
}

fn public_half(private: &Path) -> PathBuf {
    let mut public = private.to_owned().into_os_string();
    public.push(".pub");
    public.into()
}

/// Returns the type of a key by the text of its public half, or else by its name.
fn kind<'t>(public: &str, name: &'t str) -> Option<&'t str> {
    match public.split_whitespace().next().unwrap_or_default() {
        "ssh-ed25519" => Some("ed25519"),
        "ssh-rsa" => Some("rsa"),
        "ssh-dss" => Some("dsa"),
        ecdsa if ecdsa.starts_with("ecdsa-") => Some("ecdsa"),
        _ => name.strip_prefix("ssh_host_")?.strip_suffix("_key"),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{add, kind};

    #[test]
    fn a_host_key_is_of_the_type_that_its_public_half_has() {
        for (public, name, want) in [
            ("ssh-ed25519 AAAA root@vps", "main", Some("ed25519")),
            ("ecdsa-sha2-nistp256 AAAA", "ssh_host_rsa_key", Some("ecdsa")),
            ("ssh-rsa AAAA", "k", Some("rsa")),
            ("", "ssh_host_rsa_key", Some("rsa")),
            ("", "main", None),
        ] {
            assert_eq!(kind(public, name), want, "{public} {name}");
        }
    }

    #[test]
    fn host_keys_get_their_usual_names_one_of_each_type() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("main", "secret"),
            ("main.pub", "ssh-ed25519 AAAA"),
            ("ssh_host_ed25519_key", "secret"),
            ("ssh_host_rsa_key", "secret"),
            ("nothing.pub", "ssh-dss AAAA"),
        ] {
            fs::write(file(name), text).unwrap();
        }
        let mut keys = Vec::new();
        let names = ["main", "ssh_host_ed25519_key", "ssh_host_rsa_key", "nothing"];
        add(&mut keys, names.map(file).into());
        let files: Vec<_> = keys.iter().flat_map(super::HostKey::files).collect();
        let want = [
            ("ssh_host_ed25519_key", "main"),
            ("ssh_host_ed25519_key.pub", "main.pub"),
            ("ssh_host_rsa_key", "ssh_host_rsa_key"),
        ];
        assert_eq!(files, want.map(|(name, path)| (name.to_owned(), file(path))));
    }
}
