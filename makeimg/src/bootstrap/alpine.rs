//! Calls apk(8).

use std::path::Path;

use crate::command::Command;
use crate::error::Problem;
use crate::options::Options;
use crate::project::Project;

/// What is installed where IMGBUILD names no packages.
const DEFAULT: &str = "alpine-base";

/// Makes the command line of apk.
pub(super) fn command(
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    let mut command = Command::new("apk").arg("--root").arg(root).arg("--initdb");
    // Without keys in the image, apk would trust nobody: the host's are what it has to go by.
    let (own, host) = (project.folder.join("keys"), Path::new("/etc/apk/keys"));
    if let Some(keys) = [own.as_path(), host].into_iter().find(|folder| folder.is_dir()) {
        command = command.arg("--keys-dir").arg(keys);
    }
    let (own, host) = (project.folder.join("repositories"), Path::new("/etc/apk/repositories"));
    if let Some(mirror) = &options.mirror {
        command = command.args(["--repositories-file", "/dev/null", "--repository", mirror]);
    } else if let Some(list) = [own.as_path(), host].into_iter().find(|list| list.is_file()) {
        command = command.arg("--repositories-file").arg(list);
    }
    let command = command.args(project.list("bootstrap_options")?).arg("add");
    if project.packages.is_empty() {
        return Ok(command.arg(DEFAULT));
    }
    Ok(command.args(&project.packages))
}
