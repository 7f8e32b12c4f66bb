//! The configuration of pacman(8): what it says about keys, and the copies that a build works with.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::error::{Problem, file};
use crate::path;
use crate::step::Watch;

/// The file beside IMGBUILD.
const OWN: &str = "pacman.conf";
/// The host's file, which pacman reads if it gets no other.
const HOST: &str = "/etc/pacman.conf";

/// What a configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configuration {
    /// The file beside IMGBUILD, if there is one.
    file: Option<PathBuf>,
    /// All of it as pacman understands it, with its includes; empty if pacman-conf is missing.
    resolved: String,
}

impl Configuration {
    /// Asks pacman-conf(8), which comes with pacman, and refuses a file with mistakes.
    pub(crate) fn read(project: &Path, watch: &mut dyn Watch) -> Result<Self, Problem> {
        let own = Some(project.join(OWN)).filter(|file| file.is_file());
        let there = own.is_some() || Path::new(HOST).is_file();
        // pacstrap needs it as well, and reports that it is missing.
        if !there || path::find("pacman-conf").is_none() {
            return Ok(Self { file: own, resolved: String::new() });
        }
        let path = own.clone().unwrap_or_else(|| HOST.into());
        let resolved = Command::new("pacman-conf").arg("--config").arg(&path).output(watch);
        let resolved = resolved.map_err(|error| {
            let hint = "name mirrors by Server = … instead of files that this system does not have, and see \
                        pacman.conf(5)";
            Problem::refused(error.to_string(), hint)
        })?;
        Ok(Self { file: own, resolved: String::from_utf8_lossy(&resolved).into_owned() })
    }

    #[cfg(test)]
    pub(crate) fn of(resolved: &str) -> Self {
        Self { file: None, resolved: resolved.to_owned() }
    }

    /// Returns the file to name, unless it is the host's.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Returns the folder of the keyring.
    pub(crate) fn ring(&self) -> Option<PathBuf> {
        self.resolved.lines().find_map(|line| line.strip_prefix("GPGDir = ")).map(PathBuf::from)
    }

    /// Returns whether some package or database must be signed.
    pub(crate) fn insists(&self) -> bool {
        self.levels().any(|level| level.ends_with("Required"))
    }

    /// Returns whether signatures are never checked.
    pub(crate) fn trusts_everybody(&self) -> bool {
        let mut levels = self.levels().filter(|level| !level.contains("Trust")).peekable();
        levels.peek().is_some() && levels.all(|level| level.ends_with("Never"))
    }

    fn levels(&self) -> impl Iterator<Item = &str> {
        self.resolved.lines().filter_map(|line| line.strip_prefix("SigLevel = "))
    }

    /// Returns the repositories in the order in which pacman searches them.
    pub(crate) fn repositories(&self) -> impl Iterator<Item = &str> {
        let sections =
            self.resolved.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
        sections.filter(|name| *name != "options")
    }

    /// Returns whether pacman 7 would download as another user, who cannot enter our folders.
    pub(crate) fn has_another_user(&self) -> Result<bool, Problem> {
        Ok(fs::exists(self.source()).unwrap_or_default() && self.text()?.lines().any(is_other_user))
    }

    /// Writes a copy with another keyring and, if one is named, another cache of packages.
    ///
    /// Packages are downloaded by the user who builds. If an option is set twice, pacman uses the
    /// first value.
    pub(crate) fn write(
        &self,
        to: &Path,
        ring: Option<&Path>,
        packages: Option<&Path>,
    ) -> Result<(), Problem> {
        let line = |key, folder: Option<&Path>| {
            folder.map(|folder| format!("{key} = {}/", folder.display()))
        };
        let first =
            [Some("[options]".to_owned()), line("GPGDir", ring), line("CacheDir", packages)];
        let text = self.text()?;
        let own = text.lines().filter(|line| !is_other_user(line)).map(str::to_owned);
        write(to, first.into_iter().flatten().chain(own))
    }

    /// Writes a configuration that knows only one folder, with verified databases and packages.
    ///
    /// Their signatures were verified when they were put there, so they are not verified again, and
    /// no mirror is asked.
    pub(crate) fn write_verified(&self, to: &Path, packages: &Path) -> Result<(), Problem> {
        let folder = packages.display();
        let first = format!("[options]\nSigLevel = Never\nCacheDir = {folder}/");
        let mut lines = vec![first];
        let mut is_first = true;
        for line in self.resolved.lines().map(str::trim) {
            let key = line.split('=').next().unwrap_or_default().trim();
            if line.starts_with('[') {
                // The output of pacman-conf begins with the options.
                if !std::mem::take(&mut is_first) {
                    lines.push(format!("{line}\nServer = file://{folder}"));
                }
            } else if !OTHERWISE.contains(&key) {
                lines.push(line.to_owned());
            }
        }
        write(to, lines.into_iter())
    }

    fn source(&self) -> &Path {
        self.file.as_deref().unwrap_or(Path::new(HOST))
    }

    fn text(&self) -> Result<String, Problem> {
        let source = self.source();
        fs::read_to_string(source).map_err(file(format!("reading {}", source.display())))
    }

    /// Returns the lines that name mirrors for every repository.
    ///
    /// They are those of the first repository whose addresses contain its name, with `$repo` in its
    /// place.
    pub(crate) fn mirrors(&self) -> Vec<String> {
        let (mut found, mut repository) = (Vec::new(), "");
        for line in self.resolved.lines() {
            if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                if !found.is_empty() {
                    break;
                }
                repository = section;
            } else if let Some(server) = line.strip_prefix("Server = ") {
                let general = server.replace(&format!("/{repository}/"), "/$repo/");
                if general != server {
                    found.push(format!("Server = {general}"));
                }
            }
        }
        found
    }
}

/// Options that differ when packages come from our folder and are installed below another root.
///
/// These are paths, hooks (the image has its own), signatures and how to download.
const OTHERWISE: [&str; 13] = [
    "RootDir",
    "DBPath",
    "CacheDir",
    "HookDir",
    "GPGDir",
    "LogFile",
    "SigLevel",
    "LocalFileSigLevel",
    "RemoteFileSigLevel",
    "XferCommand",
    "DownloadUser",
    "CleanMethod",
    "Server",
];

fn is_other_user(line: &str) -> bool {
    line.split('=').next().unwrap_or_default().trim() == "DownloadUser"
}

fn write(to: &Path, lines: impl Iterator<Item = String>) -> Result<(), Problem> {
    let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
    fs::write(to, text).map_err(file(format!("writing {}", to.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::tests::Said;

    const RESOLVED: &str = "[options]\nRootDir = /\nHookDir = /etc/pacman.d/hooks/\nGPGDir = /g/\n\
        IgnorePkg = a\nArchitecture = x86_64\nCheckSpace\nSigLevel = PackageRequired\n\
        SigLevel = PackageTrustedOnly\nSigLevel = DatabaseOptional\n[own]\nUsage = All\n\
        Server = https://own.invalid/packages\n[core]\nUsage = Sync\n\
        Server = https://a.invalid/core/os/x86_64\nServer = https://b.invalid/core/\n\
        [extra]\nSigLevel = DatabaseNever\nServer = https://c.invalid/extra/os/x86_64\n";

    #[test]
    fn mirrors_of_the_first_repository_that_has_its_name_in_them_serve_the_others() {
        assert_eq!(
            Configuration::of(RESOLVED).mirrors(),
            ["Server = https://a.invalid/$repo/os/x86_64", "Server = https://b.invalid/$repo/"]
        );
        let own = "[options]\n[own]\nServer = https://own.invalid/packages\n";
        assert_eq!(Configuration::of(own).mirrors(), [""; 0]);
    }

    #[test]
    fn a_copy_names_the_ring_and_the_cache_first_and_no_other_user() {
        let folder = tempfile::tempdir().unwrap();
        let (own, copy) = (folder.path().join(OWN), folder.path().join("copy"));
        fs::write(&own, "[options]\nDownloadUser = alpm\nGPGDir = /elsewhere/\n").unwrap();
        let configuration = Configuration { file: Some(own), ..Configuration::default() };
        assert!(configuration.has_another_user().unwrap());
        configuration.write(&copy, Some(Path::new("/ring")), Some(Path::new("/cache"))).unwrap();
        assert_eq!(
            fs::read_to_string(&copy).unwrap(),
            "[options]\nGPGDir = /ring/\nCacheDir = /cache/\n[options]\nGPGDir = /elsewhere/\n"
        );
    }

    #[test]
    fn what_was_verified_is_taken_from_its_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy");
        Configuration::of(RESOLVED).write_verified(&copy, Path::new("/cache")).unwrap();
        assert_eq!(
            fs::read_to_string(&copy).unwrap(),
            "[options]\nSigLevel = Never\nCacheDir = /cache/\nIgnorePkg = a\nArchitecture = x86_64\n\
             CheckSpace\n[own]\nServer = file:///cache\nUsage = All\n[core]\nServer = file:///cache\n\
             Usage = Sync\n[extra]\nServer = file:///cache\n"
        );
    }

    #[test]
    fn what_pacman_makes_of_a_file_counts() {
        if path::find("pacman-conf").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(folder.path().join(OWN), text).unwrap();
            Configuration::read(folder.path(), &mut Said::default())
        };
        let server = "Server = file:///nowhere/$repo\n";
        for (level, of_repository, insists, trusts) in [
            ("Required DatabaseOptional", "", true, false),
            ("Never", "", false, true),
            ("Never", "SigLevel = DatabaseRequired\n", true, false),
            ("Optional TrustAll", "", false, false),
        ] {
            let text = format!("[options]\nSigLevel = {level}\n[core]\n{of_repository}{server}");
            let read = read(&text).unwrap();
            let want = (insists, trusts);
            assert_eq!((read.insists(), read.trusts_everybody()), want, "{level} {of_repository}");
            assert_eq!(read.repositories().collect::<Vec<_>>(), ["core"]);
            let copy = folder.path().join("copy");
            read.write_verified(&copy, Path::new("/cache")).unwrap();
            let again = Command::new("pacman-conf").arg("--config").arg(&copy);
            let again = again.output(&mut Said::default()).unwrap();
            let again = Configuration::of(&String::from_utf8(again).unwrap());
            assert!(again.trusts_everybody(), "{}", again.resolved);
        }
        assert_eq!(read("[options]\nGPGDir = /g\n").unwrap().ring(), Some("/g/".into()));
        let said = read("[options]\nSigLevel = Sometimes\n").unwrap_err().to_string();
        assert!(said.contains("invalid value for 'SigLevel'"), "{said}");
    }
}
