//! Lines of `authorized_keys` (sshd(8)): the one place that tells which of them are keys.

use serde::{Deserialize, Serialize};

/// One authorised key, told without the key itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct KeySummary {
    /// E.g. `ssh-ed25519`.
    pub(crate) kind: String,
    pub(crate) comment: String,
    /// Whether options were cut that only send people to another user.
    pub(crate) forced_command_cut: bool,
}

/// An authorised key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AuthorizedKey {
    /// The line, with all options that restrict the key.
    pub(crate) line: String,
    pub(super) summary: KeySummary,
    /// The key alone, by which two lines are the same.
    key: String,
    restricted: bool,
}

/// Parses the text of a file of authorised keys; lines that are no key are left out.
pub(crate) fn parse(text: &str) -> Vec<AuthorizedKey> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(key).collect()
}

/// Adds keys that are not there yet; of two lines for one key, that without options counts.
pub(super) fn add(keys: &mut Vec<AuthorizedKey>, more: Vec<AuthorizedKey>) {
    for new in more {
        match keys.iter_mut().find(|known| known.key == new.key) {
            Some(known) if known.restricted && !new.restricted => *known = new,
            Some(_) => {}
            None => keys.push(new),
        }
    }
}

fn key(line: &str) -> Option<AuthorizedKey> {
    let words = words(line);
    let at = words.iter().position(|(_, word)| is_key_type(word))?;
    let ((start, kind), rest) = words.get(at..)?.split_first()?;
    let ((_, key), comment) = rest.split_first()?;
    if !is_key(key) {
        return None;
    }
    let options = line.get(..*start).unwrap_or_default();
    let cut = sends_away(options);
    let line = if cut { line.get(*start..)? } else { line };
    let comment = comment.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
    Some(AuthorizedKey {
        line: line.to_owned(),
        summary: KeySummary { kind: (*kind).to_owned(), comment, forced_command_cut: cut },
        key: (*key).to_owned(),
        restricted: !options.is_empty() && !cut,
    })
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
}

/// A key is base64 of fields with their lengths before them, in 32 bits (RFC 4253, section 6.6);
/// the first field is the type, whose length needs none of the first 24.
fn is_key(word: &str) -> bool {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    word.starts_with("AAAA") && word.bytes().all(base64)
}

/// Whether options force a command that only says whom to log in as: cloud images keep people from
/// root so. Any other command is what its key is for, and such a key must not get in without it.
fn sends_away(options: &str) -> bool {
    let options = options.to_ascii_lowercase();
    let Some((_, command)) = options.split_once("command=\"") else { return false };
    command.starts_with("echo ")
        && ["login as", "log in as"].iter().any(|words| command.contains(words))
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

#[cfg(test)]
mod tests {
    use super::{add, parse};

    #[test]
    fn only_commands_that_send_people_to_another_user_are_cut() {
        let login = r#"no-pty,command="echo 'Log in as \"debian\" rather than ssh-rsa'" "#;
        let cloud =
            r#"no-port-forwarding,command="echo 'Please login as the user \"a\"';exit 142" "#;
        let backup = r#"restrict,command="borg serve --append-only" ssh-ed25519 AAAAE b"#;
        for (text, want) in [
            ("ssh-ed25519 AAAA me@here", "ssh-ed25519 AAAA me@here|me@here|false"),
            (&format!("{login}ssh-rsa AAAAB a b"), "ssh-rsa AAAAB a b|a b|true"),
            (&format!("{cloud}ssh-rsa AAAAB"), "ssh-rsa AAAAB||true"),
            (backup, &format!("{backup}|b|false")),
            (r#"from="10.0.0.0/8" ssh-rsa AAAAC"#, r#"from="10.0.0.0/8" ssh-rsa AAAAC||false"#),
            ("  sk-ssh-ed25519@openssh.com AAAAD=", "sk-ssh-ed25519@openssh.com AAAAD=||false"),
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
    fn lines_that_are_no_key_are_left_out() {
        for text in [
            "",
            "# ssh-rsa AAAA",
            "ssh-rsa",
            "ssh-rsa BBBB me@here",
            "ssh-rsa AAAA-BBBB",
            "nonsense here",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END",
        ] {
            assert_eq!(parse(text), [], "{text}");
        }
    }

    #[test]
    fn a_key_is_there_once_and_restricted_only_where_it_always_is() {
        for (lines, want) in [
            (["ssh-rsa AAAA a", "ssh-rsa AAAA b"], "ssh-rsa AAAA a"),
            (["no-pty ssh-rsa AAAA a", "ssh-rsa AAAA b"], "ssh-rsa AAAA b"),
            (["ssh-rsa AAAA a", "no-pty ssh-rsa AAAA b"], "ssh-rsa AAAA a"),
            (["ssh-rsa AAAA a", "ssh-rsa AAAAB b"], "ssh-rsa AAAA a\nssh-rsa AAAAB b"),
        ] {
            let mut keys = Vec::new();
            for line in lines {
                add(&mut keys, parse(line));
            }
            let said: Vec<_> = keys.into_iter().map(|key| key.line).collect();
            assert_eq!(said.join("\n"), want, "{lines:?}");
        }
    }
}
