//! The folder and the environment that a distribution's tool runs with.

use crate::command::Command;
use crate::options::Options;
use crate::project::{Project, Target};

/// Variables of the host that name its folders for temporary files and its shell (environ(7)).
const OF_HOST: [&str; 4] = ["TMPDIR", "TMP", "TEMP", "SHELL"];

/// Gives a tool its folder and its environment.
///
/// Scripts of packages run in the image, which may not have such a folder or shell.
pub(super) fn dress(command: Command, project: &Project, options: &Options) -> Command {
    let proxies = options
        .proxy
        .iter()
        .flat_map(|proxy| [("http_proxy", proxy.as_str()), ("https_proxy", proxy.as_str())]);
    // What pacman reports about hooks is parsed, too.
    let command =
        if project.target == Target::Arch { command.env("LC_ALL", "C.UTF-8") } else { command };
    let command = OF_HOST.iter().fold(command, |command, name| command.without(name));
    command.folder(&project.folder).envs(&project.environment).envs(proxies)
}
