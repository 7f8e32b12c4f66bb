//! What can befall a machine, as data: each fault says what it is and when it strikes.

use serde::{Deserialize, Serialize};

/// Something that befalls a machine.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// What it is.
    pub kind: Kind,
}

/// What befalls a machine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {}
