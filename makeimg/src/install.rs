//! Installs a system onto a disk, as a machine that boots by itself and lets its owner log in.
//!
//! In the deploy environment, this replaces the formats `raw`, `tar` and `dir`: no image is made,
//! so that memory does not have to hold one.

use crate::alpine;
use crate::build::Build;
use crate::error::{MakeError, Problem};
use crate::format::Format;
use crate::machine::disk::Disk;
use crate::machine::{Machine, boot, packages};
use crate::options::Options;
use crate::output;
use crate::project::Project;
use crate::stage::step;
use crate::step::{Step, Watch};

/// Installs onto the disk of a machine.
///
/// What can be refused is refused before anything is written. On failure the disk is left as it is
/// at that moment: unmounted, with half of a system on it.
pub fn install(
    project: Project,
    options: &Options,
    machine: &Machine,
    watch: &mut dyn Watch,
) -> Result<(), MakeError> {
    let (mut build, disk) = step(watch, Step::Prepare, |watch| {
        let (build, disk) = find(project, options, machine, watch)?;
        disk.make(watch)?;
        disk.mount(&machine.root, watch)?;
        Ok((build, disk))
    })?;
    let done = build.steps(&machine.root, watch).and_then(|()| {
        step(watch, Step::Finish, |watch| {
            let system = (build.project(), build.packaged());
            boot::install(machine, &disk, system, &machine.root, watch)
        })
    });
    let unmounted = disk.unmount(&machine.root);
    if let (Err(_), Err(problem)) = (&done, &unmounted) {
        // The reason why the build failed matters more.
        watch.line(&problem.describe());
    }
    done?;
    unmounted.map_err(|problem| MakeError { step: Step::Finish, problem })
}

/// Refuses what could not be installed on a machine; nothing is changed.
///
/// Asks the mirrors for all packages, except for the format custom, because then `setup` may be
/// what makes packages available.
pub fn check(
    project: Project,
    options: &Options,
    machine: &Machine,
    watch: &mut dyn Watch,
) -> Result<(), MakeError> {
    step(watch, Step::Prepare, |watch| {
        if project.format == Format::Custom {
            output::check(&project)?;
            return Build::find(project, options, watch).map(drop);
        }
        let (build, disk) = find(project, options, machine, watch)?;
        build.simulate(disk.root_bytes(), watch)
    })
}

fn find(
    mut project: Project,
    options: &Options,
    machine: &Machine,
    watch: &mut dyn Watch,
) -> Result<(Build, Disk), Problem> {
    let filesystem = match &project.format {
        Format::Raw(raw) => raw.filesystem.clone(),
        Format::Tar(_) | Format::Dir | Format::Custom => "ext4".to_owned(),
    };
    alpine::check(&project.target, &filesystem)?;
    packages::check(&project)?;
    packages::complete(&mut project, machine.firmware, &filesystem);
    let mut build = Build::find(project, options, watch)?;
    let disk = Disk::find(machine, &filesystem)?;
    build.reveal(watch)?;
    build.install_on(machine.clone());
    Ok((build, disk))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::step::tests::Said;

    #[test]
    fn what_would_not_be_built_or_boot_is_refused_by_the_check() {
        for (target, format, package, want) in [
            ("debian", "custom", "", "format custom needs a function setup in IMGBUILD"),
            ("alpine", "raw 2G gpt xfs", "", "the initramfs of Alpine does not mount xfs"),
            (
                "debian",
                "dir",
                "sysvinit-core",
                "sysvinit-core takes the place of systemd, by which services are started",
            ),
        ] {
            let values =
                [("imgname", "i"), ("target", target), ("format", format), ("packages", package)];
            let values = values.map(|(name, value)| (name.to_owned(), value.into()));
            let folder = Path::new("/nonexistent");
            let project = Project::from_variables(folder, values.into(), [].into(), None).unwrap();
            let machine = Machine::from_environment(Path::new("/dev/null"));
            let refused = check(project, &Options::default(), &machine, &mut Said::default());
            let said = refused.unwrap_err().refusal().map(|(reason, _)| reason);
            assert_eq!(said.as_deref(), Some(want), "{target} {format}");
        }
    }
}
