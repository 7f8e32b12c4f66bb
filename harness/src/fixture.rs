//! Simulated VPS images: their description as data, and the folder it comes from.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::file::{FileError, ParseError};
use crate::machine::setup::Bus;
use crate::size::Size;

pub mod boot;
pub mod build;
pub mod builtin;
pub mod cache;
pub mod login;
mod part;
pub mod router;
pub mod seal;
pub mod served;

/// Raised if the way in which a disk is made from the inputs changes, which no input shows.
///
/// The binary is not an input: an initramfs that writes the same root file system to the same table
/// makes the same disk, and a cache that ended with every compilation would be useless.
const RECIPE: &str = "anemos fixture recipe 3";

/// The content of `fixture.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Description {
    /// The line with which the system identifies itself, before its login prompt.
    pub identity: String,
    /// The text of the login prompt.
    #[serde(default = "login")]
    pub login: String,
    /// User that can log in by SSH.
    #[serde(default = "user")]
    pub user: String,
    /// Memory of the machine, e.g. `1G`.
    #[serde(default = "memory")]
    pub memory: Size,
    /// Size of its disk, e.g. `4G`.
    #[serde(default = "disk_size")]
    pub disk_size: Size,
    /// The buses on which its kernel finds a disk.
    #[serde(default = "buses")]
    pub buses: Vec<Bus>,
    /// The executable, in the folder of the fixture, that builds what the disk is made from.
    pub build: String,
    /// Every file that `build` reads, relative to the folder of the fixture.
    pub inputs: Vec<PathBuf>,
}

fn login() -> String {
    "login:".to_owned()
}

fn user() -> String {
    "root".to_owned()
}

fn memory() -> Size {
    Size::of_bytes(1 << 30)
}

fn buses() -> Vec<Bus> {
    vec![Bus::VirtioBlk]
}

fn disk_size() -> Size {
    Size::of_bytes(4 << 30)
}

/// A fixture as data.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// Its name, which is that of its folder.
    pub name: String,
    /// What its `fixture.toml` says.
    pub description: Description,
    /// The folder of its files.
    pub folder: PathBuf,
}

/// Why a fixture is not available.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// There is none with this name.
    #[error("there is no fixture {name}; there are: {}", known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// Its description cannot be understood.
    #[error(transparent)]
    Description(#[from] ParseError),
    /// A file of it cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Returns the names of the fixtures in a folder of fixtures, in order.
pub fn names(fixtures: &Path) -> Result<Vec<String>, FixtureError> {
    let at = |error| FileError::at("reading", fixtures)(error);
    let mut names = Vec::new();
    for entry in fs::read_dir(fixtures).map_err(at)? {
        let entry = entry.map_err(at)?;
        if entry.path().join("fixture.toml").is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

impl Fixture {
    /// Reads the fixture `name` of a folder of fixtures.
    pub fn read(fixtures: &Path, name: &str) -> Result<Self, FixtureError> {
        let known = names(fixtures)?;
        if !known.iter().any(|known| known == name) {
            return Err(FixtureError::Unknown { name: name.to_owned(), known });
        }
        let folder = fixtures.join(name);
        let path = folder.join("fixture.toml");
        let text = fs::read_to_string(&path).map_err(FileError::at("reading", &path))?;
        let description = toml::from_str(&text).map_err(ParseError::at(&path))?;
        Ok(Self { name: name.to_owned(), description, folder })
    }

    /// Returns the folder of fixtures that contains it.
    pub fn home(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// Returns the digest of everything that the fixture is made from.
    pub fn digest(&self) -> Result<String, FixtureError> {
        let mut digest = Sha256::new();
        digest.update(RECIPE);
        let mut inputs = self.description.inputs.clone();
        inputs.push("fixture.toml".into());
        inputs.push(self.description.build.clone().into());
        inputs.sort();
        inputs.dedup();
        for input in inputs {
            let path = self.folder.join(&input);
            let content = fs::read(&path).map_err(FileError::at("reading", &path))?;
            let name = input.to_string_lossy().into_owned();
            digest.update(format!("\n{name} {}\n", content.len()));
            digest.update(content);
        }
        Ok(format!("{:x}", digest.finalize()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::whole;

    fn fixture(folder: &Path, toml: &str) -> Result<Fixture, FixtureError> {
        let own = folder.join("f");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("fixture.toml"), toml).unwrap();
        fs::write(own.join("build"), "#!/bin/sh\n").unwrap();
        Fixture::read(folder, "f")
    }

    const TOML: &str = "identity = 'i am f'\nbuild = 'build'\ninputs = ['issue']\n";

    #[test]
    fn every_input_changes_the_digest() {
        let folder = tempfile::tempdir().unwrap();
        let fixture = fixture(folder.path(), TOML).unwrap();
        fs::write(fixture.folder.join("issue"), "one").unwrap();
        let first = fixture.digest().unwrap();
        assert_eq!(fixture.digest().unwrap(), first, "the same inputs");
        for name in ["issue", "build", "fixture.toml"] {
            let before = fs::read(fixture.folder.join(name)).unwrap();
            fs::write(fixture.folder.join(name), "another").unwrap();
            assert_ne!(fixture.digest().unwrap(), first, "{name} was changed");
            fs::write(fixture.folder.join(name), before).unwrap();
        }
    }

    #[test]
    fn a_missing_input_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = whole(&fixture(folder.path(), TOML).unwrap().digest().unwrap_err());
        assert!(error.contains("f/issue: No such file"), "{error}");
    }

    #[test]
    fn an_unknown_key_and_an_unknown_fixture_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = fixture(folder.path(), &format!("{TOML}colour = 1\n")).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
        let error = Fixture::read(folder.path(), "g").unwrap_err();
        assert_eq!(error.to_string(), "there is no fixture g; there are: f");
    }
}
