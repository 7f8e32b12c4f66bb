//! Applies patches to files of the image by patch(1), without fuzz and without leftovers.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::error::{Problem, file};
use crate::private;
use crate::root::Root;
use crate::step::Watch;

/// Applies patches, each to the file that it is named after, whose mode and owner stay.
///
/// The work is done in our own folder in `scratch`, so that patch(1) can leave nothing in the
/// image.
pub(crate) fn apply<'a>(
    root: &Root,
    patches: impl IntoIterator<Item = (&'a PathBuf, &'a PathBuf)>,
    scratch: Option<&Path>,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    for (path, patch) in patches {
        let about = format!("applying {} to /{}", patch.display(), path.display());
        apply_one(root, (path, patch), scratch, watch).map_err(|problem| problem.about(about))?;
    }
    Ok(())
}

fn apply_one(
    root: &Root,
    (target, patch): (&Path, &Path),
    scratch: Option<&Path>,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let work = private::folder(scratch)?;
    let (before, after) = (work.path().join("before"), work.path().join("after"));
    let content = root.read(target).map_err(file("reading what is to be patched"))?;
    let Some(content) = content else {
        let hint = "a patch is for a file that packages or input files have brought";
        return Err(Problem::refused(
            format!("there is no /{} in the image", target.display()),
            hint,
        ));
    };
    private::write(&before, &content)?;
    Command::new("patch")
        .args(["--fuzz=0", "--batch", "--forward", "--silent", "--reject-file=-", "--output"])
        .args([&after, &before, &patch.to_path_buf()])
        .env("LC_ALL", "C")
        .without("POSIXLY_CORRECT")
        .without("VERSION_CONTROL")
        .run(watch)?;
    let patched = fs::read(&after).map_err(file("reading what patch(1) wrote"))?;
    root.rewrite(target, &patched).map_err(file("writing what was patched"))
}
