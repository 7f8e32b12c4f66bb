//! Looks through the input folders: what is copied, applied as a patch, or rendered.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Problem, file};
use crate::options::Options;

/// Ends the names of patches.
const PATCH: &str = ".makeimg.patch";
/// Ends the names of templates.
const TEMPLATE: &str = ".makeimg.template";

/// What the folders hold, each by its path in the image.
#[derive(Debug, Default)]
pub(crate) struct Inputs {
    /// Files and symlinks that are copied.
    pub(crate) files: BTreeMap<PathBuf, PathBuf>,
    /// Patches, by what they are applied to.
    pub(crate) patches: BTreeMap<PathBuf, PathBuf>,
    /// Templates, by what they become.
    pub(crate) templates: BTreeMap<PathBuf, PathBuf>,
}

impl Inputs {
    /// Finds what the folders of `options` hold, and the older ones beside IMGBUILD.
    pub(crate) fn find(project: &Path, options: &Options) -> Result<Self, Problem> {
        let mut inputs = Self::default();
        if options.inputs.is_empty() {
            let default = project.join("files");
            if default.is_dir() {
                inputs.add(&default)?;
            }
        }
        for folder in &options.inputs {
            let folder = project.join(folder);
            if let Err(error) = fs::read_dir(&folder) {
                let reason =
                    format!("the input folder {} is unreadable: {error}", folder.display());
                return Err(Problem::refused(reason, "name folders that exist and can be read"));
            }
            inputs.add(&folder)?;
        }
        for (older, suffix) in [("patches", PATCH), ("templates", TEMPLATE)] {
            for (path, source) in below(&project.join(older))? {
                let into =
                    if suffix == PATCH { &mut inputs.patches } else { &mut inputs.templates };
                into.insert(without(&path, suffix).unwrap_or(path), source);
            }
        }
        Ok(inputs)
    }

    /// Adds one folder, whose files win over those that are there.
    fn add(&mut self, folder: &Path) -> Result<(), Problem> {
        for (path, source) in below(folder)? {
            let symlink = source.is_symlink();
            if let Some(target) = without(&path, PATCH).filter(|_| !symlink) {
                self.patches.insert(target, source);
            } else if let Some(target) = without(&path, TEMPLATE).filter(|_| !symlink) {
                self.templates.insert(target, source);
            } else {
                self.files.insert(path, source);
            }
        }
        Ok(())
    }
}

fn without(path: &Path, suffix: &str) -> Option<PathBuf> {
    let name = path.file_name()?.to_str()?.strip_suffix(suffix)?;
    (!name.is_empty()).then(|| path.with_file_name(name))
}

/// Returns files and symlinks below a folder by their path in it; none if there is no folder.
pub(crate) fn below(folder: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, Problem> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        let path = folder.join(&inner);
        let entries = match fs::read_dir(&path) {
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && inner.as_os_str().is_empty() =>
            {
                return Ok(found);
            }
            other => other.map_err(file(format!("reading the folder {}", path.display())))?,
        };
        for entry in entries {
            let entry = entry.map_err(file(format!("reading the folder {}", path.display())))?;
            let kind = entry.file_type();
            let kind = kind.map_err(file(format!("reading {}", entry.path().display())))?;
            let inner = inner.join(entry.file_name());
            if kind.is_dir() {
                folders.push(inner);
            } else if kind.is_file() || kind.is_symlink() {
                found.insert(inner, entry.path());
            } else {
                let reason =
                    format!("{} is neither a file, a symlink nor a folder", entry.path().display());
                return Err(Problem::refused(reason, "make it in `provision`, and remove it here"));
            }
        }
    }
    Ok(found)
}
