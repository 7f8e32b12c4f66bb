//! Finds, reads and checks the configuration `anemos.toml`, changed by flags.

mod flags;
mod sections;
mod values;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

pub(crate) use self::flags::{ConfigArgs, WHAT};
pub(crate) use self::sections::{
    AccessConfig, Config, DiskConfig, EntryConfig, EntryMethod, FailureConfig, FirmwareConfig,
    FirmwareMode, HostKeys, InitramfsConfig, KernelConfig, NetworkConfig, NetworkMode,
    PayloadConfig,
};
pub(crate) use self::values::{
    Base, Digest, KernelSource, Keys, Location, Prefixed, PublicKey, Select, Selector, shown,
};
use crate::report::Refused;
use crate::toml_mistake;

/// Where a configuration is looked up if none is named, best first.
const PLACES: [&str; 2] = ["anemos.toml", "/etc/anemos.toml"];

impl ConfigArgs {
    /// Returns the file that is read: the one that was named, or the first that exists.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.config.clone().or_else(find)
    }

    /// Says which file that is.
    pub(crate) fn describe_file(&self) -> String {
        let nowhere = || format!("defaults: there is no {}", PLACES.join(" or "));
        self.file().map_or_else(nowhere, |file| file.display().to_string())
    }

    /// Returns the configuration from the file, overridden by the flags.
    pub(crate) fn load(&self) -> anyhow::Result<Config> {
        let file = self.file();
        let mut config = file.as_deref().map_or_else(|| Ok(toml::Table::new()), read)?;
        self.override_in(&mut config);
        let config = from_table(config)?;
        config.check()?;
        Ok(config)
    }
}

fn find() -> Option<PathBuf> {
    PLACES.iter().map(PathBuf::from).find(|place| place.exists())
}

fn read(path: &Path) -> anyhow::Result<toml::Table> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let mut table = parse(&text).with_context(|| format!("reading {}", path.display()))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    sections::resolve_paths(&mut table, folder);
    Ok(table)
}

/// Parses a configuration, which must itself be valid, to a table that flags can change.
fn parse(text: &str) -> Result<toml::Table, Refused> {
    let complain = |error: toml::de::Error| toml_mistake::in_configuration(text, &error);
    toml::from_str::<Config>(text).map_err(complain)?;
    toml::from_str(text).map_err(complain)
}

/// Makes a configuration of a valid table and flags, so that any mistake is in a flag.
fn from_table(table: toml::Table) -> Result<Config, Refused> {
    Config::deserialize_table(table).map_err(|error| {
        Refused::new(toml_mistake::in_flag(&error), "see `anemos help deploy` for the flags")
    })
}

#[cfg(test)]
mod tests;
