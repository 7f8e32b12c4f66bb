//! Makes GRUB boot our entry once.
//!
//! Kernel and initramfs are in the folder of its configuration, where GRUB finds them without
//! knowing disks.

use anyhow::Context;
use contract::quote;

use super::next::{Next, copy};
use crate::facts::Facts;
use crate::staging::UndoLog;
use crate::{files, grub_environment};

/// Identity of our menu entry.
const ENTRY: &str = "anemos-deploy";
const FOLDER: &str = "anemos";

/// Stages everything, and records it in `undo`.
pub(super) fn stage(facts: &Facts, next: &Next<'_>, undo: &mut UndoLog) -> anyhow::Result<()> {
    let grub = facts.boot_loader.grub.as_ref().context("finding GRUB's folder")?;
    let folder = grub.folder.join(FOLDER);
    copy(next, &folder, "vmlinuz", undo)?;
    let custom = grub.folder.join("custom.cfg");
    let before = files::read_if_there(&custom)?.unwrap_or_default();
    let menu = [before, menu_entry(next.command_line).into_bytes()].concat();
    undo.write(&custom, &menu)?;
    // This comes last: until it is written, nothing of the above is booted.
    let block = grub.folder.join("grubenv");
    let now = files::read_if_there(&block)?.unwrap_or_default();
    let describe = || format!("editing {}", block.display());
    let chosen = grub_environment::with_next_entry(&now, ENTRY).with_context(describe)?;
    undo.write(&block, &chosen)
}

/// Renders our menu entry.
///
/// Since 2.02, GRUB sets `config_directory` to the folder of its configuration while it reads it.
/// When an entry is booted, the variable may hold another folder, that of the configuration with
/// which a signed GRUB begins. If the entry cannot be booted, it reboots into the old system,
/// because it is booted only once and people would not see a menu.
fn menu_entry(command_line: &str) -> String {
    let words: Vec<_> = command_line.split_whitespace().map(quote::word).collect();
    format!(
        "\n# One-time boot entry of anemos; `anemos reset` removes it.\n\
         set anemos=\"$config_directory\"\n\
         if [ -z \"$anemos\" ]; then set anemos=\"$prefix\"; fi\n\
         menuentry 'anemos deploy environment' --id {ENTRY} --unrestricted \"$anemos\" {{\n\
         \tif linux \"$2/{FOLDER}/vmlinuz\" {}; then\n\
         \t\tif initrd \"$2/{FOLDER}/initramfs\"; then boot; fi\n\
         \tfi\n\
         \treboot\n}}\n",
        words.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::menu_entry;

    #[test]
    fn the_entry_has_every_parameter_as_one_word() {
        insta::assert_snapshot!(menu_entry("console=ttyS0,115200 a=$b;c  d='x"), @r#"

        # One-time boot entry of anemos; `anemos reset` removes it.
        set anemos="$config_directory"
        if [ -z "$anemos" ]; then set anemos="$prefix"; fi
        menuentry 'anemos deploy environment' --id anemos-deploy --unrestricted "$anemos" {
        	if linux "$2/anemos/vmlinuz" console=ttyS0,115200 'a=$b;c' 'd='\''x'; then
        		if initrd "$2/anemos/initramfs"; then boot; fi
        	fi
        	reboot
        }
        "#);
    }
}
