//! Makes EXTLINUX boot our entry once.
//!
//! The one-time entry is stored at the end of `ldlinux.sys`, in the "auxiliary data vector"
//! (Syslinux, `doc/extlinux.txt`). EXTLINUX clears it before it boots that entry, and does not boot
//! it if it could not clear it. Only its own program writes to that file, because EXTLINUX knows
//! the file's place on the disk.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::{Context, bail};

use super::next::{Next, copy};
use crate::facts::Facts;
use crate::files;
use crate::staging::UndoLog;

const ENTRY: &str = "anemos-deploy";
const FOLDER: &str = "anemos";

/// Bytes of a vector, of which there are two (Syslinux, `libinstaller/advconst.h`).
const VECTOR: usize = 512;
const FROM_THE_END: i64 = -1024;
/// Bytes before its first tag.
const HEADER: usize = 8;
const END: u8 = 0;
const BOOT_ONCE: u8 = 1;

/// Stages everything, and records it in `undo`.
pub(super) fn stage(facts: &Facts, next: &Next<'_>, undo: &mut UndoLog) -> anyhow::Result<()> {
    let extlinux = facts.boot_loader.starting_extlinux().context("finding EXTLINUX's folder")?;
    let program = extlinux.program.as_deref().context("finding the program extlinux")?;
    if boots_once(&extlinux.folder.join("ldlinux.sys"))? {
        bail!("EXTLINUX is to boot something else once: `extlinux --clear-once` takes that back");
    }
    copy(next, &extlinux.folder.join(FOLDER), "vmlinuz", undo)?;
    let before = files::read_if_there(&extlinux.configuration)?.unwrap_or_default();
    let menu = [before, entry(next.command_line).into_bytes()].concat();
    undo.write(&extlinux.configuration, &menu)?;
    // This comes last: until it is done, nothing of the above is booted.
    undo.boot_once(program, &extlinux.folder, ENTRY)
}

/// Renders our entry.
///
/// Relative paths start at the folder of the configuration. Words are written unchanged, because
/// there is no quoting.
fn entry(command_line: &str) -> String {
    let words: Vec<_> = command_line.split_whitespace().collect();
    format!(
        "\n# One-time boot entry of anemos; `anemos reset` removes it.\n\
         LABEL {ENTRY}\n  LINUX {FOLDER}/vmlinuz\n  INITRD {FOLDER}/initramfs\n  APPEND {}\n",
        words.join(" ")
    )
}

/// Returns whether something is already booted once.
fn boots_once(loader: &Path) -> anyhow::Result<bool> {
    let read = || {
        let (mut file, mut vector) = (File::open(loader)?, [0; VECTOR]);
        file.seek(SeekFrom::End(FROM_THE_END))?;
        file.read_exact(&mut vector).map(|()| vector)
    };
    let vector = read().with_context(|| format!("reading {}", loader.display()))?;
    Ok(has_boot_once(&vector))
}

/// Searches the tags: a byte for the type, one for the length, then as many bytes.
fn has_boot_once(vector: &[u8]) -> bool {
    let mut rest = vector.get(HEADER..).unwrap_or_default();
    while let [tag, length, data @ ..] = rest {
        match *tag {
            END => return false,
            BOOT_ONCE => return true,
            _ => rest = data.get(usize::from(*length)..).unwrap_or_default(),
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_has_every_parameter_as_it_is() {
        insta::assert_snapshot!(entry("console=ttyS0,115200 a=$b;c  d='x"), @r"

        # One-time boot entry of anemos; `anemos reset` removes it.
        LABEL anemos-deploy
          LINUX anemos/vmlinuz
          INITRD anemos/initramfs
          APPEND console=ttyS0,115200 a=$b;c d='x
        ");
    }

    #[test]
    fn what_others_have_booted_once_is_found_among_what_is_remembered() {
        for (tags, want) in [
            (&b""[..], false),
            (b"\x01\x05linux", true),
            (b"\x02\x05linux", false),
            (b"\x02\x05linux\x01\x03old", true),
            (b"\x02\xfflinux", false),
        ] {
            let mut vector = [&[0xa5; HEADER], tags].concat();
            vector.resize(VECTOR, 0);
            assert_eq!(has_boot_once(&vector), want, "{tags:?}");
        }
    }
}
