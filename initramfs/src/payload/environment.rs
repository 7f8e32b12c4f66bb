//! `anemos.env`: variables that are exported before anything of a payload runs.
//!
//! One `KEY=value` a line, blank lines and lines that begin with `#` aside. A value reaches to the
//! end of its line, without blanks around it; in single or double quotes it keeps them. Nothing is
//! expanded and a backslash is a backslash. A key is there once; `ANEMOS_` ones belong to anemos.

use std::collections::BTreeMap;

use crate::payload::PayloadError;

/// The name of the file.
pub(super) const FILE: &str = "anemos.env";

/// Parses the text of an `anemos.env`.
pub fn parse(text: &str) -> Result<BTreeMap<String, String>, PayloadError> {
    let mut variables = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let refuse = |(reason, hint): (String, &str)| PayloadError::Text {
            member: FILE.to_owned(),
            line: index + 1,
            reason,
            hint: hint.to_owned(),
        };
        let (key, value) = variable(line).map_err(refuse)?;
        if variables.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(refuse((format!("{key} is there twice"), "keep one of the two lines")));
        }
    }
    Ok(variables)
}

/// Takes a line apart. What is wrong with one is said without any of it that is not surely a name: the
/// line may be of a secret, and consoles are recorded.
fn variable(line: &str) -> Result<(&str, &str), (String, &'static str)> {
    let Some((key, value)) = line.split_once('=') else {
        let hint = "write KEY=value, or # before a comment";
        return Err(("it is no KEY=value".to_owned(), hint));
    };
    let key = key.trim_end();
    let letters = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let named = key.bytes().next().is_some_and(letters)
        && key.bytes().all(|byte| letters(byte) || byte.is_ascii_digit());
    if !named {
        let hint = "a name is made of letters, digits and _, and begins with no digit";
        return Err(("what is before = is no name of a variable".to_owned(), hint));
    }
    if key.starts_with("ANEMOS_") {
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
