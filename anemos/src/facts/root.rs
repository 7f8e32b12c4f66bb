//! A tree of files from which facts are read: `/`, or a copy for tests.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The root of such a tree.
#[derive(Debug)]
pub(super) struct Root(PathBuf);

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Returns the path of `name`, which may be absolute, in this tree.
    pub(super) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        let name = name.as_ref();
        self.0.join(name.strip_prefix("/").unwrap_or(name))
    }

    /// Returns the trimmed text of a file that every system has.
    pub(super) fn must(&self, name: &str) -> anyhow::Result<String> {
        let path = self.path(name);
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        Ok(text.trim().to_owned())
    }

    /// Returns the trimmed text of a file that a system may lack or withhold.
    pub(super) fn may(&self, name: impl AsRef<Path>) -> Option<String> {
        let bytes = fs::read(self.path(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Returns the sorted names in a folder; none if there is no such folder.
    pub(super) fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}
