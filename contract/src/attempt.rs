//! The result of a deployment, for people who log in afterwards.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::stages::{Outcome, Stage};

/// An attempt to deploy, as far as anything is known about it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Attempt {
    /// Version of the `anemos` that made it.
    pub version: String,
    /// How far it went, or was meant to go.
    #[serde(default, skip_serializing_if = "Mode::is_deployment")]
    pub mode: Mode,
    /// File name of the payload.
    pub payload: String,
    /// When it began, in seconds since 1970.
    pub began: u64,
    /// Device of the selected disk in the deploy environment; absent until it was found.
    pub disk: Option<String>,
    /// How it ended; absent until then, and forever if the machine was reset in between.
    pub outcome: Option<Outcome>,
    /// The stage that failed, if one did; without an outcome, the stage that had begun.
    pub stage: Option<Stage>,
    /// The reason, on one line.
    pub error: Option<String>,
    /// What a rehearsal has proved, one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proved: Vec<String>,
    /// The last lines of the log.
    pub log: Vec<String>,
}

/// How far an attempt goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// To a new system on the disk.
    #[default]
    Deployment,
    /// Up to `deploy`, which is not run: no disk is written, and the old system boots again.
    Rehearsal,
}

impl Mode {
    /// Returns whether this is an attempt to deploy, not a rehearsal.
    pub fn is_deployment(&self) -> bool {
        *self == Self::Deployment
    }
}

/// Bytes on the old system's disk that a report may be written to.
///
/// They belong to a file of the old system that was filled beforehand, so the report changes
/// nothing in the file system.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Place {
    /// First byte, from the start of the disk.
    pub offset: u64,
    /// SHA-256 of the [`SIZE`] bytes that are there before the report, in hexadecimal digits.
    pub sha256: String,
}

/// Size of a report in bytes, newlines at its end included.
pub const SIZE: usize = 16 << 10;

impl Attempt {
    /// Renders the report, leaving out older lines of the log if it would be too long.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut attempt = self.clone();
        loop {
            let mut bytes = serde_json::to_vec_pretty(&attempt)?;
            if bytes.len() <= SIZE || attempt.log.is_empty() {
                bytes.truncate(SIZE);
                bytes.resize(SIZE, b'\n');
                return Ok(bytes);
            }
            attempt.log.remove(0);
        }
    }
}

/// Returns the digest that identifies a [`Place`].
pub fn digest(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::{Attempt, SIZE};

    #[test]
    fn a_report_has_always_the_same_size_and_keeps_the_last_lines() {
        for lines in [0, 10, 10_000] {
            let log: Vec<_> = (0..lines).map(|number| format!("line {number}")).collect();
            let attempt = Attempt { payload: "p".into(), log, ..Attempt::default() };
            let bytes = attempt.to_bytes().unwrap();
            assert_eq!(bytes.len(), SIZE);
            let read: Attempt = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(read.log.last(), attempt.log.last());
            assert!(lines > 10 || read == attempt);
        }
    }
}
