//! The folder and the environment that a distribution's tool runs with.

use crate::command::Command;
use crate::options::Options;
use crate::project::{Project, Target};

/// Variables that name folders for temporary files, and the shell, of the host (environ(7)).
const OF_HOST: [&str; 4] = ["TMPDIR", "TMP", "TEMP", "SHELL"];

/// Gives a tool its folder and its environment.
///
/// Scripts of packages run in the image, which need not have a folder or a shell of that name.
pub(super) fn dress(command: Command, project: &Project, options: &Options) -> Command {
    let proxies = options
        .proxy
        .iter()
        .flat_map(|proxy| [("http_proxy", proxy.as_str()), ("https_proxy", proxy.as_str())]);
    // What pacman says of hooks is read, too.
    let command =
        if project.target == Target::Arch { command.env("LC_ALL", "C.UTF-8") } else { command };
    let command = OF_HOST.iter().fold(command, |command, name| command.without(name));
    command.folder(&project.folder).envs(&project.environment).envs(proxies)
}
