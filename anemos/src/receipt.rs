//! Receipts of rehearsals: what was rehearsed, by digests, with the result.
//!
//! The machine of the rehearsal is stated but not compared, because it was a simulated one. If it
//! was the twin of a real one, a machine that is deployed to must be like that one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use harness::machine::setup::Setup;
use harness::verdict::{Ending, Verdict};
use serde::{Deserialize, Serialize};

use crate::config::{Base, Config, KernelSource, Location, shown};
use crate::refusal::Refusal;
use crate::twin::Likeness;
use crate::{report, source};

mod configuration;

/// A rehearsal that reached a verdict.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Receipt {
    pub(crate) verdict: Ending,
    pub(crate) reason: String,
    /// When it was written, in UTC.
    pub(crate) written: String,
    pub(crate) rehearsed: Parts,
    /// The simulated machine.
    pub(crate) machine: Setup,
    /// The machine that it was the twin of, if it was a twin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) twin_of: Option<Likeness>,
    /// How it differed from that one, although it should not have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) twin_differs: Vec<String>,
}

/// The parts of a deployment: digests, and words if there is nothing to digest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Parts {
    /// The digest of the binary.
    pub(crate) anemos: String,
    pub(crate) payload: String,
    /// A digest, or `built-in`: made by this binary from the running system's tools.
    pub(crate) base: String,
    /// A digest, or `running`: the kernel of the running system.
    pub(crate) kernel: String,
    /// Everything else in the effective configuration, including defaults.
    pub(crate) configuration: BTreeMap<String, String>,
}

/// The option by which a command asks for a receipt.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ReceiptArgs {
    /// Refuse anything but what this receipt says passed its rehearsal
    #[arg(long = "require-receipt", value_name = "FILE", help_heading = "How far to go")]
    pub(crate) required: Option<PathBuf>,
}

impl Parts {
    /// Digests everything that a receipt compares.
    ///
    /// A base that was brought here already is at the path `base`; otherwise it is where the
    /// configuration says.
    pub(crate) fn read(
        config: &Config,
        payload: Option<&str>,
        base: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let base = match (&config.initramfs.base, base) {
            (Base::BuiltIn, _) => "built-in".to_owned(),
            (Base::At(_), Some(path)) => digest(path)?,
            (Base::At(Location::Path(path)), None) => digest(path)?,
            (Base::At(Location::Url(url)), None) => {
                let named = config.initramfs.digest.as_ref().ok_or_else(|| {
                    let reason = format!("a receipt needs the digest of the base {}", shown(url));
                    report::Refused::new(reason, "set [initramfs] digest")
                })?;
                sha256(named.hex())
            }
        };
        Ok(Self {
            anemos: digest(&program)?,
            payload: payload.map_or_else(|| "none".to_owned(), sha256),
            base,
            kernel: match &config.kernel.source {
                KernelSource::Running => "running".to_owned(),
                KernelSource::File(path) => digest(path)?,
            },
            configuration: configuration::effective(config),
        })
    }
}

fn sha256(hex: &str) -> String {
    format!("sha256:{hex}")
}

fn digest(path: &Path) -> anyhow::Result<String> {
    source::digest(path).map(|hex| sha256(&hex))
}

impl Receipt {
    /// Makes the receipt of a rehearsal with its result.
    pub(crate) fn new(
        rehearsed: Parts,
        (machine, twin_of): (Setup, Option<Likeness>),
        verdict: &Verdict,
        written: String,
    ) -> Self {
        let (verdict, reason) = (verdict.verdict, verdict.reason.clone());
        let twin_differs = Vec::new();
        Self { verdict, reason, written, rehearsed, machine, twin_of, twin_differs }
    }

    /// Reads a receipt; anything else is refused.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("reading {name}"))?;
        serde_json::from_str(&text).map_err(|error| {
            let reason = format!("{name} is not a receipt of this version: {error}");
            report::Refused::new(reason, "`anemos test --receipt FILE` writes one").into()
        })
    }

    /// Writes it for people and programs.
    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self).context("writing JSON")?;
        fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }

    /// Returns every reason why it does not cover a deployment of `here`.
    pub(crate) fn refusals(&self, here: &Parts, like: &Likeness) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        if self.verdict != Ending::Passed {
            let (verdict, reason) = (self.verdict.to_string(), self.reason.clone());
            refusals.push(Refusal::RehearsalNotPassed { verdict, reason });
        }
        let mut compare = |what: &str, has: &str, needs: &str| {
            if has != needs {
                let [what, has, needs] = [what, has, needs].map(str::to_owned);
                refusals.push(Refusal::NotRehearsed { what, has, needs });
            }
        };
        let there = &self.rehearsed;
        compare("the anemos binary", &here.anemos, &there.anemos);
        compare("the payload", &here.payload, &there.payload);
        compare("the base initramfs", &here.base, &there.base);
        compare("the kernel", &here.kernel, &there.kernel);
        let keys: BTreeSet<_> =
            here.configuration.keys().chain(there.configuration.keys()).collect();
        for key in keys {
            let value = |parts: &Parts| parts.configuration.get(key).cloned();
            let [has, needs] = [here, there].map(|it| value(it).unwrap_or("not known".to_owned()));
            compare(&configuration::name(key), &has, &needs);
        }
        let differences = self.twin_of.as_ref().map(|original| original.compare(like).differences);
        for difference in differences.into_iter().flatten() {
            refusals.push(Refusal::NotItsTwin { difference });
        }
        for difference in self.twin_differs.iter().cloned() {
            refusals.push(Refusal::NoTwin { difference });
        }
        refusals
    }
}

#[cfg(test)]
mod tests;
