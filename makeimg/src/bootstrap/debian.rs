//! Calls mmdebstrap(1) or debootstrap(8).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::command::Command;
use crate::error::{Problem, file};
use crate::options::Options;
use crate::project::{Project, Target};
use crate::root::Root;

/// Spares dpkg(1) from syncing each file to disk, because nobody reads a half-made system.
const HURRY: &str = "--setup-hook=mkdir -p \"$1/etc/dpkg/dpkg.cfg.d\" && \
                     echo force-unsafe-io >\"$1/etc/dpkg/dpkg.cfg.d/makeimg\"";
const CALM_DOWN: &str = "--customize-hook=rm \"$1/etc/dpkg/dpkg.cfg.d/makeimg\"";

/// Where apt looks for keys that it trusts for every mirror.
const TRUSTED: &str = "etc/apt/trusted.gpg.d";

/// Makes the command line of mmdebstrap.
pub(super) fn mmdebstrap(
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    // `setup` may have mounted something below the root folder already.
    let command =
        Command::new("mmdebstrap").args(["--mode=root", "--verbose", "--skip=check/empty"]);
    let command = command.args([HURRY, CALM_DOWN]);
    // With a keyring of one's own, the one that mmdebstrap would name is the wrong one.
    let named = keyring(project, options)?.is_some();
    let command = if named { command.arg("--skip=check/signed-by") } else { command };
    let command = common(command, project, options)?;
    Ok(command.arg(suite(project)).arg(root).args(mirrors(project, options)?))
}

/// Makes the command line of debootstrap.
pub(super) fn debootstrap(
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<Command, Problem> {
    let mirrors = mirrors(project, options)?;
    if mirrors.len() > 1 || mirrors.iter().any(|mirror| mirror.contains(char::is_whitespace)) {
        let hint = "name one address, or install the Debian package mmdebstrap";
        return Err(Problem::refused("debootstrap takes no lines of a source list", hint));
    }
    let command = common(Command::new("debootstrap"), project, options)?;
    Ok(command.arg(suite(project)).arg(root).args(mirrors))
}

fn suite(project: &Project) -> &str {
    match &project.target {
        Target::Debian { suite } => suite,
        _ => "stable",
    }
}

fn common(mut command: Command, project: &Project, options: &Options) -> Result<Command, Problem> {
    if let Some(variant) = project.text("debian_variant")? {
        command = command.arg(format!("--variant={variant}"));
    }
    let components = project.text("debian_components")?.unwrap_or_default();
    let components: Vec<&str> = components.split_whitespace().collect();
    if !components.is_empty() {
        command = command.arg(format!("--components={}", components.join(",")));
    }
    if let Some(keyring) = keyring(project, options)? {
        command = command.arg(format!("--keyring={}", keyring.display()));
    }
    if !project.packages.is_empty() {
        command = command.arg(format!("--include={}", project.packages.join(",")));
    }
    Ok(command.args(project.list("bootstrap_options")?))
}

/// Returns the keyring of the option, or else of IMGBUILD.
fn keyring(project: &Project, options: &Options) -> Result<Option<PathBuf>, Problem> {
    let keyring = match &options.keyring {
        Some(keyring) => std::path::absolute(keyring).unwrap_or_else(|_| keyring.clone()),
        None => match project.text("debian_keyring")? {
            Some(keyring) => project.folder.join(keyring),
            None => return Ok(None),
        },
    };
    if !keyring.exists() {
        let reason = format!("there is no keyring {}", keyring.display());
        return Err(Problem::refused(reason, "name one that exists by --keyring"));
    }
    Ok(Some(keyring))
}

/// Returns options with a copy of the keyring that everybody can read, and a guard of the copy.
///
/// apt verifies signatures as another user, who cannot enter private folders, and if the keyring is
/// in one, apt claims that it has no key.
pub(super) fn publish_keyring(
    project: &Project,
    options: &Options,
) -> Result<(Options, Option<TempDir>), Problem> {
    let Some(keyring) = keyring(project, options)? else { return Ok((options.clone(), None)) };
    let copying = || file(format!("copying the keyring {}", keyring.display()));
    let folder = tempfile::tempdir().map_err(copying())?;
    let public = folder.path().join(keyring.file_name().unwrap_or_default());
    let copied = fs::copy(&keyring, &public).and_then(|_size| {
        fs::set_permissions(&public, Permissions::from_mode(0o644))?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
    });
    copied.map_err(copying())?;
    Ok((Options { keyring: Some(public), ..options.clone() }, Some(folder)))
}

/// Lets apt(8) of a system trust the keyring that it was installed with, if one was named.
///
/// Otherwise nothing could be updated from somebody's own mirror.
pub(super) fn keep_keyring(
    project: &Project,
    options: &Options,
    root: &Path,
) -> Result<(), Problem> {
    let Some(keyring) = keyring(project, options)? else { return Ok(()) };
    let keeping = || file(format!("giving the new system the keyring {}", keyring.display()));
    let root = Root::open(root).map_err(keeping())?;
    let bytes = fs::read(&keyring).map_err(keeping())?;
    let path = Path::new(TRUSTED).join(trusted_name(&keyring, &bytes));
    if root.has(&path) {
        return Ok(());
    }
    root.place(&path, &mut &*bytes, 0o644).map_err(keeping())
}

/// Returns a name for apt, which tells text from binary keys by the extension (apt-key(8)).
fn trusted_name(keyring: &Path, bytes: &[u8]) -> String {
    let stem = keyring.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = if bytes.starts_with(b"-----BEGIN ") { "asc" } else { "gpg" };
    format!("{stem}.{ending}")
}

/// Returns the mirror of the option, else of the environment, else of IMGBUILD.
///
/// Without any, the tool uses its own default.
fn mirrors(project: &Project, options: &Options) -> Result<Vec<String>, Problem> {
    let environment = || project.exported("MIRROR").filter(|mirror| !mirror.trim().is_empty());
    let text = match options.mirror.clone().or_else(environment) {
        Some(mirror) => mirror,
        None => project.text("debian_mirror")?.unwrap_or_default(),
    };
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_finds_a_keyring_by_its_ending() {
        for (name, bytes, want) in [
            ("mirror.gpg", &b"\x98\x33"[..], "mirror.gpg"),
            ("mirror.pgp", b"\x98\x33", "mirror.gpg"),
            ("mirror.gpg", b"-----BEGIN PGP PUBLIC KEY BLOCK-----", "mirror.asc"),
            ("keys/own", b"-----BEGIN PGP PUBLIC KEY BLOCK-----", "own.asc"),
        ] {
            assert_eq!(trusted_name(Path::new(name), bytes), want, "{name}");
        }
    }
}
