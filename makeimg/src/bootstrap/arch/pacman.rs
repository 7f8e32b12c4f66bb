//! What pacman(8) works with: a configuration, and a keyring to verify packages with.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::configuration::Configuration;
use super::keys::Keys;
use crate::error::{Problem, file};
use crate::options::Options;
use crate::project::Project;
use crate::step::Watch;

/// What a cache holds: the keyring, and packages that are all there and verified.
const CACHED_RING: &str = "gnupg";
const CACHED_STAMP: &str = "gnupg.stamp";
pub(super) const CACHED_PACKAGES: &str = "packages";

/// What pacman works with.
#[derive(Clone, Debug)]
pub(crate) struct Pacman {
    pub(super) configuration: Configuration,
    pub(super) keys: Keys,
}

/// The same, made ready in folders.
#[derive(Debug)]
pub(super) struct Ready {
    /// The configuration to name, if it is not the host's.
    pub(super) configuration: Option<PathBuf>,
    /// The keyring.
    pub(super) ring: Option<PathBuf>,
    /// Keeps what is made for one call alone.
    pub(super) kept: TempDir,
}

impl Pacman {
    /// Reads the configuration and finds the keys.
    pub(crate) fn find(project: &Project, watch: &mut dyn Watch) -> Result<Self, Problem> {
        let configuration = Configuration::read(&project.folder, watch)?;
        let keys = Keys::find(&project.folder, &configuration)?;
        Ok(Self { configuration, keys })
    }

    /// Returns lines for the mirror list of a system that is built with this configuration.
    pub(crate) fn mirrors(&self) -> Vec<String> {
        self.configuration.mirrors()
    }

    /// Makes the keyring, and a configuration that names it and `packages`.
    pub(super) fn ready(
        &self,
        project: &Project,
        (options, packages): (&Options, Option<&Path>),
        watch: &mut dyn Watch,
    ) -> Result<Ready, Problem> {
        let making = || file("making a folder");
        let kept = match &project.scratch {
            Some(scratch) => tempfile::tempdir_in(scratch),
            None => tempfile::tempdir(),
        };
        let kept = kept.map_err(making())?;
        let ring = match &self.keys {
            Keys::Ring => self.configuration.ring(),
            Keys::NotNeeded => None,
            Keys::Files { folder, names } => {
                let within = options.cache.as_deref().unwrap_or(kept.path());
                let (ring, stamp) = (within.join(CACHED_RING), within.join(CACHED_STAMP));
                let current = self.keys.stamp();
                if fs::read_to_string(&stamp).ok().as_ref() != Some(&current) {
                    fs::create_dir_all(within).map_err(making())?;
                    if ring.exists() {
                        fs::remove_dir_all(&ring).map_err(file("removing an older keyring"))?;
                    }
                    Keys::populate(folder, names, &ring, watch)?;
                    // Whole from here on.
                    fs::write(&stamp, current)
                        .map_err(file("noting what the keyring is made of"))?;
                }
                Some(ring)
            }
        };
        let own = matches!(self.keys, Keys::Files { .. });
        let copied = own || packages.is_some() || self.configuration.has_another_user()?;
        let configuration = if copied {
            let copy = kept.path().join("pacman.conf");
            self.configuration.write(&copy, ring.as_deref().filter(|_| own), packages)?;
            Some(copy)
        } else {
            self.configuration.file().map(Path::to_owned)
        };
        Ok(Ready { configuration, ring, kept })
    }
}
