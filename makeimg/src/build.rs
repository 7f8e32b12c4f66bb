//! Runs a whole build, step by step.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::boot_files;
use crate::bootstrap::Bootstrap;
use crate::clock;
use crate::error::{MakeError, Problem, file};
use crate::format::Format;
use crate::inputs::Inputs;
use crate::machine::{self, Machine};
use crate::modes::{self, Setting};
use crate::options::Options;
use crate::output::{self, Work};
use crate::project::{Function, Project, Target};
use crate::root::Root;
use crate::secrets::Secrets;
use crate::stage::step;
use crate::step::{Step, Watch};
use crate::{files, generators, hostconf, patches, provision, templates, tools};

/// A build that has passed all checks.
#[derive(Debug)]
pub struct Build {
    project: Project,
    options: Options,
    bootstrap: Bootstrap,
    inputs: Inputs,
    settings: Vec<Setting>,
    secrets: Secrets,
    /// The machine to install on, unless an image is made.
    machine: Option<Machine>,
    /// The settings of GRUB there, as packages have installed them.
    packaged: machine::boot::Settings,
}

/// The result of a build.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Made {
    /// Where the result is; the format custom has its own.
    pub path: Option<PathBuf>,
}

impl Build {
    /// Finds inputs and tools, and refuses what cannot be built; nothing is changed.
    ///
    /// The format is ignored, because the caller has its own root folder for [`Build::steps`].
    pub fn prepare(
        project: Project,
        options: &Options,
        watch: &mut dyn Watch,
    ) -> Result<Self, MakeError> {
        step(watch, Step::Prepare, |watch| Self::find(project, options, watch))
    }

    pub(crate) fn find(
        project: Project,
        options: &Options,
        watch: &mut dyn Watch,
    ) -> Result<Self, Problem> {
        let bootstrap = Bootstrap::find(&project, options, watch)?;
        let inputs = Inputs::find(&project.folder, options)?;
        if !inputs.patches.is_empty() {
            tools::require("patch", "applying patches")?;
        }
        tools::require("unshare", "every build")?;
        let settings = modes::read(&project.folder)?;
        let secrets = Secrets::find(&project.folder)?;
        let custom = project.format == Format::Custom;
        let variables = Some(&project.variables).filter(|_| !custom);
        templates::check(inputs.templates.values(), variables, &secrets)?;
        Ok(Self {
            project,
            options: options.clone(),
            bootstrap,
            inputs,
            settings,
            secrets,
            machine: None,
            packaged: machine::boot::Settings::new(),
        })
    }

    /// Returns the project, with the variables that `setup` may have left.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Makes the system take over from a machine what it needs.
    pub(crate) fn install_on(&mut self, machine: Machine) {
        self.machine = Some(machine);
    }

    /// Returns the settings of GRUB as packages have installed them.
    pub(crate) fn packaged(&self) -> &machine::boot::Settings {
        &self.packaged
    }

    /// Reveals all secrets, and refuses those that cannot be revealed.
    pub(crate) fn reveal(&mut self, watch: &mut dyn Watch) -> Result<(), Problem> {
        self.secrets.check(watch)
    }

    /// Asks the mirrors for all packages for a root file system of `room` bytes; installs nothing.
    pub(crate) fn simulate(&self, room: u64, watch: &mut dyn Watch) -> Result<(), Problem> {
        self.bootstrap.simulate(&self.project, &self.options, room, watch)
    }

    /// Builds the system in an existing root folder, mounted or not: bootstrap to provision.
    ///
    /// Nothing that this mounts stays mounted, even if it fails.
    pub fn steps(&mut self, folder: &Path, watch: &mut dyn Watch) -> Result<(), MakeError> {
        let (project, inputs, secrets) = (&self.project, &self.inputs, &mut self.secrets);
        let packaged = &mut self.packaged;
        let root = step(watch, Step::Bootstrap, |watch| {
            let root = Root::open(folder).map_err(file("opening the root folder"))?;
            generators::prepare(project, &root)?;
            let had_menu = output::has_boot_menu(&root);
            let how = (&self.options, self.machine.is_some());
            let failed = self.bootstrap.run(project, how, folder, watch)?;
            boot_files::check(project, &root, &failed)?;
            // GRUB of Alpine writes a menu that names the root of the building host.
            if project.target == Target::Alpine && !had_menu {
                output::forget_boot_menu(&root)?;
            }
            hostconf::copy(project, &root, watch)?;
            if let Some(machine) = &self.machine {
                let mirrors = self.bootstrap.mirrors(project, &self.options)?;
                machine::settings::apply(machine, project, (&root, &mirrors), watch)?;
                *packaged = machine::boot::settings(&root)?;
            }
            Ok(root)
        })?;
        step(watch, Step::Files, |_| files::copy(&root, &inputs.files))?;
        step(watch, Step::Patches, |watch| {
            patches::apply(&root, &inputs.patches, project.scratch.as_deref(), watch)
        })?;
        step(watch, Step::Templates, |watch| {
            templates::render(&root, &inputs.templates, &project.variables, secrets, watch)
        })?;
        step(watch, Step::Secrets, |watch| {
            secrets.place(&root, watch)?;
            modes::set(&root, &self.settings)
        })?;
        step(watch, Step::Provision, |watch| {
            provision::provision(project, &root, watch)?;
            generators::restore(project, &root)
        })
    }
}

/// Builds an image in the folder of the options, and gives it its name at the very end.
pub fn build(
    project: Project,
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<Made, MakeError> {
    let (mut build, work, epoch) =
        step(watch, Step::Prepare, |watch| start(project, options, watch))?;
    let root = work.root();
    let made = build.steps(&root, watch).and_then(|()| {
        step(watch, Step::Finish, |watch| output::finish(&build.project, &work, epoch, watch))
    });
    let cleaned = if build.project.format == Format::Custom {
        let project = &mut build.project;
        step(watch, Step::Cleanup, |watch| cleanup(project, &root, made.is_ok(), watch))
    } else {
        Ok(())
    };
    let left = leave(work, options.keep && made.is_err(), watch);
    let path = made?;
    cleaned?;
    left.map_err(|problem| MakeError { step: Step::Cleanup, problem })?;
    Ok(Made { path })
}

/// Makes the place for the root folder, after everything that can be refused has been checked.
fn start(
    project: Project,
    options: &Options,
    watch: &mut dyn Watch,
) -> Result<(Build, Work, Option<i64>), Problem> {
    let epoch = clock::epoch(&project)?;
    output::check(&project)?;
    let mut build = Build::find(project, options, watch)?;
    let output = match &options.output {
        Some(output) => output.clone(),
        None => env::current_dir().map_err(file("finding the current folder"))?,
    };
    let finding = || file(format!("finding the output folder {}", output.display()));
    fs::create_dir_all(&output).map_err(finding())?;
    // Resolve the real name of what is there, or fail.
    let output = fs::canonicalize(&output).map_err(finding())?;
    output::check_place(&build.project, &options.inputs, &output)?;
    let work = Work::create(&output, &build.project.imgname, watch)?;
    build.project.scratch = Some(work.join(""));
    if build.project.format != Format::Custom {
        return Ok((build, work, epoch));
    }
    let root = work.root();
    let set_up = provision::on_host(Function::Setup, &mut build.project, &root, None, watch);
    let Err(problem) = set_up else { return Ok((build, work, epoch)) };
    // The reason why the build failed matters more than what could not be cleaned up, and that was
    // reported.
    let _said = cleanup(&mut build.project, &root, false, watch);
    let _said = leave(work, options.keep, watch);
    Err(problem)
}

/// Calls `cleanup` and passes it the result of the build.
fn cleanup(
    project: &mut Project,
    root: &Path,
    success: bool,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let result = Some(if success { "success" } else { "failure" });
    provision::on_host(Function::Cleanup, project, root, result, watch)
}

/// Removes or keeps the work folder, and reports what stops it from being removed.
fn leave(work: Work, keep: bool, watch: &mut dyn Watch) -> Result<(), Problem> {
    if keep {
        work.keep(watch);
        return Ok(());
    }
    let removed = work.remove(watch);
    if let Err(problem) = &removed {
        watch.line(&problem.to_string());
    }
    removed
}
