//! Networks of providers as data, for the router beside a machine and for the system on it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use crate::file::{FileError, ParseError};
use serde::Deserialize;

/// MAC addresses of every guest's cards.
///
/// They can be the same for all: each guest is alone on its network, and the old and the new system
/// are the same machine.
pub(crate) const MACS: [&str; 2] = ["52:54:00:a2:e3:05", "52:54:00:a2:e3:06"];

/// Folder of topologies in a folder of fixtures.
const FOLDER: &str = "topologies";
/// Maximum number of cards that a router can be connected to.
const MOST_CARDS: usize = 2;

/// The content of `topologies/NAME.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Topology {
    /// A description in one sentence.
    pub about: String,
    /// Addresses at which the machine answers from outside; the first is the one to log in at.
    pub addresses: Vec<IpAddr>,
    /// Number of network cards.
    #[serde(default = "one")]
    pub cards: usize,
    /// MAC addresses of the cards, unless they are the usual ones.
    #[serde(default)]
    pub macs: Vec<String>,
    /// Shell commands that turn the router into the provider's.
    pub router: String,
    /// Shell commands that the router runs once the old system has its network.
    pub later: Option<String>,
    /// Shell commands that configure the old system.
    pub machine: String,
    /// Its name, which is that of its file.
    #[serde(skip)]
    pub name: String,
}

fn one() -> usize {
    1
}

/// Why a topology is not available.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// There is none with this name.
    #[error("there is no topology {name}; there are: {}", known.join(", "))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The names that exist.
        known: Vec<String>,
    },
    /// Its file cannot be understood.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Returns the names of the topologies in a folder of fixtures, in order.
pub fn names(fixtures: &Path) -> Result<Vec<String>, TopologyError> {
    let path = fixtures.join(FOLDER);
    let at = |error| FileError::at("reading", &path)(error);
    let mut names = Vec::new();
    for entry in fs::read_dir(&path).map_err(at)? {
        let name = entry.map_err(at)?.file_name().to_string_lossy().into_owned();
        names.extend(name.strip_suffix(".toml").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

impl Topology {
    /// Returns the MAC addresses of the machine's cards.
    pub(crate) fn macs(&self) -> impl Iterator<Item = &str> {
        let usual = MACS.iter().copied().skip(self.macs.len());
        self.macs.iter().map(String::as_str).chain(usual).take(self.cards)
    }

    /// Reads the topology `name` of a folder of fixtures.
    pub fn read(fixtures: &Path, name: &str) -> Result<Self, TopologyError> {
        let known = names(fixtures)?;
        if !known.iter().any(|known| known == name) {
            return Err(TopologyError::Unknown { name: name.to_owned(), known });
        }
        let path = fixtures.join(FOLDER).join(format!("{name}.toml"));
        let text = fs::read_to_string(&path).map_err(FileError::at("reading", &path))?;
        let topology = Self::parse(&text).map_err(ParseError::at(&path))?;
        Ok(Self { name: name.to_owned(), ..topology })
    }

    /// Parses the text of a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let topology: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if topology.addresses.is_empty() {
            return Err("it has no addresses, so nothing could be reached".to_owned());
        }
        if !(1..=MOST_CARDS).contains(&topology.cards) {
            return Err(format!("it has {} cards, not 1 to {MOST_CARDS}", topology.cards));
        }
        Ok(topology)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "about = 'a'\naddresses = ['192.0.2.1']\nrouter = 'r'\nmachine = 'm'\n";

    #[test]
    fn a_topology_is_as_short_as_what_it_says() {
        let topology = Topology::parse(TEXT).unwrap();
        assert_eq!((topology.cards, topology.later), (1, None));
    }

    #[test]
    fn mistakes_are_named() {
        let without = |line: &str| TEXT.replace(line, "");
        for (text, want) in [
            (format!("{TEXT}colour = 1"), "unknown field `colour`"),
            (without("router = 'r'\n"), "missing field `router`"),
            (TEXT.replace("192.0.2.1", "192.0.2.256"), "invalid IP address syntax"),
            (TEXT.replace("'192.0.2.1'", ""), "it has no addresses"),
            (format!("{TEXT}cards = 3"), "it has 3 cards, not 1 to 2"),
            (format!("{TEXT}cards = 0"), "it has 0 cards, not 1 to 2"),
        ] {
            let error = Topology::parse(&text).unwrap_err();
            assert!(error.contains(want), "{text}: {error}");
        }
    }

    #[test]
    fn a_name_that_is_none_comes_with_those_that_are() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(FOLDER)).unwrap();
        for name in ["two", "one"] {
            fs::write(folder.path().join(FOLDER).join(format!("{name}.toml")), TEXT).unwrap();
        }
        let read = |name| Topology::read(folder.path(), name);
        assert_eq!(read("one").unwrap().name, "one");
        let error = read("three").unwrap_err().to_string();
        assert_eq!(error, "there is no topology three; there are: one, two");
    }

    #[test]
    fn those_of_the_repository_can_be_read() {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures");
        for name in names(&fixtures).unwrap() {
            assert_eq!(Topology::read(&fixtures, &name).unwrap().name, name);
        }
    }
}
