//! What a kernel has built in: `modules.builtin` and `modules.builtin.modinfo` (kmod(8)).

use std::fs;
use std::path::Path;

use super::aliases::Aliases;
use super::index;

/// The modules that are part of the kernel itself.
#[derive(Debug, Default)]
pub(super) struct BuiltIn {
    /// Paths like those of other modules.
    files: Vec<String>,
    /// Lines as in `modules.alias`; absent if this kernel does not list them (before Linux 5.2).
    claims: Option<String>,
}

impl BuiltIn {
    /// Reads both files of a module folder, if they exist.
    pub(super) fn read(folder: &Path) -> Self {
        let files = fs::read_to_string(folder.join("modules.builtin")).unwrap_or_default();
        let information = fs::read(folder.join("modules.builtin.modinfo")).ok();
        Self {
            files: files.lines().map(str::to_owned).collect(),
            claims: information.map(|bytes| claims(&String::from_utf8_lossy(&bytes))),
        }
    }

    /// Returns whether a module of that name is built in.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| index::names(file, name))
    }

    /// Returns whether anything built in claims a device, or may do so.
    pub(super) fn claims(&self, alias: &str) -> bool {
        let known = |text: &String| !Aliases::parse(text).modules_of(alias).is_empty();
        self.claims.as_ref().is_none_or(known)
    }
}

/// Turns entries `MODULE.alias=PATTERN`, each followed by a NUL, into lines of `modules.alias`.
fn claims(information: &str) -> String {
    let entries = information.split('\0').filter_map(|entry| entry.split_once(".alias="));
    let lines = entries.map(|(module, pattern)| format!("alias {pattern} {module}"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_in_is_known_by_name_and_by_claim() {
        let folder = tempfile::tempdir().unwrap();
        let kernel = BuiltIn::read(folder.path());
        assert!(!kernel.has("nvme") && kernel.claims("pci:v1"), "a kernel that does not tell");
        // From Debian 12's cloud kernel.
        let information = "pcieport.alias=pci:v*d*sv*sd*bc06sc04i00*\0nvme.license=GPL\0";
        fs::write(folder.path().join("modules.builtin.modinfo"), information).unwrap();
        fs::write(folder.path().join("modules.builtin"), "kernel/drivers/pci/pci-stub.ko\n")
            .unwrap();
        let kernel = BuiltIn::read(folder.path());
        assert!(kernel.has("pci_stub") && !kernel.has("pci"));
        assert!(kernel.claims("pci:v00008086d0000A2E0sv00001043sd00008694bc06sc04i00"));
        assert!(!kernel.claims("pci:v00008086d0000A282sv00001043sd00008694bc01sc06i01"));
    }
}
