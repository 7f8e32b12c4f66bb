//! The file `modes`: modes and owners that git cannot keep.
//!
//! Each line is `MODE OWNER:GROUP PATH`; blank lines and lines that begin with `#` are skipped. `-`
//! leaves a mode or an owner unchanged. Names are looked up in the image's own `/etc/passwd` and
//! `/etc/group`.

use std::path::{Path, PathBuf};

use crate::error::{Problem, file};
use crate::evaluate::optional;
use crate::root::Root;

/// The name of the file.
const FILE: &str = "modes";

/// What one line sets.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Setting {
    line: usize,
    mode: Option<u32>,
    owner: Option<(String, String)>,
    path: PathBuf,
}

/// Reads the file of a project; if it does not exist, nothing is set.
pub(crate) fn read(project: &Path) -> Result<Vec<Setting>, Problem> {
    let bytes = optional(project, FILE)?.unwrap_or_default();
    parse(&String::from_utf8_lossy(&bytes))
}

fn refuse(line: usize, reason: impl Into<String>, hint: &str) -> Problem {
    let (file, hint) = (FILE.to_owned(), hint.to_owned());
    Problem::Text { file, line, reason: reason.into(), hint }
}

fn parse(text: &str) -> Result<Vec<Setting>, Problem> {
    let mut settings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let hint = "write MODE OWNER:GROUP PATH, such as `0640 root:www-data /etc/app.conf`";
        let refuse = |reason: String| refuse(index + 1, reason, hint);
        let mut words = line.splitn(3, char::is_whitespace);
        let (Some(mode), Some(owner), Some(path)) = (words.next(), words.next(), words.next())
        else {
            return Err(refuse(format!("{line:?} is not MODE OWNER:GROUP PATH")));
        };
        let octal = u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777);
        if octal.is_none() && mode != "-" {
            return Err(refuse(format!("{mode:?} is not a mode, such as 0640")));
        }
        let pair =
            owner.split_once(':').filter(|(user, group)| !user.is_empty() && !group.is_empty());
        if pair.is_none() && owner != "-" {
            return Err(refuse(format!("{owner:?} is not OWNER:GROUP")));
        }
        let path = path.trim();
        if !path.starts_with('/') || path == "/" {
            return Err(refuse(format!("{path:?} is not a path from / on")));
        }
        let owner = pair.map(|(user, group)| (user.to_owned(), group.to_owned()));
        settings.push(Setting { line: index + 1, mode: octal, owner, path: path.into() });
    }
    Ok(settings)
}

/// Sets what the lines say, in their order.
pub(crate) fn set(root: &Root, settings: &[Setting]) -> Result<(), Problem> {
    for setting in settings {
        let owner = match &setting.owner {
            None => None,
            Some((user, group)) => Some((
                number(root, setting.line, "/etc/passwd", user)?,
                number(root, setting.line, "/etc/group", group)?,
            )),
        };
        let doing = format!("setting mode and owner of {}", setting.path.display());
        root.set(&setting.path, setting.mode, owner)
            .map_err(file(doing))
            .map_err(|problem| problem.about(format!("{FILE}, line {}", setting.line)))?;
    }
    Ok(())
}

/// Returns the number of a user or a group by its name, which may also be a number.
fn number(root: &Root, line: usize, list: &str, name: &str) -> Result<u32, Problem> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let bytes = root.read(Path::new(list)).map_err(file(format!("reading {list} of the image")))?;
    let text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    let mut entries = text.lines().map(|entry| entry.split(':').collect::<Vec<_>>());
    let number = entries.find_map(|entry| match entry.as_slice() {
        [found, _, number, ..] if *found == name => number.parse().ok(),
        _ => None,
    });
    number.ok_or_else(|| {
        let hint = "take a name that a package has made, a number, or chown in `provision`";
        refuse(line, format!("{list} of the image has no {name}"), hint)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_named() {
        for (text, want) in [
            ("0640 root:root", "line 1: \"0640 root:root\" is not MODE OWNER:GROUP PATH"),
            ("\n0999 root:root /a", "line 2: \"0999\" is not a mode, such as 0640"),
            ("17777 root:root /a", "line 1: \"17777\" is not a mode, such as 0640"),
            ("0640 root /a", "line 1: \"root\" is not OWNER:GROUP"),
            ("0640 root:root a", "line 1: \"a\" is not a path from / on"),
        ] {
            let found = parse(text).map_err(|problem| problem.to_string());
            assert_eq!(found, Err(format!("modes, {want}")), "{text:?}");
        }
        let settings = parse("# x\n4755 - /usr/bin/a b\n").map_err(|problem| problem.to_string());
        let path = PathBuf::from("/usr/bin/a b");
        assert_eq!(settings, Ok(vec![Setting { line: 2, mode: Some(0o4755), owner: None, path }]));
    }
}
