//! Installs a system onto a disk, as a machine that boots by itself and lets its owner in.
//!
//! This is what becomes of the formats `raw`, `tar` and `dir` in the deploy environment: no image is
//! made, so that memory does not have to hold one.

mod boot;
mod disk;
mod packages;
mod settings;

use std::env;
use std::path::{Path, PathBuf};

use contract::environment;
use contract::firmware::Firmware;

use crate::alpine;
use crate::build::Build;
use crate::error::{MakeError, Problem};
use crate::format::Format;
use crate::options::Options;
use crate::output;
use crate::project::Project;
use crate::stage::{Step, Watch, step, told};

pub(crate) use self::boot::{Settings, settings as grub_settings};
use self::disk::Disk;
pub(crate) use self::settings::apply;

/// The machine that a system is installed on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its disk; all data on it is lost.
    pub disk: PathBuf,
    /// What starts the boot loader.
    pub firmware: Firmware,
    /// An empty folder to mount the new root on.
    pub root: PathBuf,
    /// Its name, for a system that is given none.
    pub hostname: Option<String>,
    /// Its serial console, as the kernel names it: `ttyS0,115200`.
    pub console: Option<String>,
    /// Files for the programs that set links up, in a folder for each.
    pub network: Option<PathBuf>,
    /// Public keys that root is let in with.
    pub authorized_keys: Option<PathBuf>,
    /// The folder with the host keys of its SSH server.
    pub host_keys: Option<PathBuf>,
}

impl Machine {
    /// Returns the machine that the environment of a payload tells of (`ANEMOS_FIRMWARE`,
    /// `ANEMOS_ROOT`, `ANEMOS_NETWORK`, …), with this disk.
    pub fn from_environment(disk: &Path) -> Self {
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| text(name).map(PathBuf::from);
        let uefi = match text(environment::FIRMWARE) {
            Some(firmware) => firmware == "uefi",
            None => Path::new("/sys/firmware/efi").exists(),
        };
        Self {
            disk: disk.to_owned(),
            firmware: if uefi { Firmware::Uefi } else { Firmware::Bios },
            root: path(environment::ROOT).unwrap_or_else(|| PathBuf::from("/mnt")),
            hostname: text(environment::HOSTNAME),
            console: text(environment::CONSOLE),
            network: path(environment::NETWORK),
            authorized_keys: path(environment::AUTHORIZED_KEYS),
            host_keys: path(environment::HOST_KEYS),
        }
    }
}

/// Installs onto the disk of a machine.
///
/// What can be refused is refused before anything is written. On failure the disk is left as it is at
/// that moment, unmounted: half of a system.
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
        // Why the build failed counts more.
        watch.line(&told(problem));
    }
    done?;
    unmounted.map_err(|problem| MakeError { step: Step::Finish, problem })
}

/// Refuses what could not be installed on a machine, and asks the mirrors for all packages; nothing is
/// changed.
///
/// For the format custom nobody is asked: `setup` may be what makes packages available.
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
    use super::*;
    use crate::stage::tests::Said;

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
