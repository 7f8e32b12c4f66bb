//! Selects the firmware files that the deploy environment needs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::config::{FirmwareConfig, FirmwareMode};
use crate::member::{Member, Source};
use crate::modules::{self, Modules};
use crate::report::Refused;

/// Suffixes under which the kernel finds a firmware file (`CONFIG_FW_LOADER_COMPRESS`).
const SUFFIXES: [&str; 3] = ["", ".xz", ".zst"];

/// Collects firmware files below `root`, from the folders where the kernel looks for them.
///
/// A driver names every file that some revision of its device may need, so it is not an error if
/// some are not installed. It is an error if the configuration names a missing file.
pub(crate) fn collect(
    root: &Path,
    modules: &Modules,
    config: &FirmwareConfig,
) -> anyhow::Result<Vec<Member>> {
    let folder = root.join("lib/firmware");
    let mut files = BTreeSet::new();
    match config.mode {
        FirmwareMode::None => {}
        FirmwareMode::All => all_below(&folder, &mut files)?,
        FirmwareMode::Auto => {
            for module in &modules.own {
                let names = modules::firmware_of(&modules.folder.join(module))?;
                files.extend(names.iter().filter_map(|name| find(&folder, name)));
            }
        }
    }
    for name in &config.extra {
        files.insert(find(&folder, name).ok_or_else(|| missing(&folder, name))?);
    }
    files.into_iter().map(|path| member(&folder, path)).collect()
}

fn missing(folder: &Path, name: &str) -> Refused {
    Refused::new(
        format!("firmware file {name} is not below {}", folder.display()),
        "install its package, or drop it from [firmware] extra",
    )
}

fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let places = SUFFIXES.iter().map(|suffix| folder.join(format!("{name}{suffix}")));
    places.into_iter().find(|path| path.is_file())
}

fn member(folder: &Path, path: PathBuf) -> anyhow::Result<Member> {
    let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
    Ok(Member::new(format!("usr/lib/firmware/{name}"), Source::file(path)?))
}

fn all_below(folder: &Path, files: &mut BTreeSet<PathBuf>) -> anyhow::Result<()> {
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?
    {
        let path = entry.with_context(|| format!("reading {}", folder.display()))?.path();
        if path.is_dir() {
            all_below(&path, files)?;
        } else if path.is_file() {
            files.insert(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(mode: FirmwareMode, extra: &[&str]) -> Result<Vec<String>, String> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("lib/firmware/net")).unwrap();
        fs::write(root.path().join("lib/firmware/net/a.fw.xz"), "x").unwrap();
        fs::write(root.path().join("lib/firmware/b.fw"), "x").unwrap();
        let extra = extra.iter().map(|&name| name.to_owned()).collect();
        let config = FirmwareConfig { mode, extra };
        collect(root.path(), &Modules::default(), &config)
            .map(|members| members.into_iter().map(|member| member.name).collect())
            .map_err(|error| error.to_string().replace(&*root.path().to_string_lossy(), "ROOT"))
    }

    #[test]
    fn firmware_is_chosen_by_mode_and_name() {
        let packed = |names: &[&str]| {
            Ok(names.iter().map(|name| format!("usr/lib/firmware/{name}")).collect::<Vec<_>>())
        };
        for (mode, extra, want) in [
            (FirmwareMode::None, vec![], packed(&[])),
            (FirmwareMode::Auto, vec![], packed(&[])),
            (FirmwareMode::None, vec!["net/a.fw"], packed(&["net/a.fw.xz"])),
            (FirmwareMode::All, vec![], packed(&["b.fw", "net/a.fw.xz"])),
            (
                FirmwareMode::None,
                vec!["c.fw"],
                Err("firmware file c.fw is not below ROOT/lib/firmware".to_owned()),
            ),
        ] {
            assert_eq!(names(mode, &extra), want, "{mode:?} {extra:?}");
        }
    }
}
