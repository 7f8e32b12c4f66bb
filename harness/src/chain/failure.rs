//! Why a deployment failed, in the words of the deploy environment.

use std::fmt;

/// Why a deployment failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Failure {
    /// A stage failed.
    Failed {
        /// The stage.
        stage: String,
        /// What it said.
        reason: String,
    },
    /// A stage was given up because it did not end.
    Hangs {
        /// The stage.
        stage: String,
    },
    /// Anything else, in its own words.
    Other(String),
}

impl Failure {
    /// Returns the stage that is to blame, if it is a stage.
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
