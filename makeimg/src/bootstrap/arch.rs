//! Calls pacstrap(8).

mod configuration;
mod keys;
mod mirror;
mod pacman;

use std::fs;
use std::path::Path;

use self::keys::Keys;
pub(super) use self::mirror::simulate;
pub(super) use self::pacman::Pacman;
use super::dress::dress;
use crate::command::Command;
use crate::error::{Problem, file};
use crate::isolate;
use crate::options::Options;
use crate::project::{HostItem, Project};
use crate::root::Root;
use crate::step::Watch;

/// Where the root folder gets another name.
///
/// The image has this folder, and everybody can write to it.
const NAMES: &str = "/var/tmp";

/// Starts pacstrap in a user namespace, where it makes one of its own.
///
/// newuidmap looks into these files for that. `$1` is the root folder, `$2` another name for it,
/// and then comes the command.
///
/// pacstrap makes links such as `/dev/fd` that point to the `/proc` of the root folder by its name
/// on the host; for programs that have changed into the root folder, such a link is dangling. So
/// the folder gets a name that leads to the same place from both sides while packages are
/// installed.
const NESTED: &str = r#"
root=$1 name=$2
shift 2
ids=$(mktemp)
echo root:1:65535 >"$ids"
mount --bind "$ids" /etc/subuid
mount --bind "$ids" /etc/subgid
rm -f "$ids"
mount --bind "$root" "$name"
mkdir -p "$root/var/tmp"
chmod 1777 "$root/var/tmp"
mkdir "$root${name%/*}"
ln -s / "$root$name"
status=0
"$@" || status=$?
rm "$root$name"
rmdir "$root${name%/*}"
umount "$name"
exit $status
"#;

/// Installs the packages; a system for a machine also gets the keyring for its updates.
pub(super) fn run(
    pacman: &Pacman,
    project: &Project,
    (options, for_machine): (&Options, bool),
    root: &Path,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let packages = mirror::complete(options);
    let mut ready = pacman.ready(project, (options, None), watch)?;
    if let Some(packages) = &packages {
        watch.line("installing what the check has fetched and verified");
        let copy = ready.kept.path().join("verified.conf");
        pacman.configuration.write_verified(&copy, packages)?;
        ready.configuration = Some(copy);
    }
    // A keyring of the host contains its private key, which nobody else may have. With hostconf,
    // pacstrap copies what it can of that keyring.
    let is_own = matches!(pacman.keys, Keys::Files { .. });
    if let Some(ring) = ready.ring.as_ref().filter(|_| is_own)
        && (for_machine || project.hostconf.contains(&HostItem::Keyring))
    {
        let root = Root::open(root).map_err(file("opening the root folder"))?;
        Keys::copy(ring, &root, watch)?;
    } else if for_machine && ready.ring.is_some() {
        watch.line(
            "the new system gets no keyring: pacman-key --init and --populate make one there",
        );
    }
    let mut first = Vec::new();
    if isolate::in_user_namespace() {
        first.push("-N");
    }
    if packages.is_some() {
        first.push("-c");
    }
    let configuration = ready.configuration.as_deref();
    let installed = if isolate::in_user_namespace() {
        let name = tempfile::tempdir_in(NAMES).map_err(file("making a folder"))?;
        let name = name.path().join("root");
        fs::create_dir(&name).map_err(file("making a folder"))?;
        let command = command(project, (&first, configuration), &name)?;
        let (root, name) = (root.to_string_lossy(), name.to_string_lossy());
        let command = dress(command, project, options).announced("pacstrap", watch);
        command.started_by("sh", &["-euc", NESTED, "sh", &root, &name]).run(watch)
    } else {
        let command = command(project, (&first, configuration), root)?;
        dress(command, project, options).announced("pacstrap", watch).run(watch)
    };
    if let Some(packages) = packages {
        // They may be in memory, and another attempt may need other packages.
        fs::remove_dir_all(&packages).map_err(file("removing packages that were verified"))?;
    }
    Ok(installed?)
}

/// Refuses what pacstrap cannot do.
pub(super) fn check(options: &Options) -> Result<(), Problem> {
    if options.mirror.is_some() {
        let hint = "name the mirror in pacman.conf beside IMGBUILD: Server = …";
        return Err(Problem::refused("pacstrap takes no mirror on its command line", hint));
    }
    Ok(())
}

/// Makes the command line of pacstrap.
pub(super) fn command(
    project: &Project,
    (first, configuration): (&[&str], Option<&Path>),
    root: &Path,
) -> Result<Command, Problem> {
    let mut command = Command::new("pacstrap").args(first);
    if let Some(configuration) = configuration {
        command = command.arg("-C").arg(configuration);
    }
    if !project.hostconf.contains(&HostItem::Keyring) {
        command = command.arg("-G");
    }
    if !project.hostconf.contains(&HostItem::Mirrorlist) {
        command = command.arg("-M");
    }
    let command = command.args(project.list("bootstrap_options")?);
    Ok(command.arg(root).args(&project.packages))
}
