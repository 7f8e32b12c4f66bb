//! Words that the judge looks for and uses.

use crate::classify::Class;

/// Returns whether the first process itself said what it could not do without.
pub(super) fn stopped_by_a_unit(class: Class) -> bool {
    matches!(class, Class::Emergency | Class::InitDied)
}

/// Returns whether a line is a boot loader's prompt, which waits until somebody types.
pub(super) fn is_prompt(line: &str) -> bool {
    ["grub>", "grub rescue>"].iter().any(|prompt| line.contains(prompt))
}

pub(super) fn times(number: u32) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

/// Returns whether a line of the screen is blank or from firmware or boot sector.
pub(super) fn is_firmwares(line: &str) -> bool {
    const WORDS: &[&str] = &["SeaBIOS", "iPXE", "Booting from", "Machine UUID", "Press "];
    // The only word of GRUB's boot sector, printed again whenever it leads back to itself.
    let boot_sector = line.split_whitespace().all(|word| word == "GRUB");
    boot_sector || WORDS.iter().any(|word| line.trim_start().starts_with(word))
}
