//! Keeps disks and whatever else a machine is made of with the evidence.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::run::{Disks, Run};
use crate::drive::error::DirectError;
use crate::evidence::Evidence;
use crate::file::FileError;

/// Endings of files that machines use: disks, variables of the firmware, a final initramfs.
const KEPT: [&str; 4] = ["qcow2", "raw", "fd", "img"];

/// Copies them if that is wanted, and makes the scripts of the guests start what was kept.
pub(super) fn keep(run: &Run<'_>, evidence: &Evidence) -> Result<(), DirectError> {
    if run.rehearsal.disks == Disks::Remove {
        return Ok(());
    }
    let (from, to) = (run.workspace.folder(), evidence.folder());
    let names = copy(from, to).map_err(FileError::at("keeping the disks in", to))?;
    rewrite(to, from, to, &names).map_err(FileError::at("rewriting the scripts in", to))?;
    Ok(())
}

/// Copies the files of machines, and returns their names.
fn copy(from: &Path, to: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let (Some(name), true) = (path.file_name(), KEPT.contains(&ending.as_ref())) else {
            continue;
        };
        fs::copy(&path, to.join(name))?;
        names.push(name.to_string_lossy().into_owned());
    }
    Ok(names)
}

/// Replaces the paths of copied files in all scripts below a folder.
fn rewrite(folder: &Path, from: &Path, to: &Path, names: &[String]) -> io::Result<()> {
    let path_of = |folder: &Path, name: &str| folder.join(name).display().to_string();
    for entry in fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        if path.is_dir() {
            rewrite(&path, from, to, names)?;
        } else if path.to_string_lossy().ends_with(".qemu.sh") {
            let mut text = fs::read_to_string(&path)?;
            for name in names {
                text = text.replace(&path_of(from, name), &path_of(to, name));
            }
            fs::write(&path, text)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_is_made_of_is_kept_and_its_script_names_that() {
        let (run, evidence) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["disk.qcow2", "variables.fd", "writes.log"] {
            fs::write(run.path().join(name), name).unwrap();
        }
        let part = evidence.path().join("new-system");
        fs::create_dir(&part).unwrap();
        let script = part.join("new-system.qemu.sh");
        let disk = |folder: &Path| format!("-drive file={}\n", folder.join("disk.qcow2").display());
        fs::write(&script, disk(run.path())).unwrap();
        let mut names = copy(run.path(), evidence.path()).unwrap();
        names.sort();
        assert_eq!(names, ["disk.qcow2", "variables.fd"]);
        rewrite(evidence.path(), run.path(), evidence.path(), &names).unwrap();
        assert_eq!(fs::read_to_string(script).unwrap(), disk(evidence.path()));
    }
}
