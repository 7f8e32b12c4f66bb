//! The expected result of a scenario, which can be compared with the real one.

use std::collections::BTreeMap;
use std::path::Path;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

use super::struck::Place;
use crate::classify::Class;
use crate::evidence::{ANSWER, STATUS};
use crate::verdict::{Blame, Ending, Verdict};

/// What the console of a guest is called; the old system's ends where the deploy environment's
/// begins.
pub const CONSOLES: [&str; 6] =
    ["old-system", "deploy", "new-system", "new-system-again", "old-system-again", "router"];

/// The expected result; what is not named may be anything.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Expect {
    /// Exit code of `anemos test`.
    pub exit: i32,
    /// The ending; a refusal before any guest has none.
    pub verdict: Option<Ending>,
    /// Why it did not pass.
    pub class: Option<Class>,
    /// Regular expression for the whole reason.
    pub reason: Option<String>,
    /// What the deploy environment said at its end.
    pub outcome: Option<String>,
    /// Whether the disk boots the old system.
    pub old_system_back: Option<bool>,
    /// Whether the rescue answers by SSH.
    pub rescue_answers: Option<bool>,
    /// Whose fault it is.
    pub blame: Option<Blame>,
    /// Stages that ended, in this order; others may lie between them.
    #[serde(default)]
    pub stages: Vec<String>,
    /// For each of [`CONSOLES`], regular expressions, each of which must match a line of it.
    #[serde(default)]
    pub console: BTreeMap<String, Vec<String>>,
    /// Where the first fault must have struck, if that is not what the fault itself says.
    pub struck: Option<Place>,
    /// Regular expressions, each of which must match a line of `anemos deploy`'s output.
    #[serde(default)]
    pub said: Vec<String>,
    /// Regular expressions, each of which must match a line of `anemos status`.
    ///
    /// It runs in the old system after a rehearsal.
    #[serde(default)]
    pub status: Vec<String>,
    /// Regular expressions, each of which must match a line about how a twin is like its original.
    #[serde(default)]
    pub twin: Vec<String>,
    /// Regular expressions, each of which must match a warning; an empty list means no warnings.
    pub warnings: Option<Vec<String>>,
    /// A port on which the new system must answer.
    pub tcp: Option<u16>,
    /// What the new system must execute by SSH: a command, or several; `@FILE` next to the file is a
    /// script.
    #[serde(default)]
    pub ask: OneOrMore,
    /// Whether it is checked that the new system answers by SSH as the old one did.
    #[serde(default)]
    pub ssh: bool,
    /// Regular expressions, each of which must match a line of what the new system says of itself.
    ///
    /// It is asked if `ask` or `ssh` is there.
    #[serde(default)]
    pub facts: Vec<String>,
    /// Regular expressions, each of which must match a line of its answer.
    #[serde(default)]
    pub answer: Vec<String>,
    /// Whether the new system must turn off by its power button, then boot and answer once more.
    #[serde(default)]
    pub again: bool,
    /// Files in the new system, by their path, each with a regular expression for its text.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// The partition table on the disk with the system.
    pub table: Option<Table>,
    /// Longest time in seconds, if a claim is about time.
    pub within_secs: Option<u64>,
}

/// One value, or a list of them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Any number.
    More(Vec<String>),
}

impl Default for OneOrMore {
    fn default() -> Self {
        Self::More(Vec::new())
    }
}

/// The result of a run of `anemos test`.
#[derive(Clone, Debug, Default)]
pub struct Came {
    /// Its exit code; `None` if a signal ended it.
    pub exit: Option<i32>,
    /// The verdict that it wrote.
    pub verdict: Option<Verdict>,
    /// The stages that ended, in their order.
    pub stages: Vec<String>,
    /// The lines of each console.
    pub console: BTreeMap<String, Vec<String>>,
    /// The lines that `anemos deploy` printed in the old system.
    pub said: Vec<String>,
    /// The lines about how the twin resembles its original.
    pub twin: Vec<String>,
    /// The lines that the new system said of itself.
    pub facts: Vec<String>,
    /// The files that were asked for and exist.
    pub files: BTreeMap<String, String>,
    /// The partition table, if it was asked for.
    pub table: Option<Table>,
    /// What it printed on stderr.
    pub stderr: String,
    /// How long it took.
    pub seconds: f64,
}

/// A partition table, as sfdisk(8) sees it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Table {
    /// `gpt` or `dos`.
    pub label: String,
    /// Number of partitions.
    pub partitions: usize,
}

impl Expect {
    /// Rejects an invalid regular expression, and the console of a guest that no run has.
    pub fn check(&self) -> Result<(), String> {
        if let Some(name) = self.console.keys().find(|name| !CONSOLES.contains(&name.as_str())) {
            return Err(format!("console.{name}: no guest is called so: {}", CONSOLES.join(", ")));
        }
        let patterns = self.reason.iter().chain(self.console.values().flatten()).chain(&self.said);
        let patterns =
            patterns.chain(&self.status).chain(&self.twin).chain(&self.answer).chain(&self.facts);
        let patterns = patterns.chain(self.warnings.iter().flatten());
        let patterns = patterns.chain(self.files.values());
        for pattern in patterns {
            Regex::new(pattern).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Returns the expectation that everything is as it should be, without further details.
    pub fn passed() -> Self {
        Self { verdict: Some(Ending::Passed), ..Self::default() }
    }

    /// Returns what `anemos test` is to ask; the folder is that of the scenario.
    pub fn asks(&self, folder: &Path) -> Vec<String> {
        let asks = match &self.ask {
            OneOrMore::One(ask) => std::slice::from_ref(ask),
            OneOrMore::More(asks) => asks,
        };
        let ask = |ask: &String| match ask.strip_prefix('@') {
            Some(file) => format!("@{}", folder.join(file).display()),
            None => ask.clone(),
        };
        asks.iter().map(ask).collect()
    }

    /// Returns whether the disk itself must be examined.
    pub fn wants_disk(&self) -> bool {
        self.table.is_some() || !self.files.is_empty()
    }

    /// Returns everything that differs from the expectation, one line each.
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
        let answers = verdict.and_then(|v| v.rescue_answers);
        compare("rescue answers", word(self.rescue_answers), word(answers));
        compare("blame", word(self.blame), word(verdict.and_then(|v| v.blame)));
        self.compare_reason(came, &mut lines);
        self.compare_evidence(came, &mut lines);
        if let Some(within) = self.within_secs.filter(|within| came.seconds > seconds(*within)) {
            lines.push(format!("it took {:.1} s, more than {within} s", came.seconds));
        }
        lines
    }

    /// Compares the reason; for a refusal before any guest it is the error on stderr.
    fn compare_reason(&self, came: &Came, lines: &mut Vec<String>) {
        let Some(wanted) = &self.reason else { return };
        let error = || came.stderr.lines().find_map(|line| line.strip_prefix("error: "));
        let found = came.verdict.as_ref().map(|verdict| verdict.reason.as_str()).or_else(error);
        let found = found.unwrap_or_default();
        let whole = Regex::new(&format!("(?s)^(?:{wanted})$"));
        if !whole.is_ok_and(|whole| whole.is_match(found)) {
            lines.push(format!("reason is {found:?}, not as a whole /{wanted}/"));
        }
    }

    /// Compares what is in transcripts, in stage times and on the disk.
    fn compare_evidence(&self, came: &Came, lines: &mut Vec<String>) {
        let mut ended = came.stages.iter();
        if let Some(missing) = self.stages.iter().find(|stage| !ended.any(|name| name == *stage)) {
            let ended = came.stages.join(", ");
            lines
                .push(format!("stage {missing} did not end in its place; those that did: {ended}"));
        }
        let warnings = came.verdict.as_ref().map_or(&[][..], |verdict| &verdict.warnings[..]);
        let marked = |mark: &str| {
            let evidence = came.verdict.iter().flat_map(|verdict| &verdict.evidence);
            let lines = evidence.filter_map(|line| line.strip_prefix(mark).map(str::to_owned));
            lines.collect::<Vec<_>>()
        };
        let (status, answer) = (marked(STATUS), marked(ANSWER));
        let none = Vec::new();
        let wanted = self.warnings.as_ref().unwrap_or(&none);
        if self.warnings.as_ref().is_some_and(Vec::is_empty) {
            lines.extend(warnings.iter().map(|warning| format!("there is a warning: {warning}")));
        }
        for (guest, patterns) in &self.console {
            let said = came.console.get(guest).unwrap_or(&none);
            let unsaid = patterns.iter().filter(|it| !said.iter().any(|line| matches(it, line)));
            lines.extend(unsaid.map(|it| format!("no line of the console of {guest} says /{it}/")));
        }
        for (who, patterns, said) in [
            ("line of anemos deploy", &self.said, &came.said[..]),
            ("line of anemos status", &self.status, &status[..]),
            ("line of the new system's answer", &self.answer, &answer[..]),
            ("line about the twin", &self.twin, &came.twin[..]),
            ("fact of the new system", &self.facts, &came.facts[..]),
            ("warning", wanted, warnings),
        ] {
            let unsaid = |pattern: &&String| !said.iter().any(|line| matches(pattern, line));
            let unsaid = patterns.iter().filter(unsaid);
            lines.extend(unsaid.map(|pattern| format!("no {who} says /{pattern}/")));
        }
        for (path, pattern) in &self.files {
            match came.files.get(path) {
                None => lines.push(format!("the new system has no file {path}")),
                Some(text) if !matches(pattern, text) => {
                    lines.push(format!("{path} is {text:?}, which does not match /{pattern}/"));
                }
                Some(_) => {}
            }
        }
        if self.table.is_some() && self.table != came.table {
            let name = |table: &Option<Table>| {
                table.as_ref().map_or_else(
                    || "none".to_owned(),
                    |table| format!("{} with {} partitions", table.label, table.partitions),
                )
            };
            let (found, wanted) = (name(&came.table), name(&self.table));
            lines.push(format!("the partition table is {found}, not {wanted}"));
        }
    }
}

/// Returns whether a pattern matches text, with `^` and `$` for each of its lines.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern = RegexBuilder::new(pattern).multi_line(true).build();
    pattern.is_ok_and(|pattern| pattern.is_match(text))
}

fn seconds(whole: u64) -> f64 {
    std::time::Duration::from_secs(whole).as_secs_f64()
}

/// Returns the word for a value in files.
fn word<T: serde::Serialize>(value: Option<T>) -> Option<String> {
    match serde_json::to_value(value?).ok()? {
        serde_json::Value::String(word) => Some(word),
        other => Some(other.to_string()),
    }
}
