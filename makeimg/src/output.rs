//! Turns the root folder into the result, as its format requires.

mod archive;
mod filesystem;
mod grub;
mod identity;
mod place;
mod raw;
mod times;
mod work;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{Problem, file};
use crate::format::Format;
use crate::project::{Function, Project};
use crate::step::Watch;

pub(crate) use grub::{forget_menu as forget_boot_menu, has_menu as has_boot_menu};
pub(crate) use work::Work;

/// Refuses a format that cannot be made here, before anything is built.
pub(crate) fn check(project: &Project) -> Result<(), Problem> {
    match &project.format {
        Format::Raw(raw) => raw::check(project, raw),
        Format::Tar(compression) => archive::check(compression),
        Format::Dir => Ok(()),
        Format::Custom if project.functions.contains(&Function::Setup) => Ok(()),
        Format::Custom => {
            let hint = "let it mount the root of the image on the folder $1";
            Err(Problem::refused("format custom needs a function setup in IMGBUILD", hint))
        }
    }
}

/// Refuses a result that would replace something that no build has made.
pub(crate) fn check_place(
    project: &Project,
    inputs: &[PathBuf],
    output: &Path,
) -> Result<(), Problem> {
    let Some(result) = name(project).map(|name| output.join(name)) else { return Ok(()) };
    if project.format == Format::Dir {
        return place::check(project, inputs, &result);
    }
    // Symlinks are replaced, not followed.
    if fs::symlink_metadata(&result).is_ok_and(|found| found.is_dir()) {
        let reason = format!("a folder is in the place of the result: {}", result.display());
        return Err(Problem::refused(reason, "remove it, or name another folder by -o"));
    }
    Ok(())
}

/// Returns the name of the result; the format custom names its own.
pub(crate) fn name(project: &Project) -> Option<String> {
    let name = &project.imgname;
    match &project.format {
        Format::Raw(_) => Some(format!("{name}.img")),
        Format::Tar(compression) => Some(format!("{name}.tar.{compression}")),
        Format::Dir => Some(name.clone()),
        Format::Custom => None,
    }
}

/// Makes the result from the root folder, and gives it its name as the very last step.
///
/// An image contains host keys and hashes of passwords, maybe secrets too, so only its owner can
/// read it.
pub(crate) fn finish(
    project: &Project,
    work: &Work,
    epoch: Option<i64>,
    watch: &mut dyn Watch,
) -> Result<Option<PathBuf>, Problem> {
    let Some(name) = name(project) else { return Ok(None) };
    let (root, partial) = (work.root(), work.join("result"));
    match &project.format {
        Format::Raw(raw) => raw::make(project, raw, (&root, &partial), epoch, watch)?,
        Format::Tar(compression) => {
            archive::make(&root, &partial, compression, epoch, watch)?;
        }
        Format::Dir | Format::Custom => times::clamp(&root, epoch)?,
    }
    let result = work.output().join(&name);
    let naming = || file(format!("naming the result {}", result.display()));
    if project.format == Format::Dir {
        place::take(work, &result).map_err(naming())?;
        return Ok(Some(result));
    }
    fs::set_permissions(&partial, Permissions::from_mode(0o600)).map_err(naming())?;
    // After a power cut there is an older result or this one, and never a part of it.
    File::open(&partial).and_then(|partial| partial.sync_all()).map_err(naming())?;
    fs::rename(&partial, &result).map_err(naming())?;
    Ok(Some(result))
}
