//! Lets a shell read IMGBUILD.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::command::{Command, CommandError};
use crate::environment;
use crate::error::{MakeError, Problem, file};
use crate::options::Options;
use crate::project::{Function, Project};
use crate::shell;
use crate::stage;
use crate::step::{Step, Watch};
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
    let answer = match shell.output(watch) {
        Ok(bytes) => shell::parse(&bytes),
        Err(CommandError::Status { status, tail, .. }) => {
            return Err(Problem::refused(
                format!("{FILE} ended the shell that read it, with {status}: {tail}"),
                "let it go on to its end: no exit, no set -e, and no use of what is not set",
            ));
        }
        Err(error) => return Err(error.into()),
    };
    if !answer.ended {
        let hint = "let it go on to its end, without exit";
        return Err(Problem::refused(format!("{FILE} ended the shell that read it"), hint));
    }
    let changed = answer.after.iter().filter(|(name, value)| {
        !shell::is_internal(name) && answer.before.get(*name) != Some(value)
    });
    // The image must see those of anemos.env too, in programs as well as in functions.
    let own = changed.map(|(name, _)| name.clone()).chain(environment.keys().cloned());
    let own: BTreeSet<String> = own.collect();
    let mut project = Project::from_variables(folder, answer.after, own, format)?;
    let known = |function: &Function| answer.functions.iter().any(|name| name == function.name());
    project.environment = environment;
    project.functions = Function::ALL.into_iter().filter(known).collect();
    Ok(project)
}

/// Lets a shell find the first mistake, with its file and line.
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

/// Reads a file of the project, if it exists.
pub(crate) fn optional(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, Problem> {
    match fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(format!("reading {name}"))(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    struct Silent;

    impl Watch for Silent {
        fn begins(&mut self, _step: Step) {}
        fn ended(&mut self, _step: Step, _took: Duration, _failure: Option<&str>) {}
        fn line(&mut self, _line: &str) {}
    }

    fn evaluated(imgbuild: &str) -> Project {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), imgbuild).expect("a file");
        let options = Options { folder: folder.path().into(), ..Options::default() };
        evaluate(&options, &mut Silent).expect("a good IMGBUILD")
    }

    const NEEDED: &str = "imgname=a\ntarget=arch\n";

    #[test]
    fn variables_are_read_back_exactly() {
        for (assignment, want) in [
            ("v='a b'", "a b"),
            ("v=\"\n x \n\n\"", "\n x \n\n"),
            ("v='it'\\''s $HOME `date` $(date) \\n'", "it's $HOME `date` $(date) \\n"),
            ("v=\"$(printf 'a\\001\\177\\tz')\"", "a\u{1}\u{7f}\tz"),
            ("v='x\nimgname=b\nPATH=/nowhere'", "x\nimgname=b\nPATH=/nowhere"),
            ("v=; IFS=x; set -euf", ""),
            ("v=1; set -- a b; cd /; exec >/dev/null", "1"),
            ("readonly v=1", "1"),
        ] {
            let project = evaluated(&format!("{NEEDED}{assignment}\n"));
            assert_eq!(project.variables.get("v"), Some(&OsString::from(want)), "{assignment}");
            assert!(project.own.contains("v"), "{assignment}");
        }
    }

    #[test]
    fn functions_are_those_that_the_shell_has() {
        let project = evaluated(&format!(
            "{NEEDED}provision() {{ :; }}\nif true; then setup() {{ :; }}; fi\ncleanup=1\n"
        ));
        let functions: Vec<Function> = project.functions.into_iter().collect();
        assert_eq!(functions, [Function::Setup, Function::Provision]);
    }

    #[test]
    fn the_environment_is_visible_and_not_ours() {
        let project = evaluated(&format!("{NEEDED}v=$HOME\n"));
        let home = std::env::var_os("HOME").unwrap_or_default();
        assert_eq!(project.variables.get("v"), Some(&home));
        assert!(!project.own.contains("PATH"), "{:?}", project.own);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// All printable characters, quotes and newlines, as text and as what a shell would run.
        #[test]
        fn any_value_survives(
            values in proptest::collection::btree_map("x_[a-zA-Z0-9_]{0,8}", "([ -~\\n\\t]|\\PC|['\"$`\\\\]){0,60}", 1..6),
        ) {
            let values: BTreeMap<String, OsString> =
                values.into_iter().map(|(name, value)| (name, value.into())).collect();
            let pairs = values.iter().map(|(name, value)| (name.as_str(), value.as_os_str()));
            let written = String::from_utf8(shell::assignments(pairs)).expect("text");
            let project = evaluated(&format!("{NEEDED}{written}"));
            for (name, value) in &values {
                prop_assert_eq!(project.variables.get(name), Some(value));
            }
        }
    }
}
