//! Why a deployment failed, in the words of the deploy environment.

use std::fmt;

/// Why a deployment failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// A stage ended badly.
    Failed {
        /// The stage.
        stage: String,
        /// What it said.
        reason: String,
    },
    /// A stage was given up, because it would not end.
    Hangs {
        /// The stage.
        stage: String,
    },
    /// Something else, in its own words.
    Other(String),
}

impl Failure {
    /// The stage that is to blame, where it is one.
    pub(super) fn stage(&self) -> Option<&str> {
        match self {
            Self::Failed { stage, .. } | Self::Hangs { stage } => Some(stage),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { stage, reason } => write!(f, "stage {stage} failed: {reason}"),
            Self::Hangs { stage } => write!(f, "stage {stage} hangs"),
            Self::Other(text) => f.write_str(text),
        }
    }
}
