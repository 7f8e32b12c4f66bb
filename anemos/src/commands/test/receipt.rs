//! The receipt of `anemos test`, drafted before the rehearsal and written with the verdict.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use contract::payload::Description;
use harness::fixture::Fixture;
use harness::machine::setup::{Setup, Way};
use harness::verdict::Verdict;

use super::machine;
use crate::amount;
use crate::config::{Config, ConfigArgs, EntryMethod};
use crate::receipt::{Parts, Receipt};
use crate::report::{self, Refused};
use crate::source;
use crate::twin::{Likeness, Twin};

/// A receipt that lacks its verdict.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    inputs: Inputs,
    parts: Parts,
    machine: Setup,
    twin_of: Option<Likeness>,
}

/// The files that are rehearsed.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) payload: PathBuf,
    pub(super) config: Option<PathBuf>,
}

impl Inputs {
    fn read(&self, setup: &Setup) -> anyhow::Result<Parts> {
        let payload = source::digest(&self.payload)?;
        Parts::read(&effective(self.config.as_deref(), setup)?, Some(&payload), None)
    }
}

impl Draft {
    /// Reads what will be rehearsed; refuses a rehearsal that does not cover the whole way.
    pub(super) fn new(
        path: PathBuf,
        payload: &Description,
        inputs: Inputs,
        (setup, twin, fixture): (&Setup, Option<&Twin>, &Fixture),
    ) -> anyhow::Result<Self> {
        if setup.entry == Way::Direct || setup.rehearse {
            let reason = "a receipt is about the whole way, from the old system to the new one";
            let hint = "leave out --receipt, or entry = \"direct\" and rehearse of the machine";
            return Err(Refused::new(reason, hint).into());
        }
        let parts = inputs.read(setup)?;
        let mut machine = setup.clone();
        machine.fixture = Some(fixture.name.clone());
        machine::complete(&mut machine, payload, fixture);
        let twin_of = twin.map(|twin| twin.original.clone());
        Ok(Self { path, inputs, parts, machine, twin_of })
    }

    /// Writes the receipt with the verdict, whatever that is.
    ///
    /// A receipt is worth nothing if the rehearsal did not pass, or if its twin was not like the
    /// original. Refuses to write one if the inputs changed during the rehearsal.
    pub(super) fn write(self, verdict: &Verdict, twin_differs: Vec<String>) -> anyhow::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let Self { path, inputs, parts, machine, twin_of } = self;
        if inputs.read(&machine)? != parts {
            let reason = "payload, configuration or binary changed while they were rehearsed";
            return Err(Refused::new(reason, "rehearse once more; no receipt was written").into());
        }
        let receipt = Receipt::new(parts, (machine, twin_of), verdict, amount::date(now));
        Receipt { twin_differs, ..receipt }.write(&path)?;
        report::step(&format!("receipt: {}", path.display()));
        Ok(())
    }
}

/// Returns the configuration that `anemos deploy` uses on the simulated VPS.
///
/// No other file is found there.
fn effective(config: Option<&Path>, setup: &Setup) -> anyhow::Result<Config> {
    let mut found = match config {
        None => Config::default(),
        Some(path) => ConfigArgs::of(path).load()?,
    };
    found.entry.method = match setup.entry {
        Way::Kexec => EntryMethod::Kexec,
        Way::Bootloader => EntryMethod::Bootloader,
        Way::Jump | Way::Direct => found.entry.method,
    };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_may_decide_how_the_deploy_environment_is_entered() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("anemos.toml");
        std::fs::write(&file, "[entry]\nmethod = 'kexec'\n").unwrap();
        for (config, entry, want) in [
            (None, Way::Jump, EntryMethod::Auto),
            (None, Way::Bootloader, EntryMethod::Bootloader),
            (Some(file.as_path()), Way::Jump, EntryMethod::Kexec),
            (Some(file.as_path()), Way::Bootloader, EntryMethod::Bootloader),
        ] {
            let setup = Setup { entry, ..Setup::default() };
            assert_eq!(
                effective(config, &setup).unwrap().entry.method,
                want,
                "{config:?} {entry:?}"
            );
        }
    }
}
