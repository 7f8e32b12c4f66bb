//! The folder `secrets`: what must be in the image but not in a repository.
//!
//! A file there is a secret, named by its path in that folder. If it is executable, it is run, and
//! what it prints is the secret; otherwise its content is. What is in a subfolder of `secrets` is
//! placed in the image at that path, 0600 and owned by root; what is directly in `secrets` is only
//! for templates. If `secrets.revealed` exists, which [`reveal`] makes, it replaces `secrets`, and
//! nothing is run.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::environment;
use crate::error::{MakeError, Problem, file};
use crate::inputs::below;
use crate::private;
use crate::root::Root;
use crate::stage;
use crate::step::{Step, Watch};

/// The folder of revealed secrets.
const REVEALED: &str = "secrets.revealed";

/// The secrets of a project, not yet revealed.
#[derive(Debug, Default)]
pub(crate) struct Secrets {
    project: PathBuf,
    sources: BTreeMap<PathBuf, PathBuf>,
    run: bool,
    known: BTreeMap<PathBuf, Vec<u8>>,
}

impl Secrets {
    /// Finds the secrets of a project without revealing them.
    pub(crate) fn find(project: &Path) -> Result<Self, Problem> {
        let revealed = project.join(REVEALED);
        let run = !revealed.is_dir();
        let folder = if run { project.join("secrets") } else { revealed };
        Ok(Self { project: project.into(), sources: below(&folder)?, run, known: BTreeMap::new() })
    }

    /// Returns whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Returns whether there is one with this path in the folder.
    pub(crate) fn has(&self, name: &Path) -> bool {
        self.sources.contains_key(name)
    }

    /// Reveals all secrets, and refuses those that cannot be revealed.
    pub(crate) fn check(&mut self, watch: &mut dyn Watch) -> Result<(), Problem> {
        let names: Vec<PathBuf> = self.sources.keys().cloned().collect();
        for name in &names {
            self.get(name, watch).map_err(|problem| {
                let hint = "mend it, or reveal it beforehand by `anemos makeimg --reveal`";
                Problem::refused(problem.describe(), hint)
            })?;
        }
        Ok(())
    }

    /// Returns a secret by its path in the folder; a program is only run once.
    pub(crate) fn get(
        &mut self,
        name: &Path,
        watch: &mut dyn Watch,
    ) -> Result<Option<&[u8]>, Problem> {
        if !self.known.contains_key(name) {
            let Some(source) = self.sources.get(name) else { return Ok(None) };
            let secret = self.reveal(source, watch);
            let about = format!("revealing the secret {}", name.display());
            self.known.insert(name.into(), secret.map_err(|problem| problem.about(about))?);
        }
        Ok(self.known.get(name).map(Vec::as_slice))
    }

    fn reveal(&self, source: &Path, watch: &mut dyn Watch) -> Result<Vec<u8>, Problem> {
        let reading = || file(format!("reading {}", source.display()));
        let mode = fs::metadata(source).map_err(reading())?.permissions().mode();
        if self.run && mode & 0o111 != 0 {
            let environment = environment::read(&self.project)?;
            let program = Command::new(source).folder(&self.project).envs(environment);
            return Ok(program.output(watch)?);
        }
        fs::read(source).map_err(reading())
    }

    /// Places the secrets that have a path in the image.
    pub(crate) fn place(&mut self, root: &Root, watch: &mut dyn Watch) -> Result<(), Problem> {
        let names: Vec<PathBuf> = self.sources.keys().cloned().collect();
        for name in names.iter().filter(|name| name.components().count() > 1) {
            let secret = self.get(name, watch)?.unwrap_or_default();
            root.place(name, &mut &*secret, 0o600)
                .map_err(file(format!("placing the secret /{}", name.display())))?;
        }
        Ok(())
    }
}

/// Reveals all secrets of a project into `secrets.revealed`, which only the caller can read.
///
/// Returns that folder. An older one is replaced once every secret has been revealed.
pub fn reveal(project: &Path, watch: &mut dyn Watch) -> Result<PathBuf, MakeError> {
    stage::step(watch, Step::Prepare, |watch| {
        let folder = project.join(REVEALED);
        let sources = below(&project.join("secrets"))?;
        let mut secrets =
            Secrets { project: project.into(), sources, run: true, known: BTreeMap::new() };
        if secrets.is_empty() {
            let hint = "put them into the folder secrets, beside IMGBUILD";
            return Err(Problem::refused("there are no secrets to reveal", hint));
        }
        // Reveal all of them before writing any, so that nothing is left if only some programs
        // succeed.
        let names: Vec<PathBuf> = secrets.sources.keys().cloned().collect();
        for name in &names {
            secrets.get(name, watch)?;
        }
        let partial = project.join(".secrets.makeimg-partial");
        remove(&partial)?;
        let placed =
            write(&partial, &secrets.known).and_then(|()| remove(&folder)).and_then(|()| {
                let naming = file(format!("naming {}", folder.display()));
                fs::rename(&partial, &folder).map_err(naming)
            });
        if placed.is_err() {
            // The reason why it could not be written matters more than what could not be removed.
            let _left = remove(&partial);
        }
        placed.map(|()| folder)
    })
}

/// Writes secrets into a new folder that only the caller can read.
fn write(partial: &Path, secrets: &BTreeMap<PathBuf, Vec<u8>>) -> Result<(), Problem> {
    for (name, secret) in secrets {
        let copy = partial.join(name);
        let parent = copy.parent().unwrap_or(partial);
        let making = file(format!("making {}", parent.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(making)?;
        private::write(&copy, secret)?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), Problem> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(file(format!("removing {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;

    use super::*;
    use crate::step::tests::Said;

    #[test]
    fn a_secret_that_cannot_be_revealed_is_refused_and_others_are_run_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("secrets")).unwrap();
        fs::write(folder.path().join("secrets/a"), "plain").unwrap();
        let program = |script: &str| {
            let path = folder.path().join("secrets/key");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            Secrets::find(folder.path()).unwrap()
        };
        let mut said = Said::default();
        let refused = program("echo locked >&2; exit 1").check(&mut said).unwrap_err();
        assert!(matches!(refused, Problem::Refused { .. }), "{refused}");
        assert!(refused.to_string().ends_with("ended with exit status: 1: locked"), "{refused}");
        reveal(folder.path(), &mut said).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left of the other");
        let mut secrets = program("echo run >>ran; echo x");
        secrets.check(&mut said).unwrap();
        assert_eq!(secrets.get(Path::new("key"), &mut said).unwrap(), Some(&b"x\n"[..]));
        assert_eq!(fs::read_to_string(folder.path().join("ran")).unwrap(), "run\n");
    }
}
