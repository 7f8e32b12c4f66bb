//! Installs packages into an empty root folder, by the distribution's own tool.

mod alpine;
mod arch;
mod debian;
mod dress;
mod hooks;

use std::path::Path;

use self::arch::Pacman;
use self::dress::dress;
use self::hooks::Hooks;
use crate::command::Command;
use crate::error::{Problem, file};
use crate::format::Format;
use crate::options::Options;
use crate::project::{Project, Target};
use crate::step::Watch;
use crate::{path, tools};

/// The tool to use; it has been found on this host.
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

/// How packages get into a root folder: the tool, and what it works with.
#[derive(Clone, Debug)]
pub(crate) struct Bootstrap {
    tool: Tool,
    pacman: Option<Pacman>,
}

impl Bootstrap {
    /// Finds the tool for the target, and refuses what it cannot do.
    pub(crate) fn find(
        project: &Project,
        options: &Options,
        watch: &mut dyn Watch,
    ) -> Result<Self, Problem> {
        let tool = tool(project)?;
        let pacman = match tool {
            Tool::Pacstrap => {
                arch::check(options)?;
                // `setup` may still write the configuration.
                let is_later = project.format == Format::Custom;
                if is_later { None } else { Some(Pacman::find(project, watch)?) }
            }
            Tool::Apk | Tool::Mmdebstrap | Tool::Debootstrap => {
                // Making the command finds whatever else the tool cannot do.
                command(tool, project, options, Path::new("/"))?;
                None
            }
        };
        Ok(Self { tool, pacman })
    }

    /// Installs the packages, for a machine or an image.
    ///
    /// Returns what failed on the way without stopping the tool.
    pub(crate) fn run(
        &self,
        project: &Project,
        (options, for_machine): (&Options, bool),
        root: &Path,
        watch: &mut dyn Watch,
    ) -> Result<Vec<String>, Problem> {
        let mut hooks = Hooks::listening(watch);
        if self.tool == Tool::Pacstrap {
            let pacman = match &self.pacman {
                Some(pacman) => pacman.clone(),
                None => Pacman::find(project, &mut hooks)?,
            };
            arch::run(&pacman, project, (options, for_machine), root, &mut hooks)?;
            return Ok(hooks.failed());
        }
        if self.tool == Tool::Apk {
            let database = alpine::database(project, options, root)?;
            dress(database, project, options).shown("apk").run(&mut hooks)?;
        }
        let (public, _kept) = debian::publish_keyring(project, options)?;
        let command = command(self.tool, project, &public, root)?;
        let installed = command.announced(self.tool.name(), &mut hooks).run(&mut hooks);
        if !(self.tool == Tool::Apk && installed.is_err() && hooks.only_lacks_a_menu()) {
            installed?;
        }
        if for_machine && matches!(project.target, Target::Debian { .. }) {
            debian::keep_keyring(project, options, root)?;
        }
        Ok(hooks.failed())
    }

    /// Asks the mirrors for everything that is to be installed, without installing it.
    ///
    /// `room` is the size of the root file system in bytes. What is fetched for this is removed
    /// again, unless the options name a cache.
    pub(crate) fn simulate(
        &self,
        project: &Project,
        options: &Options,
        room: u64,
        watch: &mut dyn Watch,
    ) -> Result<(), Problem> {
        if let Some(pacman) = &self.pacman {
            return arch::simulate(pacman, project, options, room, watch);
        }
        let empty = tempfile::tempdir().map_err(file("making a folder"))?;
        if self.tool == Tool::Apk {
            let database = alpine::database(project, options, empty.path())?;
            dress(database, project, options).shown("apk").run(watch)?;
        }
        let (options, _kept) = debian::publish_keyring(project, options)?;
        let command = command(self.tool, project, &options, empty.path())?;
        let command = match self.tool {
            Tool::Debootstrap => command.arg("--print-debs"),
            Tool::Mmdebstrap | Tool::Apk | Tool::Pacstrap => command.arg("--simulate"),
        };
        // The tools unmount what they have mounted, but not if they are killed.
        Ok(command.announced(self.tool.name(), watch).enclosed().run(watch)?)
    }

    /// Returns the lines with which the new system finds the mirrors that it was built from.
    ///
    /// They are for a system whose packages bring none: lines of pacman's mirror list, or of the
    /// repositories of apk.
    pub(crate) fn mirrors(
        &self,
        project: &Project,
        options: &Options,
    ) -> Result<Vec<String>, Problem> {
        match (&self.pacman, self.tool) {
            (Some(pacman), _) => Ok(pacman.mirrors()),
            (None, Tool::Apk) => alpine::repositories(project, options),
            // mmdebstrap and debootstrap write the list of sources themselves.
            (None, _) => Ok(Vec::new()),
        }
    }
}

/// Finds the tool for the target.
fn tool(project: &Project) -> Result<Tool, Problem> {
    match project.target {
        Target::Arch => tools::require("pacstrap", "target arch").map(|_| Tool::Pacstrap),
        Target::Alpine => tools::require("apk", "target alpine").map(|_| Tool::Apk),
        Target::Debian { .. } if path::find("mmdebstrap").is_some() => Ok(Tool::Mmdebstrap),
        Target::Debian { .. } if path::find("debootstrap").is_some() => Ok(Tool::Debootstrap),
        Target::Debian { .. } => {
            tools::require("mmdebstrap", "target debian").map(|_| Tool::Mmdebstrap)
        }
    }
}

fn command(
    tool: Tool,
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    let command = match tool {
        Tool::Pacstrap => arch::command(project, (&[], None), root),
        Tool::Apk => alpine::command(project, options, root),
        Tool::Mmdebstrap => debian::mmdebstrap(project, options, root),
        Tool::Debootstrap => debian::debootstrap(project, options, root),
    }?;
    Ok(dress(command, project, options))
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
            line(Tool::Pacstrap, &[("target", "arch"), ("packages", "base")], &plain),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r#"
        mmdebstrap --mode=root --verbose --skip=check/empty '--setup-hook=mkdir -p "$1/etc/dpkg/dpkg.cfg.d" && echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/makeimg"' '--customize-hook=rm "$1/etc/dpkg/dpkg.cfg.d/makeimg"' --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r http://mirror.invalid/debian
        mmdebstrap --mode=root --verbose --skip=check/empty '--setup-hook=mkdir -p "$1/etc/dpkg/dpkg.cfg.d" && echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/makeimg"' '--customize-hook=rm "$1/etc/dpkg/dpkg.cfg.d/makeimg"' --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r 'deb http://one.invalid x main' 'deb http://two.invalid x main'
        debootstrap --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r http://mirror.invalid/debian
        debootstrap --variant=minbase --components=main,contrib,non-free --include=a,b --verbose '--aptopt=Acquire::Retries "3"' trixie /r http://other.invalid
        debootstrap takes no lines of a source list
        apk --root /r --repositories-file /dev/null --repository http://mirror.invalid/v3.20/main add alpine-base
        pacstrap -G -M /r base
        "#);
    }
}
