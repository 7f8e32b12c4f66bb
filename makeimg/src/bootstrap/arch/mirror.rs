//! Asks mirrors of Arch for everything that is to be installed, before anything is installed.

use std::fs;
use std::path::{Path, PathBuf};

use super::pacman::{CACHED_PACKAGES, Pacman};
use crate::bootstrap::dress::dress;
use crate::command::Command;
use crate::error::{Problem, file};
use crate::format::Size;
use crate::memory;
use crate::options::Options;
use crate::project::Project;
use crate::step::Watch;

/// The name of the folder of packages until all of them are there.
const PARTIAL: &str = "packages.partial";
/// The package that pacstrap installs if IMGBUILD names none.
const DEFAULT: &str = "base";
/// Where a system keeps the lists of packages.
const DATABASES: &str = "var/lib/pacman/sync";
/// Memory that an installation needs besides the packages that wait in memory.
///
/// pacman, the hooks of packages, and an initramfs that is put together in a tmpfs need it.
const RESERVE: u64 = 320 << 20;
/// What a file system takes for itself, in percent; ext4 reserves five for root.
const OVERHEAD: u64 = 8;

/// A package as the databases describe it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Package {
    repository: String,
    name: String,
    version: String,
    download: u64,
}

/// Asks the mirrors for all packages and their sizes, and fetches what memory has room for.
///
/// Signatures of fetched packages are verified. Nothing is installed. `room` is the size of the
/// file system that they are for. What was fetched stays in the cache that the options name, or
/// else is removed.
pub(crate) fn simulate(
    pacman: &Pacman,
    project: &Project,
    options: &Options,
    room: u64,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let own = project.list("bootstrap_options")?;
    if let Some(other) = own.iter().find(|option| ["-U", "-C", "-i"].contains(&option.as_str())) {
        watch.line(&format!(
            "with {other} in bootstrap_options, mirrors cannot be asked beforehand"
        ));
        return Ok(());
    }
    let work = tempfile::tempdir().map_err(file("making a folder"))?;
    let cache = options.cache.as_deref().unwrap_or(work.path());
    let (partial, packages) = (cache.join(PARTIAL), cache.join(CACHED_PACKAGES));
    let databases = work.path().join("root").join(DATABASES);
    for folder in [&databases, &partial] {
        fs::create_dir_all(folder).map_err(file(format!("making {}", folder.display())))?;
    }
    let ready = pacman.ready(project, (options, Some(&partial)), watch)?;
    let call = |words: &[&str], names: &[String]| {
        let command = Command::new("pacman").arg("--root").arg(work.path().join("root"));
        let command = match &ready.configuration {
            Some(configuration) => command.arg("--config").arg(configuration),
            None => command,
        };
        let command = command.arg("--noconfirm").args(words).arg("--").args(names);
        dress(command, project, options).shown("pacman").enclosed()
    };
    let default = vec![DEFAULT.to_owned()];
    let names = if project.packages.is_empty() { &default } else { &project.packages };
    watch.line("asking the mirrors for all packages");
    let format = "makeimg %r %n %v %s";
    let said = call(&["-Sy", "--print", "--print-format", format], names).output(watch)?;
    let wanted = parse(&String::from_utf8_lossy(&said));
    if let Some(smallest) =
        (Room { cache, disk: room }).too_small_for(&wanted, &databases, watch)?
    {
        call(&["-Sw", "-dd"], &[smallest]).run(watch)?;
        return fs::remove_dir_all(&partial).map_err(file("removing a package"));
    }
    watch.line("fetching all packages, and verifying their signatures");
    call(&["-Sw"], names).run(watch)?;
    keep(pacman, &databases, &partial)?;
    if packages.exists() {
        fs::remove_dir_all(&packages).map_err(file("removing older packages"))?;
    }
    fs::rename(&partial, &packages).map_err(file("keeping the packages"))
}

/// Puts the lists of packages beside the packages.
fn keep(pacman: &Pacman, databases: &Path, packages: &Path) -> Result<(), Problem> {
    for repository in pacman.configuration.repositories() {
        let name = format!("{repository}.db");
        let list = databases.join(&name);
        // Some repositories are only for searching (`Usage`).
        if list.exists() {
            fs::copy(list, packages.join(name)).map_err(file("keeping a list of packages"))?;
        }
    }
    Ok(())
}

/// Where packages go.
struct Room<'a> {
    /// The folder that keeps them until they are installed.
    cache: &'a Path,
    /// Bytes of the file system that they are for.
    disk: u64,
}

impl Room<'_> {
    /// Refuses packages that do not fit on the disk.
    ///
    /// If the cache cannot hold all of them at once, returns the smallest one.
    fn too_small_for(
        &self,
        wanted: &[Package],
        databases: &Path,
        watch: &mut dyn Watch,
    ) -> Result<Option<String>, Problem> {
        let download = wanted.iter().map(|package| package.download).sum();
        let installed = installed_size(databases, wanted, watch)?;
        watch.line(&format!(
            "{} packages: {} to download, {} when they are installed",
            wanted.len(),
            Size(download),
            Size(installed)
        ));
        let available = memory::available(self.cache);
        let waits = available >= download.saturating_add(RESERVE);
        // Packages that do not wait in memory are downloaded onto the disk.
        fits(if waits { installed } else { installed.saturating_add(download) }, self.disk)?;
        let smallest = wanted.iter().min_by_key(|package| package.download).filter(|_| !waits);
        if let Some(Package { name, .. }) = smallest {
            watch.line(&format!(
                "memory has no room for all of them ({} are available): of their signatures, only that of \
                 {name} is verified now",
                Size(available)
            ));
        }
        Ok(smallest.map(|Package { repository, name, .. }| format!("{repository}/{name}")))
    }
}

/// Returns the folder of packages that a check has left, if it is complete.
pub(super) fn complete(options: &Options) -> Option<PathBuf> {
    let packages = options.cache.as_ref()?.join(CACHED_PACKAGES);
    packages.is_dir().then_some(packages)
}

/// Refuses a file system that is too small, counting what it needs for itself.
fn fits(installed: u64, room: u64) -> Result<(), Problem> {
    let needed = installed / 100 * (100 + OVERHEAD);
    if needed <= room {
        return Ok(());
    }
    let (needed, room) = (Size(needed), Size(room));
    let reason = format!("the packages need {needed}, and the root file system will have {room}");
    Err(Problem::refused(reason, "name a larger disk, or fewer packages"))
}

/// Reads what pacman prints about the packages that it would install.
fn parse(said: &str) -> Vec<Package> {
    let package = |line: &str| {
        let mut words = line.strip_prefix("makeimg ")?.split(' ').map(str::to_owned);
        Some(Package {
            repository: words.next()?,
            name: words.next()?,
            version: words.next()?,
            download: words.next()?.parse().ok()?,
        })
    };
    said.lines().filter_map(package).collect()
}

/// Adds up the installed sizes of packages, as the databases of their repositories state them.
fn installed_size(
    databases: &Path,
    wanted: &[Package],
    watch: &mut dyn Watch,
) -> Result<u64, Problem> {
    let mut repositories: Vec<&str> = wanted.iter().map(|it| it.repository.as_str()).collect();
    repositories.sort_unstable();
    repositories.dedup();
    let unpacked = tempfile::tempdir().map_err(file("making a folder"))?;
    let description = |package: &Package| {
        let Package { repository, name, version, .. } = package;
        unpacked.path().join(format!("{repository}/{name}-{version}/desc"))
    };
    for repository in repositories {
        let folder = unpacked.path().join(repository);
        fs::create_dir_all(&folder).map_err(file("making a folder"))?;
        // A list has thousands of packages, and it may be unpacked into memory.
        let of_it = wanted.iter().filter(|package| package.repository == repository);
        let names = of_it.map(|it| format!("{}-{}/desc\n", it.name, it.version));
        let list = unpacked.path().join("names");
        fs::write(&list, names.collect::<Vec<_>>().concat())
            .map_err(file("writing down which packages are wanted"))?;
        let database = databases.join(format!("{repository}.db"));
        let tar = Command::new("tar").arg("-xf").arg(database).arg("-C").arg(&folder);
        tar.arg("-T").arg(&list).run(watch)?;
    }
    let size = |package: &Package| {
        let text = fs::read_to_string(description(package));
        let text = text.map_err(file(format!("reading what {} is", package.name)))?;
        let mut lines = text.lines().skip_while(|line| *line != "%ISIZE%");
        Ok(lines.nth(1).and_then(|size| size.parse::<u64>().ok()).unwrap_or_default())
    };
    wanted.iter().map(size).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_ours_are_packages() {
        let said = ":: Synchronizing\nmakeimg core bash 5.2-1 1900000\nmakeimg broken\n";
        let bash = Package {
            repository: "core".to_owned(),
            name: "bash".to_owned(),
            version: "5.2-1".to_owned(),
            download: 1_900_000,
        };
        assert_eq!(parse(said), [bash]);
    }

    #[test]
    fn a_small_file_system_is_refused_with_both_sizes() {
        fits(100 << 20, 108 << 20).unwrap();
        assert_eq!(
            fits(200 << 20, 108 << 20).unwrap_err().to_string(),
            "the packages need 216 MiB, and the root file system will have 108 MiB"
        );
    }
}
