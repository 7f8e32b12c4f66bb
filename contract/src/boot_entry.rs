//! Boot entries of UEFI firmware: how `anemos` names its own, and how PID 1 removes it.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// Where Linux shows the variables of the firmware (`Documentation/filesystems/efivarfs.rst`).
pub const VARIABLES: &str = "/sys/firmware/efi/efivars";

/// The vendor GUID of the variables that the UEFI specification defines.
pub const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/// The name of our boot entry; every entry with this name is ours.
pub const DESCRIPTION: &str = "anemos deploy environment";

/// Renders text the way the firmware stores it: UTF-16, little-endian, zero-terminated.
pub fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// Removes our boot entries below `variables`, and returns their names. Others are left alone.
pub fn remove_our_entries(variables: &Path) -> io::Result<Vec<String>> {
    let mut removed = Vec::new();
    for path in our_entries(variables)? {
        fs::remove_file(&path)?;
        removed.extend(path.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    Ok(removed)
}

fn our_entries(variables: &Path) -> io::Result<Vec<PathBuf>> {
    /// Attributes of the variable and of the entry, and the length of its paths.
    const BEFORE: usize = 4 + 4 + 2;
    let mut ours = Vec::new();
    for entry in fs::read_dir(variables)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.strip_prefix("Boot").and_then(|rest| rest.strip_suffix(GLOBAL));
        let number = number.and_then(|number| number.strip_suffix('-')).unwrap_or_default();
        if number.len() != 4 || u16::from_str_radix(number, 16).is_err() {
            continue;
        }
        let called_so = fs::read(&path)?
            .get(BEFORE..)
            .is_some_and(|description| description.starts_with(&utf16(DESCRIPTION)));
        if called_so {
            ours.push(path);
        }
    }
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_boot_entries_of_ours_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |description: &str| [vec![0; 10], utf16(description), vec![1, 2]].concat();
        for (name, content) in [
            ("Boot0003", entry(DESCRIPTION)),
            ("Boot0001", entry("debian")),
            ("Boot0002", entry("anemos deploy environment of another")),
            ("BootNext", entry(DESCRIPTION)),
            ("Boot000A", vec![7]),
        ] {
            fs::write(folder.path().join(format!("{name}-{GLOBAL}")), content).unwrap();
        }
        let removed = remove_our_entries(folder.path()).unwrap();
        assert_eq!(removed, [format!("Boot0003-{GLOBAL}")]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}
