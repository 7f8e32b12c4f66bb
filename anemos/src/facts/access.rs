//! Who may log in: authorised keys and SSH host keys; what is secret or long is not in the facts.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::root::Root;

/// Who may log in, told without the keys themselves.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Access {
    pub(crate) authorized_keys: Vec<KeySummary>,
    /// Types of the SSH host keys, e.g. `ed25519`.
    pub(crate) host_keys: Vec<String>,
}

/// One authorised key.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct KeySummary {
    /// E.g. `ssh-ed25519`.
    pub(crate) kind: String,
    pub(crate) comment: String,
    /// Whether options with a forced command were cut.
    pub(crate) forced_command_cut: bool,
}

/// An authorised key, as a line of sshd(8).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AuthorizedKey {
    /// The line without a forced command.
    pub(crate) line: String,
    summary: KeySummary,
}

pub(super) fn read(root: &Root, invoker: Option<&str>) -> Access {
    Access {
        authorized_keys: keys(root, invoker).into_iter().map(|key| key.summary).collect(),
        host_keys: host_keys(root).into_iter().map(|(kind, _)| kind).collect(),
    }
}

/// Returns the keys that may log in as root, or as the user behind sudo, each once.
pub(crate) fn authorized_keys() -> Vec<AuthorizedKey> {
    let invoker = std::env::var("SUDO_USER").ok();
    keys(&Root::new(Path::new("/")), invoker.as_deref())
}

/// Returns the private SSH host keys; their public halves lie beside them, ending in `.pub`.
pub(crate) fn host_key_files() -> Vec<PathBuf> {
    host_keys(&Root::new(Path::new("/"))).into_iter().map(|(_, path)| path).collect()
}

fn keys(root: &Root, invoker: Option<&str>) -> Vec<AuthorizedKey> {
    let users = root.may("etc/passwd").unwrap_or_default();
    let mut homes = vec![home(&users, "root").unwrap_or("/root")];
    homes.extend(invoker.and_then(|name| home(&users, name)));
    let mut keys: Vec<AuthorizedKey> = Vec::new();
    for file in ["authorized_keys", "authorized_keys2"] {
        for home in &homes {
            let text = root.may(Path::new(home).join(".ssh").join(file)).unwrap_or_default();
            for key in parse(&text) {
                if keys.iter().all(|known| known.line != key.line) {
                    keys.push(key);
                }
            }
        }
    }
    keys
}

/// Returns the home of a user in the text of passwd(5).
fn home<'t>(users: &'t str, name: &str) -> Option<&'t str> {
    users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| {
        (fields.first() == Some(&name)).then(|| fields.get(5).copied()).flatten()
    })
}

/// Parses the text of a file of authorised keys; lines that are no key are left out.
pub(crate) fn parse(text: &str) -> Vec<AuthorizedKey> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(key).collect()
}

fn key(line: &str) -> Option<AuthorizedKey> {
    let words = words(line);
    let at = words.iter().position(|(_, word)| is_key_type(word))?;
    let ((start, kind), rest) = words.get(at..)?.split_first()?;
    rest.first()?;
    let options = line.get(..*start).unwrap_or_default();
    // Cloud images let root log in only to be told to log in as someone else.
    let forced = options.to_ascii_lowercase().contains("command=");
    let line = if forced { line.get(*start..)? } else { line };
    let comment = rest.iter().skip(1).map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
    let summary = KeySummary { kind: (*kind).to_owned(), comment, forced_command_cut: forced };
    Some(AuthorizedKey { line: line.to_owned(), summary })
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
}

/// Splits at blanks that are not between quotes, and says where each word begins.
fn words(line: &str) -> Vec<(usize, &str)> {
    let (mut words, mut start, mut quoted, mut escaped) = (Vec::new(), None, false, false);
    for (index, character) in line.char_indices() {
        match character {
            ' ' | '\t' if !quoted => {
                words.extend(start.take().and_then(|start| Some((start, line.get(start..index)?))));
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        if start.is_none() && (quoted || !character.is_whitespace()) {
            start = Some(index);
        }
        escaped = character == '\\';
    }
    words.extend(start.and_then(|start| Some((start, line.get(start..)?))));
    words
}

/// Returns type and path of the private SSH host keys.
fn host_keys(root: &Root) -> Vec<(String, PathBuf)> {
    let names = root.names("etc/ssh").into_iter();
    names
        .filter_map(|name| {
            let kind = name.strip_prefix("ssh_host_")?.strip_suffix("_key")?.to_owned();
            Some((kind, root.path("etc/ssh").join(name)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{home, parse};

    #[test]
    fn forced_commands_are_cut_and_other_options_kept() {
        let command = r#"no-pty,command="echo 'Log in as \"debian\" rather than ssh-rsa'" "#;
        for (text, want) in [
            ("ssh-ed25519 AAAA me@here", "ssh-ed25519 AAAA me@here|me@here|false"),
            (&format!("{command}ssh-rsa BBBB a b"), "ssh-rsa BBBB a b|a b|true"),
            (r#"from="10.0.0.0/8" ssh-rsa C"#, r#"from="10.0.0.0/8" ssh-rsa C||false"#),
            ("  sk-ssh-ed25519@openssh.com D", "sk-ssh-ed25519@openssh.com D||false"),
            ("# ssh-rsa AAAA", ""),
            ("ssh-rsa", ""),
            ("nonsense here", ""),
            ("", ""),
        ] {
            let said: Vec<_> = parse(text)
                .iter()
                .map(|key| {
                    let summary = &key.summary;
                    format!("{}|{}|{}", key.line, summary.comment, summary.forced_command_cut)
                })
                .collect();
            assert_eq!(said.join("\n"), want, "{text}");
        }
    }

    #[test]
    fn homes_come_from_the_user_database() {
        let users = "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/srv/ada:/bin/sh\n";
        assert_eq!(home(users, "ada"), Some("/srv/ada"));
        assert_eq!(home(users, "bob"), None);
    }
}
