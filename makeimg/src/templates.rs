//! Renders templates: `${NAME}` is a variable, `${secret:PATH}` a secret, `$$` a dollar sign.
//!
//! Any other dollar sign stays as it is, because configuration files are full of them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Problem, file};
use crate::project::Variables;
use crate::root::Root;
use crate::secrets::Secrets;
use crate::step::Watch;

/// Permission bits of group and others.
const OTHERS: u32 = 0o077;

/// Renders templates, each to its path in the image, with the template's mode.
///
/// If the result contains a secret, only its owner can read it.
pub(crate) fn render<'a>(
    root: &Root,
    templates: impl IntoIterator<Item = (&'a PathBuf, &'a PathBuf)>,
    variables: &Variables,
    secrets: &mut Secrets,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    for (path, source) in templates {
        let reading = || file(format!("reading {}", source.display()));
        let text = fs::read(source).map_err(reading())?;
        let mode = fs::metadata(source).map_err(reading())?.permissions().mode() & 0o7777;
        let mut secret = false;
        let rendered = expand(&text, &mut |name| {
            let Some(name) = name.strip_prefix("secret:") else {
                return Ok(variables.get(name).map(|value| value.as_bytes().to_vec()));
            };
            secret = true;
            // Strip newlines like a shell does it with the output of a program.
            let value = secrets.get(Path::new(name), watch)?;
            Ok(value.map(|value| without_newlines(value).to_vec()))
        });
        let rendered = rendered.map_err(|wrong| wrong.problem(source))?;
        let mode = if secret { mode & !OTHERS } else { mode };
        root.place(path, &mut &*rendered, mode)
            .map_err(file(format!("writing /{}", path.display())))?;
    }
    Ok(())
}

/// Refuses templates that could not be rendered, without writing anything.
///
/// Without `variables`, any name is accepted, because `setup` may still set some.
pub(crate) fn check<'a>(
    templates: impl IntoIterator<Item = &'a PathBuf>,
    variables: Option<&Variables>,
    secrets: &Secrets,
) -> Result<(), Problem> {
    let known = |name: &str| match name.strip_prefix("secret:") {
        Some(secret) => secrets.has(Path::new(secret)),
        None => variables.is_none_or(|variables| variables.contains_key(name)),
    };
    for source in templates {
        let text = fs::read(source).map_err(file(format!("reading {}", source.display())))?;
        let expanded = expand(&text, &mut |name| Ok(known(name).then(Vec::new)));
        expanded.map_err(|wrong| wrong.problem(source))?;
    }
    Ok(())
}

fn without_newlines(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
    value.get(..end).unwrap_or_default()
}

/// What is wrong with a template.
enum Wrong {
    Unknown { line: usize, name: String },
    Open { line: usize },
    Other(Problem),
}

impl Wrong {
    fn problem(self, source: &Path) -> Problem {
        let file = source.display().to_string();
        let (line, reason, mend) = match self {
            Self::Unknown { line, name } => match name.strip_prefix("secret:") {
                Some(secret) => {
                    (line, format!("there is no secret {secret}"), "put it into the folder secrets")
                }
                None => (line, format!("there is no variable {name}"), "set it in IMGBUILD"),
            },
            Self::Open { line } => (line, "${ is not closed on its line".to_owned(), "close it"),
            Self::Other(problem) => return problem.about(format!("rendering {file}")),
        };
        let hint = format!("{mend}, or write $${{ for a literal ${{");
        Problem::Text { file, line, reason, hint }
    }
}

type Lookup<'a> = dyn FnMut(&str) -> Result<Option<Vec<u8>>, Problem> + 'a;

fn expand(text: &[u8], value: &mut Lookup<'_>) -> Result<Vec<u8>, Wrong> {
    let mut out = Vec::with_capacity(text.len());
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let mut rest = line;
        while let Some(dollar) = rest.iter().position(|byte| *byte == b'$') {
            let (before, after) = rest.split_at(dollar);
            out.extend(before);
            match after {
                [b'$', b'$', tail @ ..] => {
                    out.push(b'$');
                    rest = tail;
                }
                [b'$', b'{', tail @ ..] => {
                    let close = tail.iter().position(|byte| *byte == b'}');
                    let close = close.ok_or(Wrong::Open { line: number })?;
                    let (name, tail) = tail.split_at(close);
                    let name = String::from_utf8_lossy(name).into_owned();
                    let found = value(&name).map_err(Wrong::Other)?;
                    out.extend(found.ok_or(Wrong::Unknown { line: number, name })?);
                    rest = tail.get(1..).unwrap_or_default();
                }
                [dollar, tail @ ..] => {
                    out.push(*dollar);
                    rest = tail;
                }
                [] => rest = &[],
            }
        }
        out.extend(rest);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_other_dollars_stay() {
        let mut value = |name: &str| {
            Ok(match name {
                "A" => Some(b"1\n$B".to_vec()),
                "E" => Some(Vec::new()),
                _ => None,
            })
        };
        for (text, want) in [
            ("x ${A} y\n", Ok("x 1\n$B y\n")),
            ("$host $1 $( $", Ok("$host $1 $( $")),
            ("$${A} $$$$ $$", Ok("${A} $$ $")),
            ("${E}${E}", Ok("")),
            ("a\nb ${B}\n", Err("t, line 2: there is no variable B")),
            ("${secret:k}", Err("t, line 1: there is no secret k")),
            ("\n\n${A\n}", Err("t, line 3: ${ is not closed on its line")),
            ("${A:-1}", Err("t, line 1: there is no variable A:-1")),
        ] {
            let found = expand(text.as_bytes(), &mut value)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|wrong| wrong.problem(Path::new("t")).to_string());
            assert_eq!(found, want.map(str::to_owned).map_err(str::to_owned), "{text:?}");
        }
    }
}
