//! Copies what `hostconf` names from the building host, unless the distribution's tool does so.

use std::path::{Path, PathBuf};

use crate::error::Problem;
use crate::files;
use crate::inputs::below;
use crate::project::{HostItem, Project, Target};
use crate::root::Root;
use crate::step::Watch;

/// Copies the items; pacstrap has already done so itself.
pub(crate) fn copy(project: &Project, root: &Root, watch: &mut dyn Watch) -> Result<(), Problem> {
    match project.target {
        Target::Arch => return Ok(()),
        Target::Debian { .. } => {
            if !project.hostconf.is_empty() {
                watch.line("hostconf has no meaning for target debian");
            }
            return Ok(());
        }
        Target::Alpine => {}
    }
    let mut found = Vec::new();
    // apk copies the keys that it gets; older versions do so only if they create the database.
    found.extend(keys(&project.folder.join("keys"))?);
    if project.hostconf.contains(&HostItem::Keyring) {
        found.extend(keys(Path::new("/etc/apk/keys"))?);
    }
    let list = Path::new("/etc/apk/repositories");
    if project.hostconf.contains(&HostItem::Mirrorlist) && list.is_file() {
        found.push(("etc/apk/repositories".into(), list.into()));
    }
    files::copy(root, found.iter().map(|(path, source)| (path, source)))
}

fn keys(folder: &Path) -> Result<Vec<(PathBuf, PathBuf)>, Problem> {
    let found = below(folder)?.into_iter();
    Ok(found.map(|(path, source)| (Path::new("etc/apk/keys").join(path), source)).collect())
}
