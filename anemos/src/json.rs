//! Results for programs: `--json` alone prints them, `--json FILE` writes them.

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;

use crate::report;

/// What stands for standard output, and what `--json` alone means.
pub(crate) const STDOUT: &str = "-";

/// Where a result goes as JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Json {
    /// It is all that standard output gets: whatever is for people goes to standard error.
    Printed,
    /// It is written to this file at the end.
    Written(PathBuf),
}

impl From<&str> for Json {
    fn from(word: &str) -> Self {
        if word == STDOUT { Self::Printed } else { Self::Written(word.into()) }
    }
}

impl Json {
    /// Leaves standard output to the result for programs, if that is where it goes.
    pub(crate) fn begin(json: Option<&Self>) {
        if json == Some(&Self::Printed) {
            report::reserve_stdout();
        }
    }

    /// Prints or writes the result.
    pub(crate) fn put<T: Serialize + ?Sized>(&self, value: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value).context("writing JSON")?;
        match self {
            Self::Printed => report::for_programs(&text),
            Self::Written(path) => {
                let written = std::fs::write(path, text + "\n");
                written.with_context(|| format!("writing {}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dash_stands_for_standard_output() {
        for (word, want) in [
            ("-", Json::Printed),
            ("r.json", Json::Written("r.json".into())),
            ("./-", Json::Written("./-".into())),
        ] {
            assert_eq!(Json::from(word), want, "{word}");
        }
    }
}
