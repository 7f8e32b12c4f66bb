//! `anemos.env`: variables that are exported before anything of a payload runs.
//!
//! It has one `KEY=value` per line, apart from blank lines and lines that begin with `#`. A value
//! extends to the end of its line, without blanks around it; in single or double quotes it keeps
//! them. Nothing is expanded, and a backslash is a backslash. A key may only occur once; those that
//! begin with `ANEMOS_` are reserved for anemos.

use std::collections::BTreeMap;

use crate::environment::PREFIX;

/// The name of the file.
pub const FILE: &str = "anemos.env";

/// What is wrong with a line of an `anemos.env`.
#[derive(Debug, thiserror::Error)]
#[error("{FILE}, line {line}: {reason}")]
pub struct Mistake {
    /// The number of the line, from 1.
    pub line: usize,
    /// What is wrong, without the text of the line, which may be part of a secret.
    pub reason: String,
    /// The way out.
    pub hint: &'static str,
}

/// Parses the text of an `anemos.env`.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, Mistake> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |(reason, hint)| Mistake { line: index + 1, reason, hint };
        let (key, value) = variable(line).map_err(refuse)?;
        if variables.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(refuse((format!("{key} is there twice"), "keep one of the two lines")));
        }
    }
    Ok(variables)
}

/// Returns whether a shell accepts this as the name of a variable.
pub fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

/// Splits a line into key and value.
///
/// An error quotes nothing of the line that is not surely a name: the line may be part of a secret,
/// and consoles are recorded.
fn variable(line: &str) -> Result<(&str, &str), (String, &'static str)> {
    let Some((key, value)) = line.split_once('=') else {
        let hint = "write KEY=value, or # before a comment";
        return Err(("this is not KEY=value".to_owned(), hint));
    };
    let key = key.trim_end();
    if !is_name(key) {
        let hint = "a name is made of letters, digits and _, and begins with no digit";
        return Err(("what is before = is not a variable name".to_owned(), hint));
    }
    if key.starts_with(PREFIX) {
        return Err((format!("{key} is set by anemos"), "choose a name without ANEMOS_"));
    }
    if value.contains('\0') {
        return Err((format!("the value of {key} has a zero byte"), "remove it"));
    }
    Ok((key, unquoted(key, value.trim())?))
}

fn unquoted<'a>(key: &str, value: &'a str) -> Result<&'a str, (String, &'static str)> {
    let Some(quote) = value.chars().next().filter(|first| ['"', '\''].contains(first)) else {
        return Ok(value);
    };
    let inner = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    match inner {
        Some(inner) if !inner.contains(quote) => Ok(inner),
        _ => {
            let hint = "end the value with the quote that it begins with, and use it nowhere else";
            Err((format!("the quotes of {key} do not match"), hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_as_they_are_and_mistakes_name_their_line() {
        for (text, want) in [
            ("A=1\n\n# B=2\nC = ' x '\n", Ok(vec![("A", "1"), ("C", " x ")])),
            ("A=$B `c` \\n\n", Ok(vec![("A", "$B `c` \\n")])),
            ("A=1\nB\n", Err("anemos.env, line 2: this is not KEY=value")),
            ("1A=1\n", Err("anemos.env, line 1: what is before = is not a variable name")),
            ("A=1\nA=2\n", Err("anemos.env, line 2: A is there twice")),
            ("A='x\n", Err("anemos.env, line 1: the quotes of A do not match")),
            ("ANEMOS_DISK=x\n", Err("anemos.env, line 1: ANEMOS_DISK is set by anemos")),
        ] {
            let found = parse(text).map_err(|mistake| mistake.to_string());
            let want = want.map_err(str::to_owned).map(|pairs| {
                let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
                pairs.into_iter().map(owned).collect()
            });
            assert_eq!(found, want, "{text:?}");
        }
    }
}
