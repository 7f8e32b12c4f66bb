//! The folder that a run leaves behind.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::chain::Timed;
use crate::file::FileError;
use crate::verdict::Verdict;

/// The output of `anemos deploy`, in the folder of the old system.
pub(crate) const SAID: &str = "anemos-deploy.log";

/// The mark of the old system's lines about the result of a rehearsal.
pub(crate) const STATUS: &str = "status: ";
/// The mark of the new system's answers.
pub(crate) const ANSWER: &str = "answer: ";

/// The folder of runs that were given none, in the current folder.
pub const FOLDER: &str = "anemos-evidence";

/// Name of the file about what was run.
pub const ABOUT: &str = "about.json";

/// What was rehearsed, where, with what and when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct About {
    /// The machine, in a few words.
    pub machine: String,
    /// What people call the payload.
    pub payload: String,
    /// Its digest.
    pub digest: String,
    /// The version of `anemos`.
    pub version: String,
    /// When the rehearsal began, in UTC.
    pub began: String,
}

/// The folder of one run: `verdict.json`, `stages.json`, and a folder for each guest.
#[derive(Clone, Debug)]
pub struct Evidence {
    folder: PathBuf,
}

impl Evidence {
    /// Makes the folder if it does not exist; the result of an earlier run is removed.
    pub fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        for name in ["verdict.json", "stages.json", ABOUT, "report.html"] {
            match fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(Self { folder: std::path::absolute(folder)? })
    }

    /// Returns the folder itself.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a folder inside, e.g. for one guest.
    pub fn part(&self, name: &str) -> Result<Self, FileError> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder).map_err(FileError::at("making", &folder))?;
        Ok(Self { folder })
    }

    /// Writes `verdict.json`.
    pub fn verdict(&self, verdict: &Verdict) -> io::Result<()> {
        self.json("verdict.json", verdict)
    }

    /// Writes `stages.json` with how long each part took.
    pub fn stages(&self, times: &[Timed]) -> io::Result<()> {
        self.json("stages.json", times)
    }

    /// Writes a JSON file that people can read too.
    pub fn json<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        fs::write(self.folder.join(name), text + "\n")
    }
}

/// Renders the table of stage times, one line each.
pub fn render_times(times: &[Timed]) -> String {
    let width = times.iter().map(|timed| timed.name.len()).max().unwrap_or(0);
    let row = |Timed { name, start, seconds }: &Timed| {
        format!("  {start:>7.1}s  {name:<width$}  {seconds:>7.1}s\n")
    };
    times.iter().map(row).collect::<Vec<_>>().concat()
}

/// Returns the folder for a run that was not given one: the time in UTC, and what it is about.
pub fn default_folder(about: &str, now: SystemTime) -> PathBuf {
    let about: String = about
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
        .collect();
    Path::new(FOLDER).join(format!("{}-{about}", stamp(now)))
}

/// Returns a time such as `20261231T235959Z`.
fn stamp(now: SystemTime) -> String {
    time(now).replace(['-', ':'], "")
}

/// Returns a time such as `2026-12-31T23:59:59Z`.
pub fn time(now: SystemTime) -> String {
    // humantime writes no time before 1970.
    humantime::format_rfc3339_seconds(now.max(UNIX_EPOCH)).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_folder_tells_the_time_in_utc_and_the_payload() {
        for (secs, want) in [
            (0, "anemos-evidence/19700101T000000Z-p"),
            (951_827_696, "anemos-evidence/20000229T123456Z-p"),
            (1_798_761_599, "anemos-evidence/20261231T235959Z-p"),
        ] {
            let folder = default_folder("p", UNIX_EPOCH + Duration::from_secs(secs));
            assert_eq!(folder, Path::new(want), "{secs}");
        }
        let odd = default_folder("a b/c", UNIX_EPOCH);
        assert_eq!(odd, Path::new("anemos-evidence/19700101T000000Z-a-b-c"));
    }

    #[test]
    fn the_table_of_times_is_aligned() {
        let row = |name: &str, start, seconds| Timed { name: name.into(), start, seconds };
        let times = [row("boot old system", 0.0, 21.34), row("deploy", 121.3, 9.0)];
        insta::assert_snapshot!(render_times(&times), @r"
            0.0s  boot old system     21.3s
          121.3s  deploy               9.0s
        ");
    }
}
