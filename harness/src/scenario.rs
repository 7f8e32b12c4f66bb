//! One file, one claim: what is rehearsed, and what must then be true.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

use crate::classify::Class;
use crate::machine::setup::Setup;
use crate::verdict::{Blame, Ending, Verdict};

pub mod payloads;
pub mod run;

/// A scenario file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What is true when the scenario passes, in one sentence.
    pub claim: String,
    /// A packed payload, a folder to pack, or a folder whose `build` makes one; beside the file.
    pub payload: PathBuf,
    /// A folder whose files are added to the payload; beside the file.
    pub overlay: Option<PathBuf>,
    /// Words to choose scenarios by.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The machine, and what befalls it.
    #[serde(default)]
    pub machine: Setup,
    /// Further arguments of `anemos test`.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Text of the configuration.
    pub config: Option<String>,
    /// What must come of it.
    pub expect: Expect,
    /// Where it was read from, without its ending; not in the file.
    #[serde(skip)]
    pub name: String,
    /// The folder of the file; not in the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// What must come of it; what is not named may be anything.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expect {
    /// Exit code of `anemos test`.
    pub exit: i32,
    /// The end; a refusal before any guest has none.
    pub verdict: Option<Ending>,
    /// Why it did not pass.
    pub class: Option<Class>,
    /// Regular expression that the reason matches.
    pub reason: Option<String>,
    /// What the deploy environment said at its end.
    pub outcome: Option<String>,
    /// Whether the disk boots the old system.
    pub old_system_back: Option<bool>,
    /// Whose fault it is.
    pub blame: Option<Blame>,
    /// Longest time in seconds, where a claim is about time.
    pub within_secs: Option<u64>,
}

/// What came of a run of `anemos test`.
#[derive(Clone, Debug, Default)]
pub struct Came {
    /// Its exit code; none when a signal ended it.
    pub exit: Option<i32>,
    /// The verdict it wrote.
    pub verdict: Option<Verdict>,
    /// What it said on stderr.
    pub stderr: String,
    /// How long it took.
    pub seconds: f64,
}

/// Why scenarios cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error("reading {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be understood.
    #[error("parsing {}: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Nothing is called so.
    #[error("no scenario matches {}", filters.join(" or "))]
    NoMatch {
        /// What was asked for.
        filters: Vec<String>,
    },
}

impl Scenario {
    /// Parses the text of a file; the regular expression is checked too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if let Some(Err(error)) = scenario.expect.reason.as_deref().map(Regex::new) {
            return Err(error.to_string());
        }
        Ok(scenario)
    }
}

/// Reads all scenarios of a folder and the folders in it, in the order of their names.
pub fn read_all(root: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let mut scenarios = Vec::new();
    collect(root, "", &mut scenarios)?;
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(scenarios)
}

fn collect(folder: &Path, prefix: &str, into: &mut Vec<Scenario>) -> Result<(), ScenarioError> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| ScenarioError::File { path, source }
    };
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "payloads" {
            collect(&path, &format!("{prefix}{name}/"), into)?;
        } else if let Some(stem) = name.strip_suffix(".toml") {
            let text = fs::read_to_string(&path).map_err(at(&path))?;
            let parsed = Scenario::parse(&text);
            let mut scenario = parsed.map_err(|reason| ScenarioError::Parse { path, reason })?;
            scenario.name = format!("{prefix}{stem}");
            folder.clone_into(&mut scenario.folder);
            into.push(scenario);
        }
    }
    Ok(())
}

/// Keeps the scenarios whose name contains one of the filters; none left is an error.
pub fn select(all: Vec<Scenario>, filters: &[String]) -> Result<Vec<Scenario>, ScenarioError> {
    let wanted = |scenario: &Scenario| {
        filters.is_empty() || filters.iter().any(|filter| scenario.name.contains(filter.as_str()))
    };
    let chosen: Vec<_> = all.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        return Err(ScenarioError::NoMatch { filters: filters.to_vec() });
    }
    Ok(chosen)
}

impl Expect {
    /// Returns everything that is not as it must be, a line each.
    pub fn differences(&self, came: &Came) -> Vec<String> {
        let verdict = came.verdict.as_ref();
        let mut lines = Vec::new();
        let mut compare = |what: &str, wanted: Option<String>, found: Option<String>| {
            if wanted.is_some() && wanted != found {
                let (wanted, found) = (wanted.unwrap_or_default(), found.unwrap_or("none".into()));
                lines.push(format!("{what} is {found}, not {wanted}"));
            }
        };
        compare("exit code", Some(self.exit.to_string()), came.exit.map(|code| code.to_string()));
        compare("verdict", word(self.verdict), word(verdict.map(|v| v.verdict)));
        compare("class", word(self.class), word(verdict.and_then(|v| v.class)));
        compare("outcome", self.outcome.clone(), verdict.and_then(|v| v.outcome.clone()));
        let back = verdict.and_then(|v| v.old_system_back);
        compare("old system back", word(self.old_system_back), word(back));
        compare("blame", word(self.blame), word(verdict.and_then(|v| v.blame)));
        self.compare_reason(came, &mut lines);
        if let Some(within) = self.within_secs.filter(|within| came.seconds > seconds(*within)) {
            lines.push(format!("it took {:.1} s, more than {within} s", came.seconds));
        }
        lines
    }

    /// A refusal before any guest has no verdict: its reason is the error on stderr.
    fn compare_reason(&self, came: &Came, lines: &mut Vec<String>) {
        let Some(wanted) = &self.reason else { return };
        let error = || came.stderr.lines().find_map(|line| line.strip_prefix("error: "));
        let found = came.verdict.as_ref().map(|verdict| verdict.reason.as_str()).or_else(error);
        let found = found.unwrap_or_default();
        if !Regex::new(wanted).is_ok_and(|wanted| wanted.is_match(found)) {
            lines.push(format!("reason is {found:?}, which does not match /{wanted}/"));
        }
    }
}

fn seconds(whole: u64) -> f64 {
    std::time::Duration::from_secs(whole).as_secs_f64()
}

/// The word of the files for a value.
fn word<T: serde::Serialize>(value: Option<T>) -> Option<String> {
    match serde_json::to_value(value?).ok()? {
        serde_json::Value::String(word) => Some(word),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests;
