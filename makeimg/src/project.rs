//! An IMGBUILD that has been read, with its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::Problem;
use crate::format::{self, Format};

/// Variables by their names, with the exact bytes of their values.
pub type Variables = BTreeMap<String, OsString>;

/// The distribution that is built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// Arch Linux, by pacstrap(8).
    Arch,
    /// Alpine Linux, by apk(8).
    Alpine,
    /// Debian, by mmdebstrap(1) or debootstrap(8).
    Debian {
        /// Its release.
        suite: String,
    },
}

/// What is copied from the building host.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum HostItem {
    /// The keys that packages are verified with.
    Keyring,
    /// The addresses of package mirrors.
    Mirrorlist,
}

/// A function with a fixed meaning.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Function {
    /// Makes the place for the root folder, for the format custom.
    Setup,
    /// Runs in the image.
    Provision,
    /// Undoes what setup has done.
    Cleanup,
}

/// An IMGBUILD that has been read.
#[derive(Clone, Debug)]
pub struct Project {
    /// The folder that holds IMGBUILD, as an absolute path.
    pub folder: PathBuf,
    /// The name of the image.
    pub imgname: String,
    /// The distribution.
    pub target: Target,
    /// The effective format: from the command line, else from IMGBUILD, else the default.
    pub format: Format,
    /// What is copied from the building host.
    pub hostconf: BTreeSet<HostItem>,
    /// What is installed.
    pub packages: Vec<String>,
    /// The functions that IMGBUILD has.
    pub functions: BTreeSet<Function>,
    /// All variables that the shell had in the end, including those of the environment.
    pub variables: Variables,
    /// The variables that IMGBUILD has made, changed or got a default for.
    pub own: BTreeSet<String>,
    /// The variables of `anemos.env`, which every program gets.
    pub environment: BTreeMap<String, String>,
    /// The folder of the build for temporary files, if there is one.
    pub(crate) scratch: Option<PathBuf>,
}

impl Function {
    pub(crate) const ALL: [Self; 3] = [Self::Setup, Self::Provision, Self::Cleanup];

    /// Returns its name in IMGBUILD.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Provision => "provision",
            Self::Cleanup => "cleanup",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Arch => "arch",
            Self::Alpine => "alpine",
            Self::Debian { .. } => "debian",
        })
    }
}

impl Project {
    /// Interprets the variables of an IMGBUILD.
    pub(crate) fn from_variables(
        folder: &Path,
        mut variables: Variables,
        mut own: BTreeSet<String>,
        format: Option<&str>,
    ) -> Result<Self, Problem> {
        let imgname = imgname(&variables)?;
        let target = target(&mut variables, &mut own)?;
        let effective = match format {
            Some(format) => format.to_owned(),
            None => text(&variables, "format")?.unwrap_or_else(|| format::DEFAULT.to_owned()),
        };
        let format = Format::parse(&effective)?;
        variables.insert("format".to_owned(), effective.into());
        own.extend(["format", "imgname", "target"].map(str::to_owned));
        let hostconf = hostconf(&list(&variables, "hostconf")?)?;
        let packages = list(&variables, "packages")?;
        if let Some(odd) = packages.iter().find(|package| is_odd(package)) {
            let hint = "write one package a line, by its name";
            return Err(Problem::refused(format!("packages: {odd:?} is not a package"), hint));
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            imgname,
            target,
            format,
            hostconf,
            packages,
            functions: BTreeSet::new(),
            variables,
            own,
            environment: BTreeMap::new(),
            scratch: None,
        })
    }

    /// Returns a variable that is set and not empty, as text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Problem> {
        text(&self.variables, name)
    }

    /// Returns a variable that `anemos.env` exports, or else one of our own environment.
    pub(crate) fn exported(&self, name: &str) -> Option<String> {
        let ours = || env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        self.environment.get(name).cloned().or_else(ours)
    }

    /// Returns the values of a variable that holds one per line.
    pub(crate) fn list(&self, name: &str) -> Result<Vec<String>, Problem> {
        list(&self.variables, name)
    }

    /// Returns the variables of IMGBUILD itself.
    pub(crate) fn own_variables(&self) -> impl Iterator<Item = (&str, &OsStr)> {
        self.own.iter().filter_map(|name| {
            self.variables.get(name).map(|value| (name.as_str(), value.as_os_str()))
        })
    }
}

/// Returns whether a name does not fit in a comma-separated list, or would pass for an option.
fn is_odd(package: &str) -> bool {
    package.starts_with('-') || package.contains(|c: char| c.is_whitespace() || c == ',')
}

fn text(variables: &Variables, name: &str) -> Result<Option<String>, Problem> {
    let Some(value) = variables.get(name) else { return Ok(None) };
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else {
        return Err(Problem::refused(format!("{name} is not text"), "write it in UTF-8"));
    };
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

fn list(variables: &Variables, name: &str) -> Result<Vec<String>, Problem> {
    let text = text(variables, name)?.unwrap_or_default();
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

fn imgname(variables: &Variables) -> Result<String, Problem> {
    let Some(name) = text(variables, "imgname")? else {
        let hint = "set it in IMGBUILD: imgname=\"my-server\"";
        return Err(Problem::refused("imgname is not set", hint));
    };
    if name.contains(['/', '\n']) || name.starts_with('.') {
        let hint = "it becomes the name of a file: no slash, no newline, no dot in front";
        return Err(Problem::refused(format!("imgname {name:?} is not a file name"), hint));
    }
    Ok(name)
}

fn target(variables: &mut Variables, own: &mut BTreeSet<String>) -> Result<Target, Problem> {
    let hint = "set it in IMGBUILD: target=\"arch\", \"alpine\" or \"debian\"";
    match text(variables, "target")?.as_deref() {
        Some("arch") => Ok(Target::Arch),
        Some("alpine") => Ok(Target::Alpine),
        Some("debian") => {
            let suite = text(variables, "debian_suite")?.unwrap_or_else(|| "stable".to_owned());
            variables.insert("debian_suite".to_owned(), suite.clone().into());
            own.insert("debian_suite".to_owned());
            if suite.starts_with('-') || suite.contains(char::is_whitespace) {
                let reason = format!("debian_suite {suite:?} is not a suite");
                return Err(Problem::refused(reason, "name a suite, such as stable or bookworm"));
            }
            Ok(Target::Debian { suite })
        }
        Some(other) => Err(Problem::refused(format!("target {other:?} is not known"), hint)),
        None => Err(Problem::refused("target is not set", hint)),
    }
}

fn hostconf(items: &[String]) -> Result<BTreeSet<HostItem>, Problem> {
    let item = |item: &String| match item.as_str() {
        "keyring" => Ok(HostItem::Keyring),
        "mirrorlist" => Ok(HostItem::Mirrorlist),
        other => {
            let hint = "the items are keyring and mirrorlist, one a line";
            Err(Problem::refused(format!("hostconf has no item {other:?}"), hint))
        }
    };
    items.iter().map(item).collect()
}
