//! Has a shell read IMGBUILD.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Command, CommandError};
use crate::environment;
use crate::error::{MakeError, Problem, file};
use crate::options::Options;
use crate::project::{Function, Project};
use crate::shell;
use crate::stage::{self, Step, Watch};
use crate::tools;

/// The name of the file.
const FILE: &str = "IMGBUILD";

/// Reads the IMGBUILD of a folder, with the environment, `anemos.env` and the options.
pub fn evaluate(options: &Options, watch: &mut dyn Watch) -> Result<Project, MakeError> {
    stage::step(watch, Step::Evaluate, |watch| {
        let folder = absolute(&options.folder)?;
        read(&folder, options.format.as_deref(), watch)
    })
}

pub(crate) fn absolute(folder: &Path) -> Result<PathBuf, Problem> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    fs::canonicalize(folder).map_err(|error| {
        let reason = format!("the folder {} cannot be entered: {error}", folder.display());
        Problem::refused(reason, "name a folder that holds an IMGBUILD")
    })
}

fn read(folder: &Path, format: Option<&str>, watch: &mut dyn Watch) -> Result<Project, Problem> {
    if !folder.join(FILE).is_file() {
        let reason = format!("there is no {FILE} in {}", folder.display());
        return Err(Problem::refused(reason, "go to the folder that holds it, or name it by -C"));
    }
    tools::require("sh", "reading IMGBUILD")?;
    check_syntax(folder, watch)?;
    let environment = environment::read(folder)?;
    let shell = Command::new("sh").arg("-c").arg(shell::evaluation()).folder(folder);
    let shell = shell.envs(&environment).shown("sh IMGBUILD");
    let told = match shell.output(watch) {
        Ok(bytes) => shell::told(&bytes),
        Err(CommandError::Status { status, tail, .. }) => {
            return Err(Problem::refused(
                format!("{FILE} ended the shell that read it, with {status}: {tail}"),
                "let it go on to its end: no exit, no set -e, and no use of what is not set",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    if !told.ended {
        let hint = "let it go on to its end, without exit";
        return Err(Problem::refused(format!("{FILE} ended the shell that read it"), hint));
    }
    let changed = told
        .after
        .iter()
        .filter(|(name, value)| !shell::is_internal(name) && told.before.get(*name) != Some(value));
    // Those of anemos.env must be seen in the image too, by programs as well as by functions.
    let own = changed.map(|(name, _)| name.clone()).chain(environment.keys().cloned());
    let own: BTreeSet<String> = own.collect();
    let mut project = Project::from_variables(folder, told.after, own, format)?;
    let known = |function: &Function| told.functions.iter().any(|name| name == function.name());
    project.environment = environment;
    project.functions = Function::ALL.into_iter().filter(known).collect();
    Ok(project)
}

/// A shell tells file and line of a mistake; only the first counts.
fn check_syntax(folder: &Path, watch: &mut dyn Watch) -> Result<(), Problem> {
    let check = Command::new("sh").arg("-n").arg(FILE).folder(folder);
    let Err(error) = check.run(watch) else { return Ok(()) };
    let CommandError::Status { tail, .. } = &error else { return Err(error.into()) };
    let message = tail.lines().find(|line| line.contains(FILE)).unwrap_or(tail);
    let line = message.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty());
    match line.and_then(|digits| digits.parse().ok()) {
        Some(line) => Err(Problem::Text {
            file: FILE.to_owned(),
            line,
            reason: message.rsplit(": ").next().map_or(message, |last| last).to_owned(),
            hint: format!("mend it until `sh -n {FILE}` is content"),
        }),
        None => Err(error.into()),
    }
}

/// Reads a file of the project that may be missing.
pub(crate) fn optional(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Problem> {
    match fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(format!("reading {name}"))(error)),
    }
}
