//! Describes mistakes in TOML, depending on where it comes from.

use std::ops::Range;

use crate::report::Refused;

/// Turns a parse error of a configuration into a refusal.
///
/// The refusal names line, key, value and the way out.
pub(crate) fn in_configuration(text: &str, error: &toml::de::Error) -> Refused {
    let span = error.span().unwrap_or(0..0);
    let line = text.get(..span.start).unwrap_or_default().matches('\n').count() + 1;
    let message = error.message().trim();
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_key(line, &quoted(rest));
    }
    let (reason, allowed) = split_expectation(message);
    let key = key_at(text, &span);
    let value = text.get(span).unwrap_or_default().trim();
    Refused::new(reason_of(line, key, value, reason), way_out(allowed))
}

/// Describes a mistake in a flag's value on one line, because there is no line number to name.
pub(crate) fn in_flag(error: &toml::de::Error) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('`', "\"")
}

/// Describes a mistake in another file: the line itself, with a mark at the mistake.
pub(crate) fn in_file(error: &toml::de::Error) -> String {
    error.to_string().trim_end().to_owned()
}

/// Describes a mistake in a word that stands for a value.
pub(crate) fn in_word(error: &toml::de::Error) -> String {
    error.message().to_owned()
}

fn unknown_key(line: usize, names: &[&str]) -> Refused {
    let Some((unknown, known)) = names.split_first() else {
        return Refused::new(format!("line {line}: unknown key"), "remove it");
    };
    let near = known.iter().max_by(|a, b| near(unknown, a).total_cmp(&near(unknown, b)));
    let near = near.map(|near| format!("the nearest known key is {near:?}; "));
    Refused::new(
        format!("line {line}: unknown key {unknown:?}"),
        format!("{}known here: {}", near.unwrap_or_default(), known.join(", ")),
    )
}

fn near(a: &str, b: &str) -> f64 {
    strsim::normalized_damerau_levenshtein(a, b)
}

/// Returns the words between backticks, which is how serde names fields and variants.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn split_expectation(message: &str) -> (&str, Option<&str>) {
    match message.split_once(", expected ") {
        Some((reason, allowed)) => (reason, Some(allowed)),
        None => (message, None),
    }
}

/// Returns the key of the line that contains the value at `span`.
fn key_at<'t>(text: &'t str, span: &Range<usize>) -> Option<&'t str> {
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    let (key, _) = text.get(start..span.start)?.split_once('=')?;
    Some(key.trim())
}

fn reason_of(line: usize, key: Option<&str>, value: &str, reason: &str) -> String {
    match key {
        Some(key)
            if reason.starts_with("unknown variant") || reason.starts_with("invalid type") =>
        {
            format!("line {line}: {key} cannot be {value}")
        }
        Some(key) => format!("line {line}: {key}: {}", reason.replace('\n', " ")),
        None => format!("line {line}: {}", reason.replace('\n', " ")),
    }
}

fn way_out(allowed: Option<&str>) -> String {
    let allowed = allowed.map(|allowed| {
        let words = quoted(allowed);
        if words.is_empty() { allowed.to_owned() } else { words.join(", ") }
    });
    match allowed.as_deref() {
        Some("u64") => "allowed: a whole number, not below zero".to_owned(),
        Some(allowed) => format!("allowed: {allowed}"),
        None => "see anemos.example.toml for every key and what it may hold".to_owned(),
    }
}
