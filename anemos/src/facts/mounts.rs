//! What is mounted where, according to the kernel.

use std::path::Path;

use contract::mount_table::unescape;

use super::root::Root;

/// A line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mount {
    /// `major:minor`; not of a device if a file system spans several.
    pub(super) device: String,
    pub(super) point: String,
    pub(super) filesystem: String,
    pub(super) source: String,
    pub(super) writable: bool,
}

/// Reads all mounts, in the order in which they were made.
pub(super) fn read(root: &Root) -> Vec<Mount> {
    parse(&root.may("proc/self/mountinfo").unwrap_or_default())
}

/// Returns the mount that contains a path: the longest mount point above it, the latest of those.
pub(super) fn below<'m>(mounts: &'m [Mount], path: &Path) -> Option<&'m Mount> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.len())
}

/// Parses the format of `proc_pid_mountinfo(5)`, where a dash ends the optional fields.
fn parse(text: &str) -> Vec<Mount> {
    let writable = |options: &str| options.split(',').any(|option| option == "rw");
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(2);
        let (device, point, mount_options) = (before.next()?, before.nth(1)?, before.next()?);
        let mut after = after.split(' ');
        let (filesystem, source, options) = (after.next()?, after.next()?, after.next()?);
        Some(Mount {
            device: device.to_owned(),
            point: unescape(point),
            filesystem: filesystem.to_owned(),
            source: source.to_owned(),
            writable: writable(mount_options) && writable(options),
        })
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Mount, below, parse};

    const TEXT: &str = "27 1 254:1 / / rw shared:1 master:2 - ext4 /dev/vda1 rw\n\
                        28 27 0:5 /sub /my\\040data rw - btrfs /dev/vda2 ro\n\
                        29 27 254:15 / /boot/efi rw,noatime - vfat /dev/vda15 rw\nnonsense\n";

    #[test]
    fn optional_fields_of_a_mount_do_not_shift_the_others() {
        let mount = |device: &str, point: &str, filesystem: &str, source: &str, writable| Mount {
            device: device.into(),
            point: point.into(),
            filesystem: filesystem.into(),
            source: source.into(),
            writable,
        };
        let want = vec![
            mount("254:1", "/", "ext4", "/dev/vda1", true),
            mount("0:5", "/my data", "btrfs", "/dev/vda2", false),
            mount("254:15", "/boot/efi", "vfat", "/dev/vda15", true),
        ];
        assert_eq!(parse(TEXT), want);
    }

    #[test]
    fn a_path_lies_on_the_longest_mount_point_above_it() {
        let mounts = parse(TEXT);
        for (path, want) in
            [("/boot/grub", "/"), ("/boot/efi/EFI", "/boot/efi"), ("/boot/efix", "/")]
        {
            let found = below(&mounts, Path::new(path)).map(|mount| mount.point.as_str());
            assert_eq!(found, Some(want), "{path}");
        }
    }
}
