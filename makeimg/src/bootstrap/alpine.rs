//! Calls apk(8).

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::error::{Problem, file};
use crate::options::Options;
use crate::project::Project;

/// What is installed if IMGBUILD names no packages.
const DEFAULT: &str = "alpine-base";

/// Makes the command line that creates the database of packages.
///
/// apk 2.14 and 3 do not create it while they simulate, and without it they do not look for
/// packages.
pub(super) fn database(
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    Ok(common(project, options, root)?.args(["--initdb", "add"]))
}

/// Makes the command line of apk.
pub(super) fn command(
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    let command = common(project, options, root)?.arg("add");
    if project.packages.is_empty() {
        return Ok(command.arg(DEFAULT));
    }
    Ok(command.args(&project.packages))
}

fn common(project: &Project, options: &Options, root: &Path) -> Result<Command, Problem> {
    let mut command = Command::new("apk").arg("--root").arg(root);
    // Without keys in the image apk would trust nobody, so the host's keys take their place.
    let (own, host) = (project.folder.join("keys"), Path::new("/etc/apk/keys"));
    if let Some(keys) = [own.as_path(), host].into_iter().find(|folder| folder.is_dir()) {
        command = command.arg("--keys-dir").arg(keys);
    }
    if let Some(mirror) = &options.mirror {
        command = command.args(["--repositories-file", "/dev/null", "--repository", mirror]);
    } else if let Some(list) = list(project) {
        command = command.arg("--repositories-file").arg(list);
    }
    Ok(command.args(project.list("bootstrap_options")?))
}

/// Returns the list of repositories beside IMGBUILD, or else that of the host.
fn list(project: &Project) -> Option<PathBuf> {
    let lists = [project.folder.join("repositories"), PathBuf::from("/etc/apk/repositories")];
    lists.into_iter().find(|list| list.is_file())
}

/// Returns the lines of the repositories that packages come from.
pub(super) fn repositories(project: &Project, options: &Options) -> Result<Vec<String>, Problem> {
    if let Some(mirror) = &options.mirror {
        return Ok(vec![mirror.clone()]);
    }
    let Some(list) = list(project) else { return Ok(Vec::new()) };
    let text = fs::read_to_string(&list).map_err(file(format!("reading {}", list.display())))?;
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}
