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

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Pacstrap => "pacstrap",
            Self::Apk => "apk",
            Self::Mmdebstrap => "mmdebstrap",
            Self::Debootstrap => "debootstrap",
        }
    }
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
    let (options, _kept) = debian::publish_keyring(project, options)?;
    let command = command(tool, project, &options, root)?;
    Ok(command.announced(tool.name(), watch).run(watch)?)
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
    let (options, _kept) = debian::publish_keyring(project, options)?;
    let command = command(tool, project, &options, empty.path())?;
    let command = match tool {
        Tool::Mmdebstrap | Tool::Apk => command.arg("--simulate"),
        Tool::Debootstrap => command.arg("--print-debs"),
        Tool::Pacstrap => {
            watch.line("whether the mirrors have all packages, pacstrap cannot tell beforehand");
            return Ok(());
        }
    };
    // The tools unmount what they have mounted, but not when they are killed.
    Ok(command.announced(tool.name(), watch).enclosed().run(watch)?)
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    use super::*;

    fn project(variables: &[(&str, &str)]) -> Project {
        let all = [("imgname", "a"), ("format", "dir")].iter().chain(variables);
        let variables = all.map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
        let folder = Path::new("/nonexistent");
        Project::from_variables(folder, variables.collect(), BTreeSet::new(), None)
            .expect("a good project")
    }

    fn line(tool: Tool, variables: &[(&str, &str)], options: &Options) -> String {
        let command = command(tool, &project(variables), options, Path::new("/r"));
        command.map_or_else(|problem| problem.to_string(), |command| command.line())
    }

    #[test]
    fn variables_and_options_become_a_command_line() {
        let debian = [
            ("target", "debian"),
            ("debian_suite", "trixie"),
            ("debian_components", "main contrib\nnon-free"),
            ("debian_variant", "minbase"),
            ("debian_mirror", "http://mirror.invalid/debian"),
            ("packages", "a\nb"),
            ("bootstrap_options", "--verbose\n--aptopt=Acquire::Retries \"3\""),
        ];
        let plain = Options::default();
        let mirror = |mirror: &str| Options { mirror: Some(mirror.to_owned()), ..plain.clone() };
        let lists =
            mirror("deb http://one.invalid x main\n# none\ndeb http://two.invalid x main\n");
        let lines = [
            line(Tool::Mmdebstrap, &debian, &plain),
            line(Tool::Mmdebstrap, &debian, &lists),
            line(Tool::Debootstrap, &debian, &plain),
            line(Tool::Debootstrap, &debian, &mirror("http://other.invalid")),
            line(Tool::Debootstrap, &debian, &lists),
            line(Tool::Apk, &[("target", "alpine")], &mirror("http://mirror.invalid/v3.20/main")),
            line(Tool::Pacstrap, &[("target", "arch"), ("packages", "base")], &mirror("x")),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        mmdebstrap --mode=root --verbose --skip=check/empty '--setup-hook=mkdir -p "$1/etc/dpkg/dpkg.cfg.d" && echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/makeimg"' '--customize-hook=rm "$1/etc/dpkg/dpkg.cfg.d/makeimg"' --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r http://mirror.invalid/debian
        mmdebstrap --mode=root --verbose --skip=check/empty '--setup-hook=mkdir -p "$1/etc/dpkg/dpkg.cfg.d" && echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/makeimg"' '--customize-hook=rm "$1/etc/dpkg/dpkg.cfg.d/makeimg"' --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r 'deb http://one.invalid x main' 'deb http://two.invalid x main'
        debootstrap --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r http://mirror.invalid/debian
        debootstrap --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r http://other.invalid
        debootstrap takes no lines of a source list
        apk --root /r --initdb --repositories-file /dev/null --repository http://mirror.invalid/v3.20/main add alpine-base
        pacstrap takes no mirror on its command line
        "#);
    }
}
