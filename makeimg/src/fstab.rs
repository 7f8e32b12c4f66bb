//! Writes `/etc/fstab`, unless something else already names the root in it.

use std::path::Path;

use crate::error::{Problem, file};
use crate::root::Root;

/// Adds these lines, unless the file has one for the root; returns whether it did.
///
/// Its lines for other places stay, and ours for those places are left out.
pub(crate) fn write(root: &Root, lines: &str) -> Result<bool, Problem> {
    let path = Path::new("etc/fstab");
    let own = root.read(path).map_err(file("reading /etc/fstab"))?.unwrap_or_default();
    let Some(table) = completed(&String::from_utf8_lossy(&own), lines) else { return Ok(false) };
    root.place(path, &mut table.as_bytes(), 0o644).map_err(file("writing /etc/fstab"))?;
    Ok(true)
}

/// Returns the whole table, or nothing if it has a root already.
fn completed(own: &str, lines: &str) -> Option<String> {
    let taken: Vec<&str> = own.lines().filter_map(place).collect();
    if taken.contains(&"/") {
        return None;
    }
    let ours = lines.lines().filter(|line| place(line).is_none_or(|place| !taken.contains(&place)));
    // Without entries, distributions leave a comment; Alpine has lines for a CD and a USB stick.
    let kept = own.lines().filter(|_| !taken.is_empty());
    Some(kept.chain(ours).flat_map(|line| [line, "\n"]).collect())
}

/// Returns where the file system of a line is mounted.
fn place(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    words.next().filter(|device| !device.starts_with('#')).and(words.next())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALPINE: &str = "/dev/cdrom\t/media/cdrom\tiso9660\tnoauto,ro 0 0\n\
                              /dev/usbdisk\t/media/usb\tvfat\tnoauto\t0 0";

    #[test]
    fn lines_of_somebody_else_stay_and_one_for_the_root_is_enough() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        let ours = "UUID=r / ext4 defaults 0 1\nUUID=e /boot/efi vfat umask=0077 0 2\n";
        for (own, want) in [
            ("# <file system>\n\n", ours.to_owned()),
            (ALPINE, format!("{ALPINE}\n{ours}")),
            ("#x / ext4\ntmpfs /tmp tmpfs\n", format!("#x / ext4\ntmpfs /tmp tmpfs\n{ours}")),
            ("x /boot/efi vfat\n", "x /boot/efi vfat\nUUID=r / ext4 defaults 0 1\n".to_owned()),
            ("# mine\nx  /  xfs\n", "# mine\nx  /  xfs\n".to_owned()),
        ] {
            root.place(Path::new("etc/fstab"), &mut own.as_bytes(), 0o644).unwrap();
            assert_eq!(write(&root, ours).unwrap(), own != want, "{own:?}");
            let text = root.read(Path::new("etc/fstab")).unwrap().unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), want);
        }
    }
}
