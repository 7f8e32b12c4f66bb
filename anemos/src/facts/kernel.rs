//! The kernel image on the disk, and its modules.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::root::Root;

/// A kernel image.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct KernelImage {
    pub(crate) path: PathBuf,
    /// In bytes.
    pub(crate) size: u64,
    /// Absent if it is not a kernel that can be executed.
    pub(crate) format: Option<ImageFormat>,
    /// Its release, if the image states it.
    pub(crate) release: Option<String>,
}

/// Formats of kernels.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ImageFormat {
    /// x86, with a boot protocol of 2.00 or later.
    #[serde(rename = "bzImage")]
    BzImage,
    Arm64,
}

/// A folder of modules.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Modules {
    /// Its last component is the release that the modules are for.
    pub(crate) path: PathBuf,
}

/// Finds the image of the running kernel; one that states the release is preferred.
pub(super) fn find(root: &Root, release: &str, command_line: &str) -> Option<KernelImage> {
    let mut best = None;
    for place in places(release, command_line) {
        let Ok(mut image) = read_image(&root.path(&place)) else { continue };
        image.path = place;
        if image.release.as_deref() == Some(release) {
            return Some(image);
        }
        // Another release has been installed under the same name since the machine was booted.
        if image.release.is_none() {
            best = best.or(Some(image));
        }
    }
    best
}

/// Returns where the image of a release may be, best first.
fn places(release: &str, command_line: &str) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(booted) = command_line.split(' ').find_map(|word| word.strip_prefix("BOOT_IMAGE="))
    {
        // GRUB may put its own name of the disk before the path, which starts at that file system.
        let path = booted.rsplit(')').next().unwrap_or(booted).trim_start_matches('/');
        places.extend([Path::new("/").join(path), Path::new("/boot").join(path)]);
    }
    let named = ["/boot/vmlinuz-R", "/usr/lib/modules/R/vmlinuz", "/lib/modules/R/vmlinuz"];
    places.extend(named.map(|name| PathBuf::from(name.replace('R', release))));
    let unnamed = ["/vmlinuz", "/boot/vmlinuz", "/boot/vmlinuz-linux", "/boot/vmlinuz-lts"];
    places.extend(unnamed.map(PathBuf::from));
    places
}

/// Reads the header of an image, whatever it turns out to be.
pub(super) fn read_image(path: &Path) -> io::Result<KernelImage> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut header = Vec::new();
    file.take(0x1_0000).read_to_end(&mut header)?;
    let format = format(&header);
    let release = match format {
        Some(ImageFormat::BzImage) => release(&header),
        _ => None,
    };
    Ok(KernelImage { path: path.to_owned(), size, format, release })
}

/// Returns the format, by the magic numbers of the boot protocols.
///
/// They are from Documentation/arch/x86/boot.rst and Documentation/arch/arm64/booting.rst of the
/// kernel.
fn format(header: &[u8]) -> Option<ImageFormat> {
    if header.get(0x202..0x206) == Some(b"HdrS") {
        Some(ImageFormat::BzImage)
    } else if header.get(56..60) == Some(b"ARM\x64") {
        Some(ImageFormat::Arm64)
    } else {
        None
    }
}

/// Returns the first word of the version, to which the header points at offset 0x20e.
fn release(header: &[u8]) -> Option<String> {
    let pointer = u16::from_le_bytes(header.get(0x20e..0x210)?.try_into().ok()?);
    let text = header.get(usize::from(pointer) + 0x200..)?;
    let text = text.split(|byte| *byte == 0).next()?;
    Some(std::str::from_utf8(text).ok()?.split_whitespace().next()?.to_owned())
}

pub(super) fn modules(root: &Root, release: &str) -> Option<Modules> {
    let places = ["/usr/lib/modules", "/lib/modules"].map(|place| Path::new(place).join(release));
    places.into_iter().find_map(|path| {
        read_modules(&root.path(&path))?;
        Some(Modules { path })
    })
}

/// Returns the folder if it contains what depmod(8) writes.
pub(super) fn read_modules(path: &Path) -> Option<Modules> {
    path.join("modules.dep").is_file().then(|| Modules { path: path.to_owned() })
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;

    use super::{ImageFormat, format, places, release};

    /// Returns a header like that of Linux 6.1: magic, and the version somewhere after it.
    pub(crate) fn bzimage(version: &str) -> Vec<u8> {
        let mut image = vec![0; 0x4000];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x3000_u16.to_le_bytes());
        image[0x3200..0x3200 + version.len()].copy_from_slice(version.as_bytes());
        image
    }

    #[test]
    fn kernels_are_told_from_other_files() {
        let mut arm = vec![0; 64];
        arm[56..60].copy_from_slice(b"ARM\x64");
        for (name, header, want) in [
            ("bzImage", bzimage("6.1"), Some(ImageFormat::BzImage)),
            ("arm64", arm, Some(ImageFormat::Arm64)),
            ("text", b"#!/bin/sh\n".to_vec(), None),
            ("empty", Vec::new(), None),
        ] {
            assert_eq!(format(&header), want, "{name}");
        }
    }

    #[test]
    fn an_image_says_its_release() {
        let version = "6.1.0-18-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP";
        assert_eq!(release(&bzimage(version)).as_deref(), Some("6.1.0-18-cloud-amd64"));
        assert_eq!(release(&bzimage(version)[..0x3000]), None);
    }

    #[test]
    fn what_the_boot_loader_booted_is_looked_at_first() {
        let first = |command_line| places("6.1", command_line).into_iter().take(2);
        for (command_line, want) in [
            ("BOOT_IMAGE=/boot/vmlinuz-6.1 ro", ["/boot/vmlinuz-6.1", "/boot/boot/vmlinuz-6.1"]),
            ("BOOT_IMAGE=(hd0,gpt2)/vmlinuz-6.1", ["/vmlinuz-6.1", "/boot/vmlinuz-6.1"]),
            ("ro", ["/boot/vmlinuz-6.1", "/usr/lib/modules/6.1/vmlinuz"]),
        ] {
            let want: Vec<_> = want.map(PathBuf::from).into();
            assert_eq!(first(command_line).collect::<Vec<_>>(), want, "{command_line}");
        }
    }
}
