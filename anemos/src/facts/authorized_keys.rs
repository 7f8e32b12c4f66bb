//! Parses lines of `authorized_keys` (sshd(8)); only this module decides which of them are keys.

use serde::{Deserialize, Serialize};

/// One authorised key, without the key itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct KeySummary {
    /// Its type, e.g. `ssh-ed25519`.
    pub(crate) kind: String,
    pub(crate) comment: String,
    /// Whether options were removed that only send people to another user.
    pub(crate) forced_command_cut: bool,
}

/// An authorised key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct AuthorizedKey {
    /// The line, with all options that restrict the key.
    pub(crate) line: String,
    pub(super) summary: KeySummary,
    /// The key alone, by which two lines are the same.
    ///
    /// For an authority it includes the options, because it stands for other people on each line.
    key: String,
    reach: Reach,
    /// When it stops giving a shell, as digits from the year on; in the past if it is invalid.
    expires: Option<String>,
}

/// How far a key lets people in, in ascending order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Reach {
    /// It lets them run one command.
    Command,
    /// It gives a shell, with options.
    Restricted,
    Free,
}

impl AuthorizedKey {
    /// Returns whether the key gives somebody a shell at a moment, e.g. `2026-01-31T23:59:59Z`.
    ///
    /// Times are taken as UTC, whatever sshd's time zone is, because a key that expires within
    /// hours is not a way in.
    pub(crate) fn gives_shell(&self, now: &str) -> bool {
        let now: String = now.chars().filter(char::is_ascii_digit).collect();
        self.reach > Reach::Command && self.expires.as_ref().is_none_or(|end| *end > now)
    }
}

/// Parses the text of a file of authorised keys, skipping lines that are not keys.
pub(crate) fn parse(text: &str) -> Vec<AuthorizedKey> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(key).collect()
}

/// Parses the text of a file of keys that sign certificates, to lines that accept those of a user.
pub(super) fn parse_authorities(text: &str, user: &str) -> Vec<AuthorizedKey> {
    let authorities = parse(text).into_iter().filter(|key| key.reach == Reach::Free);
    let lines = authorities.map(|key| format!("cert-authority,principals=\"{user}\" {}", key.line));
    lines.filter_map(|line| key(&line)).collect()
}

/// Adds keys that are missing; of two lines for one key, the one that reaches further counts.
pub(super) fn add(keys: &mut Vec<AuthorizedKey>, more: Vec<AuthorizedKey>) {
    for new in more {
        match keys.iter_mut().find(|known| known.key == new.key) {
            Some(known) if known.reach < new.reach => *known = new,
            Some(_) => {}
            None => keys.push(new),
        }
    }
}

fn key(line: &str) -> Option<AuthorizedKey> {
    let words = split(line, |character| matches!(character, ' ' | '\t'));
    let at = words.iter().position(|(_, word)| is_key_type(word))?;
    let ((start, kind), rest) = words.get(at..)?.split_first()?;
    let ((_, key), comment) = rest.split_first()?;
    if !is_key(key) {
        return None;
    }
    let before = line.get(..*start).unwrap_or_default();
    let options = options(before);
    let is_authority = values(&options, "cert-authority").next().is_some();
    let cut = sends_away(&options);
    let line = if cut { line.get(*start..)? } else { line };
    let comment = comment.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(" ");
    Some(AuthorizedKey {
        line: line.to_owned(),
        summary: KeySummary { kind: (*kind).to_owned(), comment, forced_command_cut: cut },
        key: if is_authority { format!("{before}{key}") } else { (*key).to_owned() },
        reach: if cut { Reach::Free } else { reach(&options) },
        expires: if cut { None } else { expiry(&options) },
    })
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
}

/// Returns whether a word is a key.
///
/// A key is base64 of fields, each preceded by its length in 32 bits (RFC 4253, section 6.6); the
/// first field is the type, whose length needs none of the first 24.
fn is_key(word: &str) -> bool {
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    word.starts_with("AAAA") && word.bytes().all(base64)
}

/// Returns the names of options, in lower case, and their values; names in quotes do not count.
fn options(text: &str) -> Vec<(String, &str)> {
    let options = split(text.trim(), |character| character == ',').into_iter();
    let options = options.map(|(_, option)| option.split_once('=').unwrap_or((option, "")));
    options.map(|(name, value)| (name.to_ascii_lowercase(), value.trim_matches('"'))).collect()
}

fn values<'o>(
    options: &'o [(String, &str)],
    wanted: &'static str,
) -> impl Iterator<Item = &'o str> {
    options.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| *value)
}

fn reach(options: &[(String, &str)]) -> Reach {
    match options {
        [] => Reach::Free,
        _ if values(options, "command").next().is_some() => Reach::Command,
        _ => Reach::Restricted,
    }
}

/// Returns the first of all expiry times, as sshd does; an invalid one lets nobody in.
fn expiry(options: &[(String, &str)]) -> Option<String> {
    let ends = values(options, "expiry-time").map(|value| {
        let end = value.trim_end_matches(['Z', 'z']);
        let is_end = matches!(end.len(), 8 | 12 | 14) && end.bytes().all(|it| it.is_ascii_digit());
        if is_end { end.to_owned() } else { String::new() }
    });
    ends.min()
}

/// Returns whether options force a command that only says whom to log in as.
///
/// Cloud images use this to keep people from logging in as root. Any other command is what its key
/// is for, and such a key must not get in without it.
fn sends_away(options: &[(String, &str)]) -> bool {
    let Some(command) = values(options, "command").next() else { return false };
    let command = command.to_ascii_lowercase();
    command.starts_with("echo ")
        && ["login as", "log in as"].iter().any(|words| command.contains(words))
}

/// Splits at characters that are not between quotes; returns each part with its position.
fn split(line: &str, separates: fn(char) -> bool) -> Vec<(usize, &str)> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), None, false, false);
    for (index, character) in line.char_indices() {
        match character {
            _ if separates(character) && !quoted => {
                parts.extend(start.take().and_then(|start| Some((start, line.get(start..index)?))));
            }
            '"' if !escaped => quoted = !quoted,
            _ => {}
        }
        if start.is_none() && (quoted || !separates(character)) {
            start = Some(index);
        }
        escaped = character == '\\';
    }
    parts.extend(start.and_then(|start| Some((start, line.get(start..)?))));
    parts
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
    fn a_key_gives_a_shell_unless_it_is_for_a_command_or_has_ended() {
        for (options, want) in [
            ("", true),
            ("no-pty,restrict ", true),
            (r#"from="10.0.0.0/8,command=" "#, true),
            (r#"command="rrsync -ro /srv" "#, false),
            (r#"restrict,Command="borg serve, \"a\"",no-pty "#, false),
            (r#"from="a,b",command="true" "#, false),
            (r#"command="echo 'Please login as the user \"a\"';exit 142" "#, true),
            (r#"environment="X=command=y" "#, true),
            (r#"expiry-time="20260131" "#, false),
            (r#"expiry-time="20260201Z" "#, true),
            (r#"EXPIRY-TIME="202601311205" "#, true),
            (r#"expiry-time="20260131115959",expiry-time="2030" "#, false),
            (r#"expiry-time="20300101",expiry-time="20260131115959Z" "#, false),
        ] {
            let keys = parse(&format!("{options}ssh-ed25519 AAAA me@here"));
            let said: Vec<_> =
                keys.iter().map(|key| key.gives_shell("2026-01-31T12:00:00Z")).collect();
            assert_eq!(said, [want], "{options}");
        }
    }

    #[test]
    fn a_key_is_there_once_and_restricted_only_where_it_always_is() {
        for (lines, want) in [
            (["ssh-rsa AAAA a", "ssh-rsa AAAA b"], "ssh-rsa AAAA a"),
            (["no-pty ssh-rsa AAAA a", "ssh-rsa AAAA b"], "ssh-rsa AAAA b"),
            (["ssh-rsa AAAA a", "no-pty ssh-rsa AAAA b"], "ssh-rsa AAAA a"),
            ([r#"command="c" ssh-rsa AAAA a"#, "no-pty ssh-rsa AAAA b"], "no-pty ssh-rsa AAAA b"),
            (["ssh-rsa AAAA a", "ssh-rsa AAAAB b"], "ssh-rsa AAAA a\nssh-rsa AAAAB b"),
            (
                ["ssh-rsa AAAA a", "cert-authority ssh-rsa AAAA a"],
                "ssh-rsa AAAA a\ncert-authority ssh-rsa AAAA a",
            ),
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
