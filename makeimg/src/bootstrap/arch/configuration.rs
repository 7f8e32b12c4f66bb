//! The configuration of pacman(8): what it says about keys, and the copy that a build works with.

use std::fs;
use std::path::{Path, PathBuf};

use crate::command::Command;
use crate::error::{Problem, file};
use crate::stage::Watch;
use crate::tools;

/// The file beside IMGBUILD.
const OWN: &str = "pacman.conf";
/// The one of the host, which pacman reads without another.
const HOST: &str = "/etc/pacman.conf";

/// What a configuration says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Configuration {
    /// The file beside IMGBUILD, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The folder of the keyring.
    pub(crate) ring: Option<PathBuf>,
    /// Whether some package or database must be signed.
    pub(crate) insists: bool,
    /// The repositories in their order, in which pacman looks for a package.
    pub(crate) repositories: Vec<String>,
}

impl Configuration {
    /// Asks pacman-conf(8), which pacman brings along, and refuses a file with mistakes.
    pub(crate) fn read(project: &Path, watch: &mut dyn Watch) -> Result<Self, Problem> {
        let own = Some(project.join(OWN)).filter(|file| file.is_file());
        let there = own.is_some() || Path::new(HOST).is_file();
        // pacstrap needs it as well, and says so.
        if !there || tools::find("pacman-conf").is_none() {
            return Ok(Self { file: own, ..Self::default() });
        }
        let path = own.clone().unwrap_or_else(|| HOST.into());
        let mut ask = |words: &[&str]| {
            let asked = Command::new("pacman-conf").arg("--config").arg(&path).args(words);
            let said = asked.output(watch).map_err(|error| {
                let hint = "see pacman.conf(5); `pacman-conf --config FILE` reads it, too";
                Problem::refused(error.to_string(), hint)
            })?;
            Ok::<_, Problem>(String::from_utf8_lossy(&said).trim().to_owned())
        };
        let ring = ask(&["GPGDir"])?;
        let mut levels = ask(&["SigLevel"])?;
        let repositories: Vec<_> = ask(&["--repo-list"])?.lines().map(str::to_owned).collect();
        for repository in &repositories {
            levels.push_str(&ask(&["--repo", repository, "SigLevel"])?);
        }
        let insists = levels.contains("PackageRequired") || levels.contains("DatabaseRequired");
        Ok(Self { file: own, ring: Some(ring.into()), insists, repositories })
    }

    /// Writes a copy with another keyring, and with another cache of packages if one is named.
    ///
    /// pacman takes what it reads first.
    pub(crate) fn write(
        &self,
        to: &Path,
        ring: Option<&Path>,
        packages: Option<&Path>,
    ) -> Result<(), Problem> {
        let text = self.text()?;
        let line = |key, folder: Option<&Path>| {
            folder.map(|folder| format!("{key} = {}/\n", folder.display())).unwrap_or_default()
        };
        let first = line("GPGDir", ring) + &line("CacheDir", packages);
        fs::write(to, format!("[options]\n{first}\n{text}"))
            .map_err(file(format!("writing {}", to.display())))
    }

    /// Writes a copy that knows one folder alone, which holds databases and packages whose signatures were
    /// verified when they were put there: they are not verified again, and no mirror is asked.
    pub(crate) fn write_verified(&self, to: &Path, packages: &Path) -> Result<(), Problem> {
        let folder = packages.display();
        let own = self.text()?;
        let first = format!("[options]\nSigLevel = Never\nCacheDir = {folder}/");
        let section = |name: &String| format!("[{name}]\nServer = file://{folder}");
        let lines = std::iter::once(first).chain(options(&own).map(str::to_owned));
        let lines = lines.chain(self.repositories.iter().map(section));
        let text: String = lines.flat_map(|line| [line, "\n".to_owned()]).collect();
        fs::write(to, text).map_err(file(format!("writing {}", to.display())))
    }

    fn text(&self) -> Result<String, Problem> {
        let source = self.file.clone().unwrap_or_else(|| HOST.into());
        fs::read_to_string(&source).map_err(file(format!("reading {}", source.display())))
    }

    /// Returns the lines that name mirrors in a way that is right for every repository.
    pub(crate) fn mirrors(&self) -> Vec<String> {
        let source = self.file.clone().unwrap_or_else(|| HOST.into());
        mirrors(&fs::read_to_string(source).unwrap_or_default())
    }
}

/// The lines of the options, without those that say how packages are fetched and verified.
fn options(text: &str) -> impl Iterator<Item = &str> {
    const OTHERWISE: [&str; 4] =
        ["SigLevel", "LocalFileSigLevel", "RemoteFileSigLevel", "XferCommand"];
    let mut inside = false;
    text.lines().map(str::trim).filter(move |line| {
        if line.starts_with('[') {
            inside = *line == "[options]";
            return false;
        }
        let key = line.split('=').next().unwrap_or_default().trim();
        inside && !OTHERWISE.contains(&key) && key != "CacheDir"
    })
}

/// The mirrors of the first repository that names some with `$repo` in them, so that others have them
/// too.
fn mirrors(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') && !found.is_empty() {
            break;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        if key.trim() == "Server" && value.contains("$repo") {
            found.push(format!("Server = {}", value.trim()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stage::tests::Said;

    #[test]
    fn mirrors_of_the_first_repository_serve_the_others() {
        let text = "[options]\n# Server = no\n[core]\nServer=https://a.invalid/$repo/os/$arch\n\
                    Server = https://b.invalid/$repo\n[extra]\nServer = https://c.invalid/$repo\n";
        assert_eq!(
            mirrors(text),
            ["Server = https://a.invalid/$repo/os/$arch", "Server = https://b.invalid/$repo"]
        );
        assert_eq!(mirrors("[own]\nServer = https://a.invalid/own\n"), [""; 0]);
    }

    #[test]
    fn a_copy_names_the_ring_and_the_cache_first() {
        let folder = tempfile::tempdir().unwrap();
        let (own, copy) = (folder.path().join(OWN), folder.path().join("copy"));
        fs::write(&own, "[options]\nGPGDir = /elsewhere/\n").unwrap();
        let configuration = Configuration { file: Some(own), ..Configuration::default() };
        configuration.write(&copy, Some(Path::new("/ring")), Some(Path::new("/cache"))).unwrap();
        assert_eq!(
            fs::read_to_string(&copy).unwrap(),
            "[options]\nGPGDir = /ring/\nCacheDir = /cache/\n\n[options]\nGPGDir = /elsewhere/\n"
        );
    }

    #[test]
    fn what_was_verified_is_taken_from_its_folder_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (own, copy) = (folder.path().join(OWN), folder.path().join("copy"));
        let text = "[core]\nSigLevel = Required\nServer = https://a.invalid/$repo\n\
                    [options]\nArchitecture = x86_64\nSigLevel=Required\nXferCommand = curl %u\n";
        fs::write(&own, text).unwrap();
        let configuration = Configuration {
            file: Some(own),
            repositories: vec!["core".to_owned(), "extra".to_owned()],
            ..Configuration::default()
        };
        configuration.write_verified(&copy, Path::new("/cache")).unwrap();
        assert_eq!(
            fs::read_to_string(&copy).unwrap(),
            "[options]\nSigLevel = Never\nCacheDir = /cache/\nArchitecture = x86_64\n\
             [core]\nServer = file:///cache\n[extra]\nServer = file:///cache\n"
        );
    }

    #[test]
    fn what_pacman_makes_of_a_file_counts() {
        if tools::find("pacman-conf").is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            fs::write(folder.path().join(OWN), text).unwrap();
            Configuration::read(folder.path(), &mut Said::default())
        };
        let server = "Server = file:///nowhere/$repo\n";
        for (level, of_repository, want) in [
            ("Required DatabaseOptional", "", true),
            ("Never", "", false),
            ("Never", "SigLevel = DatabaseRequired\n", true),
            ("Optional TrustAll", "", false),
        ] {
            let text = format!("[options]\nSigLevel = {level}\n[core]\n{of_repository}{server}");
            assert_eq!(read(&text).unwrap().insists, want, "{level} {of_repository}");
        }
        assert_eq!(read("[options]\nGPGDir = /g\n").unwrap().ring, Some("/g/".into()));
        let said = read("[options]\nSigLevel = Sometimes\n").unwrap_err().to_string();
        assert!(said.contains("invalid value for 'SigLevel'"), "{said}");
    }
}
