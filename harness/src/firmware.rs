//! Finds the UEFI firmware of this host by QEMU's firmware descriptors.
//!
//! The format is `docs/interop/firmware.json` of QEMU: a file for each firmware, in an order that
//! the distribution and the administrator determine by names and folders.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::file::FileError;
use crate::machine::setup::{Chipset, Firmware};
use crate::machine::{Flash, Platform, SecureBoot};

/// Why there is no firmware.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// No descriptor fits.
    #[error(
        "no firmware descriptor of this host offers {} on {board} ({})",
        name(*wanted), looked_at(rejected)
    )]
    NoneFits {
        /// What is needed.
        wanted: Firmware,
        /// The board, as descriptors name it.
        board: &'static str,
        /// The available descriptors, each with what it lacks.
        rejected: Vec<String>,
    },
    /// UEFI with secure boot needs system management mode, which the board lacks.
    #[error("secure boot needs the chipset q35: the board pc cannot protect the firmware's keys")]
    SecureBootOnPc,
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

fn name(firmware: Firmware) -> &'static str {
    match firmware {
        Firmware::Bios => "a BIOS",
        Firmware::Uefi => "UEFI",
        Firmware::UefiSecure => "UEFI with secure boot and enrolled keys",
    }
}

fn looked_at(rejected: &[String]) -> String {
    if rejected.is_empty() { "there is none at all".to_owned() } else { rejected.join("; ") }
}

/// A firmware descriptor, as far as we read it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    #[serde(default)]
    interface_types: Vec<String>,
    mapping: Mapping,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    features: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<Part>,
    nvram_template: Option<Part>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Part {
    filename: PathBuf,
    #[serde(default)]
    format: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
struct Target {
    architecture: String,
    machines: Vec<String>,
}

/// Finds the platform for a machine, and copies its variables to `variables` if they are missing.
///
/// The copy belongs to one machine: the new system finds what the old system stores there.
pub fn prepare(
    firmware: Firmware,
    chipset: Chipset,
    variables: &Path,
) -> Result<Platform, FirmwareError> {
    if firmware == Firmware::Bios {
        return Ok(Platform::Bios);
    }
    if firmware == Firmware::UefiSecure && chipset == Chipset::Pc {
        return Err(FirmwareError::SecureBootOnPc);
    }
    let (code, template) = choose(&descriptors(&folders())?, firmware, chipset)?;
    if !variables.exists() {
        fs::copy(&template, variables).map_err(FileError::at("copying", &template))?;
    }
    let secure_boot = match firmware {
        Firmware::UefiSecure => SecureBoot::Enforced,
        Firmware::Bios | Firmware::Uefi => SecureBoot::Absent,
    };
    Ok(Platform::Uefi(Flash { code, variables: variables.to_owned(), secure_boot }))
}

/// Returns what is missing on this host for the platform, if anything is.
pub fn missing(firmware: Firmware, chipset: Chipset) -> Option<FirmwareError> {
    if firmware == Firmware::Bios {
        return None;
    }
    descriptors(&folders()).and_then(|known| choose(&known, firmware, chipset)).err()
}

/// Returns the folders of descriptors, the user's first; a file hides its namesakes in later ones.
fn folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or(home);
    let own = config.map(|config| config.join("qemu/firmware"));
    own.into_iter()
        .chain([PathBuf::from("/etc/qemu/firmware"), PathBuf::from("/usr/share/qemu/firmware")])
        .collect()
}

/// Reads all descriptors in the order of their names; an empty file hides one and is not one
/// itself.
fn descriptors(folders: &[PathBuf]) -> Result<Vec<(String, Descriptor)>, FirmwareError> {
    let mut files = BTreeMap::new();
    for folder in folders {
        // A missing folder has no descriptors.
        let Ok(entries) = fs::read_dir(folder) else { continue };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|ending| ending == "json") {
                files.entry(name).or_insert(path);
            }
        }
    }
    let mut found = Vec::new();
    for (name, path) in files {
        let read = |error| FileError::at("reading", &path)(error);
        let text = fs::read_to_string(&path).map_err(read)?;
        if !text.is_empty() {
            let descriptor = serde_json::from_str(&text).map_err(io::Error::from).map_err(read)?;
            found.push((name, descriptor));
        }
    }
    Ok(found)
}

/// Chooses the first one that has what is needed, and nothing that would get in the way.
fn choose(
    descriptors: &[(String, Descriptor)],
    wanted: Firmware,
    chipset: Chipset,
) -> Result<(PathBuf, PathBuf), FirmwareError> {
    let board = match chipset {
        Chipset::Pc => "pc-i440fx",
        Chipset::Q35 => "pc-q35",
    };
    let mut rejected = Vec::new();
    for (name, descriptor) in descriptors {
        match lack(descriptor, wanted, board) {
            Ok(parts) => return Ok(parts),
            Err(lack) => rejected.push(format!("{name} {lack}")),
        }
    }
    Err(FirmwareError::NoneFits { wanted, board, rejected })
}

/// Returns code and variables of a descriptor, or what it lacks.
fn lack(
    descriptor: &Descriptor,
    wanted: Firmware,
    board: &str,
) -> Result<(PathBuf, PathBuf), &'static str> {
    let has = |feature: &str| descriptor.features.iter().any(|known| known == feature);
    let fits = |target: &Target| {
        let machine = |glob: &String| glob.trim_end_matches('*').starts_with(board);
        target.architecture == "x86_64" && target.machines.iter().any(machine)
    };
    if !descriptor.interface_types.iter().any(|kind| kind == "uefi") {
        return Err("is not UEFI firmware");
    }
    if !descriptor.targets.iter().any(fits) {
        return Err("is for another board");
    }
    let secure = has("secure-boot") && has("enrolled-keys");
    match wanted {
        Firmware::UefiSecure if !secure => return Err("enforces no secure boot"),
        // Without a key, secure boot is off, but the mode that it needs is slow and useless.
        Firmware::Uefi if has("enrolled-keys") || has("requires-smm") => {
            return Err("is made for secure boot");
        }
        _ => {}
    }
    let Mapping { device, executable, nvram_template } = &descriptor.mapping;
    match (executable, nvram_template) {
        (Some(code), Some(variables))
            if device == "flash" && code.format == "raw" && variables.format == "raw" =>
        {
            Ok((code.filename.clone(), variables.filename.clone()))
        }
        _ => Err("has no raw flash with variables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(machine: &str, features: &[&str], code: &str) -> Descriptor {
        let part = |name: &str| Some(Part { filename: name.into(), format: "raw".into() });
        Descriptor {
            interface_types: vec!["uefi".into()],
            mapping: Mapping {
                device: "flash".into(),
                executable: part(code),
                nvram_template: part("vars"),
            },
            targets: vec![Target { architecture: "x86_64".into(), machines: vec![machine.into()] }],
            features: features.iter().map(|&feature| feature.to_owned()).collect(),
        }
    }

    fn host() -> Vec<(String, Descriptor)> {
        let secure = ["secure-boot", "requires-smm"];
        let enrolled = ["secure-boot", "requires-smm", "enrolled-keys"];
        vec![
            ("40.json".to_owned(), descriptor("pc-q35-*", &enrolled, "enrolled")),
            ("50.json".to_owned(), descriptor("pc-q35-*", &secure, "secure")),
            ("60.json".to_owned(), descriptor("pc-i440fx-*", &[], "plain-pc")),
            ("61.json".to_owned(), descriptor("pc-q35-*", &[], "plain-q35")),
        ]
    }

    #[test]
    fn the_first_descriptor_that_fits_is_chosen() {
        for (firmware, chipset, want) in [
            (Firmware::Uefi, Chipset::Q35, "plain-q35"),
            (Firmware::Uefi, Chipset::Pc, "plain-pc"),
            (Firmware::UefiSecure, Chipset::Q35, "enrolled"),
        ] {
            let (code, variables) = choose(&host(), firmware, chipset).unwrap();
            assert_eq!(code, Path::new(want), "{firmware:?} on {chipset:?}");
            assert_eq!(variables, Path::new("vars"));
        }
    }

    #[test]
    fn what_no_descriptor_offers_is_told_with_what_each_lacks() {
        let hosts = [&host()[..1], &[]];
        let wants = [
            "no firmware descriptor of this host offers UEFI on pc-q35 (40.json is made for secure \
             boot)",
            "no firmware descriptor of this host offers UEFI on pc-q35 (there is none at all)",
        ];
        for (host, want) in hosts.into_iter().zip(wants) {
            let error = choose(host, Firmware::Uefi, Chipset::Q35).unwrap_err();
            assert_eq!(error.to_string(), want);
        }
    }

    #[test]
    fn a_file_hides_those_of_its_name_in_later_folders_and_an_empty_one_hides_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let (own, system) = (folder.path().join("own"), folder.path().join("system"));
        let text = |code: &str| {
            format!(
                r#"{{"interface-types": ["uefi"], "targets": [], "features": [], "tags": [],
                "mapping": {{"device": "flash", "executable": {{"filename": "{code}"}}}}}}"#
            )
        };
        for (folder, name, content) in [
            (&own, "50-a.json", text("own")),
            (&own, "60-b.json", String::new()),
            (&system, "50-a.json", text("hidden")),
            (&system, "60-b.json", text("hidden")),
            (&system, "40-c.json", text("system")),
            (&system, "README", "no descriptor".to_owned()),
        ] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join(name), content).unwrap();
        }
        let folders = [own, folder.path().join("missing"), system];
        let found = descriptors(&folders).unwrap();
        let code = |descriptor: &Descriptor| descriptor.mapping.executable.clone().unwrap();
        let found: Vec<_> = found.iter().map(|(name, d)| (&**name, code(d).filename)).collect();
        assert_eq!(found, [("40-c.json", "system".into()), ("50-a.json", "own".into())]);
    }

    #[test]
    fn variables_belong_to_one_machine_and_survive_its_reboots() {
        let folder = tempfile::tempdir().unwrap();
        let variables = folder.path().join("variables");
        fs::write(&variables, "stored by the old system").unwrap();
        // A host without descriptors has none for the new system either.
        if prepare(Firmware::Uefi, Chipset::Q35, &variables).is_ok() {
            assert_eq!(fs::read_to_string(&variables).unwrap(), "stored by the old system");
        }
        let error = prepare(Firmware::UefiSecure, Chipset::Pc, &variables).unwrap_err();
        assert!(error.to_string().contains("needs the chipset q35"), "{error}");
    }
}
