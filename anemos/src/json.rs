//! Results for programs: `--json` alone prints them, `--json FILE` writes them.

use std::path::{Path, PathBuf};

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
    /// Leaves standard output to the result for programs, if that is where it goes, and removes the
    /// files of an earlier run, whose result is not this one's however it ends.
    pub(crate) fn begin(json: Option<&Self>, junit: Option<&Path>) -> anyhow::Result<()> {
        let file = match json {
            Some(Self::Printed) => {
                report::reserve_stdout();
                None
            }
            Some(Self::Written(path)) => Some(path.as_path()),
            None => None,
        };
        [file, junit].into_iter().flatten().try_for_each(forget)
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

fn forget(path: &Path) -> anyhow::Result<()> {
    match std::fs::metadata(path) {
        // A pipe or /dev/null takes a result, but keeps none.
        Ok(found) if found.is_file() => {
            let removed = std::fs::remove_file(path);
            removed.with_context(|| format!("removing the earlier {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_result_is_removed_and_a_device_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("r.json"), folder.path().join("new.xml"));
        std::fs::write(&old, "passed").unwrap();
        Json::begin(Some(&Json::Written(old.clone())), Some(&new)).unwrap();
        assert!(!old.exists() && !new.exists());
        Json::begin(Some(&Json::Written("/dev/null".into())), None).unwrap();
        assert!(Path::new("/dev/null").exists());
    }

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
