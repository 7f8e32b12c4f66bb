//! Calls pacstrap(8).

use std::path::Path;

use crate::command::Command;
use crate::error::Problem;
use crate::isolate;
use crate::options::Options;
use crate::project::{HostItem, Project};

/// In a user namespace pacstrap makes one of its own, for which newuidmap looks into these files.
const NESTED: &str = r#"
ids=$(mktemp)
echo root:1:65535 >"$ids"
mount --bind "$ids" /etc/subuid
mount --bind "$ids" /etc/subgid
rm -f "$ids"
exec "$@"
"#;

/// Makes the command line of pacstrap.
pub(super) fn command(
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    if options.mirror.is_some() {
        let hint = "name the mirror in pacman.conf beside IMGBUILD: Server = …";
        return Err(Problem::refused("pacstrap takes no mirror on its command line", hint));
    }
    let nested = isolate::in_user_namespace();
    let mut command = Command::new("pacstrap");
    if nested {
        command = command.arg("-N");
    }
    let configuration = project.folder.join("pacman.conf");
    if configuration.is_file() {
        command = command.arg("-C").arg(configuration);
    }
    if !project.hostconf.contains(&HostItem::Keyring) {
        command = command.arg("-G");
    }
    if !project.hostconf.contains(&HostItem::Mirrorlist) {
        command = command.arg("-M");
    }
    let command = command.args(project.list("bootstrap_options")?);
    let command = command.arg(root).args(&project.packages);
    Ok(if nested { command.started_by("sh", &["-euc", NESTED, "sh"]) } else { command })
}
