//! Makes a root file system of Alpine packages by apk.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use initramfs::base;

use super::maker::Maker;
use crate::command;
use crate::report::Refused;

/// Where Alpine keeps the keys that it trusts.
const KEYS: &str = "/etc/apk/keys";

/// Makes the root in `$1` with the keys in `$2` by the command that follows, and prints it.
///
/// Nothing of the root is left behind. Only in here can users other than root remove files of other
/// users.
const MAKE: &str = r#"root=$1 keys=$2
shift 2
umask 022
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
mkdir -p "$root/etc/apk/keys" && cp "$keys"/* "$root/etc/apk/keys/" && "$@" >&2 &&
    tar -C "$root" --sort=name --numeric-owner --format=gnu -c ."#;

/// Makes users other than root become root of a user namespace, as makeimg does.
const USER: [&str; 4] = ["unshare", "--user", "--map-root-user", "--map-auto"];

/// Where packages of Alpine come from.
#[derive(Debug, clap::Args)]
pub(super) struct Repositories {
    /// Repository of Alpine: a URL, or a folder
    #[arg(long, value_name = "URL|DIR")]
    repository: Vec<String>,
    /// Folder of the keys that sign the repositories [default: /etc/apk/keys]
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// The program apk [default: the one in PATH]
    #[arg(long, value_name = "PROGRAM")]
    apk: Option<PathBuf>,
}

impl Repositories {
    /// Returns whether any option of it is set.
    pub(super) fn is_asked_for(&self) -> bool {
        !self.repository.is_empty() || self.keys.is_some() || self.apk.is_some()
    }

    /// Starts apk, and tar to print a tarball.
    pub(super) fn start(&self, added: &[String]) -> anyhow::Result<Maker> {
        let (apk, keys) = self.check(&env::var_os("PATH").unwrap_or_default())?;
        let folder = tempfile::tempdir().context("making a folder for the packages")?;
        // From here on, the script owns it.
        let root = folder.keep();
        let mut words: Vec<&Path> = Vec::new();
        if !nix::unistd::geteuid().is_root() {
            words.extend(USER.map(Path::new));
        }
        words.extend(["sh", "-c", MAKE, "sh"].map(Path::new));
        words.extend([root.as_path(), &keys, &apk, Path::new("--root"), &root]);
        words.extend(["--initdb", "--no-cache", "--quiet"].map(Path::new));
        let repositories = self.repository.iter().map(|one| repository(one));
        let repositories = repositories.collect::<anyhow::Result<Vec<_>>>()?;
        words
            .extend(repositories.iter().flat_map(|one| [Path::new("--repository"), one.as_path()]));
        words.push(Path::new("add"));
        words.extend(base::lines(base::ALPINE.packages).map(Path::new));
        words.extend(added.iter().map(Path::new));
        let (first, rest) = words.split_first().context("putting the command together")?;
        let mut command = command::start(first);
        command.args(rest).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.spawn().with_context(|| format!("running {}", first.display()))?;
        Ok(Maker { name: "apk", child, content: base::ALPINE })
    }

    /// Returns the program and the folder of keys, after checking them.
    fn check(&self, path: &std::ffi::OsStr) -> anyhow::Result<(PathBuf, PathBuf)> {
        let refuse = |reason: String, hint: &str| Err(Refused::new(reason, hint).into());
        let wanted = self.apk.as_deref().unwrap_or(Path::new("apk"));
        let Some(apk) = find(wanted, path) else {
            let reason = format!("{}, which makes a base of Alpine, is missing", wanted.display());
            let hint = "build on an Alpine system, or name the program by --apk: Alpine's package \
                        apk-tools-static has one that runs anywhere";
            return refuse(reason, hint);
        };
        if self.repository.is_empty() {
            let hint = "name it by --repository, as /etc/apk/repositories of an Alpine system does";
            return refuse("a base of Alpine needs a repository".to_owned(), hint);
        }
        let keys = self.keys.as_deref().unwrap_or(Path::new(KEYS));
        // If we cannot read a folder, it has no keys for us either.
        if keys.read_dir().ok().and_then(|mut keys| keys.next()).is_none() {
            let reason = format!("there are no keys in {}", keys.display());
            return refuse(reason, "name a folder by --keys: /etc/apk/keys of an Alpine system");
        }
        Ok((apk, std::path::absolute(keys).context("finding the keys")?))
    }
}

/// Returns a URL as it is, and a folder as an absolute path, because apk looks for it from `/`.
fn repository(word: &str) -> anyhow::Result<PathBuf> {
    if word.contains("://") {
        return Ok(PathBuf::from(word));
    }
    std::path::absolute(word).with_context(|| format!("finding the repository {word}"))
}

/// Finds a program as execvp(3) does.
fn find(program: &Path, path: &std::ffi::OsStr) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return std::path::absolute(program).ok().filter(|program| program.is_file());
    }
    env::split_paths(path).map(|folder| folder.join(program)).find(|place| place.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_refused_with_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, keys) = (folder.path().join("bin"), folder.path().join("keys"));
        for folder in [&bin, &keys] {
            std::fs::create_dir(folder).unwrap();
        }
        let mut from = Repositories { repository: Vec::new(), keys: Some(keys.clone()), apk: None };
        let said =
            |from: &Repositories| from.check(bin.as_os_str()).map_err(|error| error.to_string());
        let missing = "apk, which makes a base of Alpine, is missing";
        assert_eq!(said(&from).unwrap_err(), missing);
        std::fs::write(bin.join("apk"), "").unwrap();
        assert_eq!(said(&from).unwrap_err(), "a base of Alpine needs a repository");
        from.repository.push("main".to_owned());
        assert_eq!(said(&from).unwrap_err(), format!("there are no keys in {}", keys.display()));
        std::fs::write(keys.join("a.rsa.pub"), "").unwrap();
        assert_eq!(said(&from), Ok((bin.join("apk"), keys.clone())));
        from.apk = Some(bin.join("other"));
        assert!(
            said(&from)
                .unwrap_err()
                .ends_with("bin/other, which makes a base of Alpine, is missing")
        );
    }
}
