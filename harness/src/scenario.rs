//! A scenario: one file with one claim, what is rehearsed, and what must then be true.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::file::{FileError, ParseError};
use crate::machine::setup::Setup;

pub mod admission;
pub mod campaign;
pub mod expect;
pub mod found;
pub mod generated;
pub mod history;
pub mod payloads;
pub mod run;
pub mod select;
mod struck;

pub use expect::{Came, Expect};

/// A scenario file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// What is true when the scenario passes, in one sentence.
    pub claim: String,
    /// A packed payload, a folder to pack, or a folder whose `build` makes one; next to the file.
    ///
    /// By default it is the one that the suite is run with.
    pub payload: Option<PathBuf>,
    /// A folder whose files are added to the payload; next to the file.
    pub overlay: Option<PathBuf>,
    /// Words that select scenarios.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The machine, with the faults that strike it.
    #[serde(default)]
    pub machine: Setup,
    /// The facts of a machine that the simulated one imitates; next to the file.
    pub twin: Option<PathBuf>,
    /// Further arguments of `anemos test`.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Text of the configuration.
    pub config: Option<String>,
    /// Why it may be skipped where something is missing; otherwise that is a failure.
    pub may_skip: Option<String>,
    /// The expected result.
    pub expect: Expect,
    /// The path of its file, without the ending; not in the file.
    #[serde(skip)]
    pub name: String,
    /// The folder of the file; not in the file.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Why scenarios are not available.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file cannot be understood.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// No scenario is left to run.
    #[error("no scenario has {wanted}")]
    NoMatch {
        /// What was asked for.
        wanted: String,
    },
}

impl Scenario {
    /// Parses the text of a file; the regular expressions are checked too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let scenario: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        scenario.expect.check()?;
        if scenario.twin.is_some() && scenario.machine != Setup::default() {
            return Err("a twin is made like its original: leave machine out".to_owned());
        }
        Ok(scenario)
    }
}

/// Reads all scenarios of a folder and its subfolders, in the order of their names.
pub fn read_all(root: &Path) -> Result<Vec<Scenario>, ScenarioError> {
    let mut scenarios = Vec::new();
    collect(root, "", &mut scenarios)?;
    scenarios.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(scenarios)
}

fn collect(folder: &Path, prefix: &str, into: &mut Vec<Scenario>) -> Result<(), ScenarioError> {
    for entry in fs::read_dir(folder).map_err(FileError::at("reading", folder))? {
        let path = entry.map_err(FileError::at("reading", folder))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "payloads" {
            collect(&path, &format!("{prefix}{name}/"), into)?;
        } else if let Some(stem) = name.strip_suffix(".toml") {
            let text = fs::read_to_string(&path).map_err(FileError::at("reading", &path))?;
            let mut scenario = Scenario::parse(&text).map_err(ParseError::at(&path))?;
            scenario.name = format!("{prefix}{stem}");
            folder.clone_into(&mut scenario.folder);
            into.push(scenario);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
