//! Calls the functions of IMGBUILD: `provision` in the image, `setup` and `cleanup` on the host.

use std::ffi::OsStr;
use std::path::Path;

use crate::chroot;
use crate::command::Command;
use crate::error::Problem;
use crate::private;
use crate::project::{Function, Project};
use crate::resolver;
use crate::root::Root;
use crate::shell;
use crate::step::Watch;

/// Runs `provision` in the image, if there is one.
pub(crate) fn provision(
    project: &Project,
    root: &Root,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    if !project.functions.contains(&Function::Provision) {
        return Ok(());
    }
    let values = shell::assignments(project.own_variables());
    let script = shell::provision();
    resolver::with(root, || {
        chroot::run(root, project, ("provision of IMGBUILD", &script, &values), watch)
    })
}

/// Calls a function of IMGBUILD on the host with the root folder.
///
/// Takes over the variables that it leaves, so that `provision` and `cleanup` get what `setup` has
/// noted.
pub(crate) fn on_host(
    function: Function,
    project: &mut Project,
    root: &Path,
    result: Option<&str>,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    if !project.functions.contains(&function) {
        return Ok(());
    }
    let extra = result.map(|result| ("result", OsStr::new(result)));
    let extra = extra.into_iter().chain([("root", root.as_os_str())]);
    let work = private::folder(project.scratch.as_deref())?;
    let values = work.path().join("values");
    private::write(&values, &shell::assignments(project.own_variables().chain(extra)))?;
    let call = Command::new("sh").arg("-c").arg(shell::call()).arg("sh");
    let call = call.args([values.as_os_str(), OsStr::new(function.name()), root.as_os_str()]);
    let call = call.folder(&project.folder).envs(&project.environment);
    let bytes = call.shown(format!("{} of IMGBUILD", function.name())).output(watch)?;
    let answer = shell::parse(&bytes);
    if !answer.ended {
        let hint = "let it return instead of exit";
        return Err(Problem::refused(format!("{} ended the shell", function.name()), hint));
    }
    for (name, value) in answer.after {
        if !shell::is_internal(&name) && project.variables.get(&name) != Some(&value) {
            project.own.insert(name.clone());
            project.variables.insert(name, value);
        }
    }
    Ok(())
}
