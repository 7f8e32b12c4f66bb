//! The keys that pacman(8) verifies packages with.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::bootstrap::arch::configuration::Configuration;
use crate::command::Command;
use crate::error::{Problem, file};
use crate::inputs::below;
use crate::root::Root;
use crate::step::Watch;
use crate::{path, tools};

/// Where pacman-key(8) looks for key files: on Arch, and as built by Debian.
const FOLDERS: [&str; 2] = ["/usr/share/pacman/keyrings", "/usr/share/keyrings"];
/// The folder beside IMGBUILD whose files replace them.
const OWN: &str = "keyring";
/// The keys of Arch Linux, by the name that its own package uses.
const ARCH: &str = "archlinux";

/// Where a system keeps pacman's own files and its keyring.
const FOLDER: &str = "etc/pacman.d";
const RING: &str = "etc/pacman.d/gnupg";
/// A folder with a short name that everybody can write to.
const SHORT: &str = "/tmp";

/// Makes a keyring in the folder `$1` from the files in the folder `$2`, whose names follow.
///
/// Everything mounted here disappears with the mount namespace of this shell.
const POPULATE: &str = r#"
ring=$1 files=$2
shift 2
for folder in /usr/share/pacman/keyrings /usr/share/keyrings; do
    [ ! -d "$folder" ] || mount --bind "$files" "$folder"
done
pacman-key --gpgdir "$ring" --init
pacman-key --gpgdir "$ring" --populate "$@"
gpgconf --homedir "$ring" --kill all
"#;

/// Where the keys are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Keys {
    /// In a keyring that is ready to use.
    Ring,
    /// In files that a keyring can be made from, by their names without `.gpg`.
    Files { folder: PathBuf, names: Vec<String> },
    /// Nowhere, but the configuration does not insist on signatures.
    NotNeeded,
}

impl Keys {
    /// Finds the keys, and refuses if there are none, because then nothing could be verified.
    ///
    /// They are those beside IMGBUILD, else the keyring that the configuration names, else the
    /// files that the host has for Arch Linux.
    pub(crate) fn find(project: &Path, configuration: &Configuration) -> Result<Self, Problem> {
        let own = project.join(OWN);
        if own.is_dir() {
            let names = names(&own)?;
            if names.is_empty() {
                let reason = format!("{} holds no file that ends in .gpg", own.display());
                let hint = "copy archlinux.gpg, archlinux-trusted and archlinux-revoked of the package \
                            archlinux-keyring there (usr/share/pacman/keyrings)";
                return Err(Problem::refused(reason, hint));
            }
            tools::require("pacman-key", "the keyring beside IMGBUILD")?;
            return Ok(Self::Files { folder: own, names });
        }
        if configuration.ring().as_deref().is_some_and(has_keys) {
            return Ok(Self::Ring);
        }
        if configuration.trusts_everybody() {
            return Ok(Self::NotNeeded);
        }
        let of_arch = |folder: &&Path| {
            let has = |name: &str| folder.join(name).metadata().is_ok_and(|file| file.len() > 0);
            has("archlinux.gpg") && has("archlinux-trusted")
        };
        let found = FOLDERS.map(Path::new).into_iter().find(of_arch);
        if let Some(folder) = found.filter(|_| path::find("pacman-key").is_some()) {
            return Ok(Self::Files { folder: folder.to_owned(), names: vec![ARCH.to_owned()] });
        }
        if !configuration.insists() {
            return Ok(Self::NotNeeded);
        }
        let hint = "copy the files of the package archlinux-keyring (usr/share/pacman/keyrings) to a \
                    folder keyring beside IMGBUILD, or install that package and makepkg, which has \
                    pacman-key";
        Err(Problem::refused("pacman has no keys to verify packages with", hint))
    }

    /// Makes a keyring from files, in a folder that does not exist yet; this takes some seconds.
    ///
    /// It is made in another folder with a short name first, because gpg-agent(1) puts its sockets
    /// beside the keys, and the path of a socket has at most 107 bytes (unix(7)).
    pub(crate) fn populate(
        folder: &Path,
        names: &[String],
        ring: &Path,
        watch: &mut dyn Watch,
    ) -> Result<(), Problem> {
        watch.line(&format!("making a keyring of {} in {}", names.join(", "), folder.display()));
        let short = tempfile::tempdir_in(SHORT).map_err(file("making a folder for keys"))?;
        let made = short.path().join("gnupg");
        Command::new("sh")
            .args(["-euc", POPULATE, "sh"])
            .args([made.as_path(), folder])
            .args(names)
            .shown("pacman-key")
            .enclosed()
            .run(watch)?;
        let copy = Command::new("cp").args(["-a", "--no-preserve=ownership"]);
        Ok(copy.args([&made, ring]).run(watch)?)
    }

    /// Copies a keyring to where the new system looks for it.
    pub(crate) fn copy(ring: &Path, root: &Root, watch: &mut dyn Watch) -> Result<(), Problem> {
        if root.has(Path::new(RING)) {
            return Ok(());
        }
        let making = || file("making the folder of the keyring");
        root.folder(FOLDER).map_err(making())?;
        let to = root.path().join(FOLDER);
        let is_inside =
            fs::canonicalize(&to).and_then(|to| Ok(to.starts_with(fs::canonicalize(root.path())?)));
        if !is_inside.map_err(making())? {
            let hint = "make it a folder in setup";
            return Err(Problem::refused(format!("/{FOLDER} leads out of the image"), hint));
        }
        let copy =
            Command::new("cp").args(["-a", "--no-preserve=ownership", "--no-target-directory"]);
        Ok(copy.arg(ring).arg(root.path().join(RING)).run(watch)?)
    }

    /// Returns a text that changes with the keys: names, sizes and times of their files.
    pub(crate) fn stamp(&self) -> String {
        let Self::Files { folder, names } = self else { return String::new() };
        let endings = [".gpg", "-trusted", "-revoked"];
        let files = names.iter().flat_map(|name| endings.map(|ending| format!("{name}{ending}")));
        let lines = files.filter_map(|name| {
            let found = folder.join(&name).metadata().ok()?;
            let (size, time, part) = (found.len(), found.mtime(), found.mtime_nsec());
            Some(format!("{} {name} {size} {time}.{part}\n", folder.display()))
        });
        lines.collect::<Vec<_>>().concat()
    }
}

/// Returns the names of the key files in a folder.
fn names(folder: &Path) -> Result<Vec<String>, Problem> {
    let files = below(folder)?.into_keys();
    let names = files.filter_map(|path| Some(path.to_str()?.strip_suffix(".gpg")?.to_owned()));
    Ok(names.filter(|name| !name.contains('/')).collect())
}

/// Returns whether there are public keys, which gpg(1) keeps in either of two files.
fn has_keys(ring: &Path) -> bool {
    let has = |name: &str| ring.join(name).metadata().is_ok_and(|file| file.len() > 0);
    has("pubring.gpg") || has("pubring.kbx")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(ring: Option<PathBuf>, insists: bool) -> Configuration {
        let ring = ring.map(|ring| format!("GPGDir = {}\n", ring.display())).unwrap_or_default();
        let level = if insists { "PackageRequired" } else { "PackageOptional" };
        Configuration::of(&format!("[options]\n{ring}SigLevel = {level}\n"))
    }

    #[test]
    fn keys_beside_the_description_come_first_and_then_a_ring() {
        let project = tempfile::tempdir().unwrap();
        let ring = project.path().join("ring");
        fs::create_dir(&ring).unwrap();
        fs::write(ring.join("pubring.gpg"), "x").unwrap();
        let known = configuration(Some(ring), true);
        assert_eq!(Keys::find(project.path(), &known).unwrap(), Keys::Ring);
        let own = project.path().join(OWN);
        fs::create_dir(&own).unwrap();
        let said = Keys::find(project.path(), &known).unwrap_err().to_string();
        assert!(said.ends_with("keyring holds no file that ends in .gpg"), "{said}");
        for name in ["archlinux.gpg", "archlinux-trusted", "more.gpg"] {
            fs::write(own.join(name), "x").unwrap();
        }
        if path::find("pacman-key").is_some() {
            let names = vec!["archlinux".to_owned(), "more".to_owned()];
            let want = Keys::Files { folder: own, names };
            assert_eq!(Keys::find(project.path(), &known).unwrap(), want);
        }
    }

    #[test]
    fn an_empty_ring_has_no_keys() {
        let ring = tempfile::tempdir().unwrap();
        fs::write(ring.path().join("pubring.gpg"), "").unwrap();
        assert!(!has_keys(ring.path()));
        fs::write(ring.path().join("pubring.kbx"), "x").unwrap();
        assert!(has_keys(ring.path()));
    }
}
