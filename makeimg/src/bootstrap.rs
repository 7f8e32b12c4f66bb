//! Installs packages into an empty root folder, by the distribution's own tool.

mod alpine;
mod arch;
mod debian;

use std::path::Path;

use crate::command::Command;
use crate::error::{Problem, file};
use crate::options::Options;
use crate::project::{Project, Target};
use crate::stage::Watch;
use crate::tools;

/// The tool that will do it, which is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tool {
    Pacstrap,
    Apk,
    Mmdebstrap,
    Debootstrap,
}

/// Finds the tool for the target, and refuses what it cannot do.
pub(crate) fn tool(project: &Project, options: &Options) -> Result<Tool, Problem> {
    let tool = match project.target {
        Target::Arch => tools::require("pacstrap", "target arch").map(|_| Tool::Pacstrap),
        Target::Alpine => tools::require("apk", "target alpine").map(|_| Tool::Apk),
        Target::Debian { .. } if tools::find("mmdebstrap").is_some() => Ok(Tool::Mmdebstrap),
        Target::Debian { .. } if tools::find("debootstrap").is_some() => Ok(Tool::Debootstrap),
        Target::Debian { .. } => {
            tools::require("mmdebstrap", "target debian").map(|_| Tool::Mmdebstrap)
        }
    }?;
    // Whatever else it cannot do is found while its command is made.
    command(tool, project, options, Path::new("/"))?;
    Ok(tool)
}

/// Installs the packages.
pub(crate) fn run(
    tool: Tool,
    project: &Project,
    options: &Options,
    root: &Path,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let command = command(tool, project, options, root)?;
    watch.line(&command.line());
    Ok(command.run(watch)?)
}

/// Asks the mirrors for everything that is to be installed, and installs nothing.
///
/// What is fetched for that is in a folder that is removed again.
pub(crate) fn simulate(
    tool: Tool,
    project: &Project,
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let empty = tempfile::tempdir().map_err(file("making a folder"))?;
    let command = command(tool, project, options, empty.path())?;
    let command = match tool {
        Tool::Mmdebstrap | Tool::Apk => command.arg("--simulate"),
        Tool::Debootstrap => command.arg("--print-debs"),
        Tool::Pacstrap => {
            watch.line("whether the mirrors have all packages, pacstrap cannot tell beforehand");
            return Ok(());
        }
    };
    watch.line(&command.line());
    Ok(command.run(watch)?)
}

fn command(
    tool: Tool,
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    let command = match tool {
        Tool::Pacstrap => arch::command(project, options, root),
        Tool::Apk => alpine::command(project, options, root),
        Tool::Mmdebstrap => debian::mmdebstrap(project, options, root),
        Tool::Debootstrap => debian::debootstrap(project, options, root),
    }?;
    let proxies = options
        .proxy
        .iter()
        .flat_map(|proxy| [("http_proxy", proxy.as_str()), ("https_proxy", proxy.as_str())]);
    Ok(command.folder(&project.folder).envs(&project.environment).envs(proxies))
}
