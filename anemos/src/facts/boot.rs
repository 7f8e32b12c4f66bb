//! How the machine was booted, and whether it can execute another kernel.

use contract::boot_entry::{GLOBAL, VARIABLES};
use contract::firmware::Firmware;
use serde::{Deserialize, Serialize};

use super::root::Root;

/// The file that shows whether a kernel is loaded (Linux, `kernel/ksysfs.c`).
const LOADED: &str = "sys/kernel/kexec_loaded";

/// How this kernel treats executing another one.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Kexec {
    pub(crate) permission: Permission,
    /// Whether a kernel is loaded already.
    pub(crate) loaded: bool,
    pub(crate) lockdown: Lockdown,
    /// Whether the platform firmware checks signatures.
    pub(crate) secure_boot: bool,
}

/// Whether another kernel may be executed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Permission {
    Allowed,
    /// It may not, because the sysctl `kernel.kexec_load_disabled` is set.
    Disabled,
    /// The kernel was built without kexec.
    NotBuiltIn,
}

/// How far the kernel is protected from root.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lockdown {
    #[default]
    None,
    Integrity,
    Confidentiality,
}

pub(super) fn firmware(root: &Root) -> Firmware {
    if root.path("sys/firmware/efi").exists() { Firmware::Uefi } else { Firmware::Bios }
}

pub(super) fn kexec(root: &Root) -> Kexec {
    let loaded = root.may(LOADED);
    let disabled = root.may("proc/sys/kernel/kexec_load_disabled");
    Kexec {
        permission: match (disabled.as_deref(), &loaded) {
            (None, None) => Permission::NotBuiltIn,
            (None | Some("0"), _) => Permission::Allowed,
            (Some(_), _) => Permission::Disabled,
        },
        loaded: is_loaded(root),
        lockdown: lockdown(&root.may("sys/kernel/security/lockdown").unwrap_or_default()),
        secure_boot: secure_boot(root),
    }
}

/// Returns whether a kernel is loaded that kexec would execute.
pub(super) fn is_loaded(root: &Root) -> bool {
    root.may(LOADED).is_some_and(|text| text != "0")
}

/// Parses e.g. `none [integrity] confidentiality`.
fn lockdown(text: &str) -> Lockdown {
    match text.split_whitespace().find(|word| word.starts_with('[')) {
        Some("[integrity]") => Lockdown::Integrity,
        Some("[confidentiality]") => Lockdown::Confidentiality,
        _ => Lockdown::None,
    }
}

/// Reads the variable of the firmware: four bytes of attributes, then one that is 1 if it is on.
fn secure_boot(root: &Root) -> bool {
    let variable = format!("{VARIABLES}/SecureBoot-{GLOBAL}");
    std::fs::read(root.path(variable)).is_ok_and(|bytes| bytes.get(4) == Some(&1))
}

/// Returns the consoles of the kernel command line, or else those that are active.
pub(super) fn consoles(root: &Root, command_line: &str) -> Vec<String> {
    let named = consoles_of(command_line);
    if !named.is_empty() {
        return named;
    }
    let active = root.may("sys/class/tty/console/active").unwrap_or_default();
    active.split_whitespace().map(str::to_owned).collect()
}

/// Returns the consoles of a kernel command line in its order, each with only its speed.
pub(crate) fn consoles_of(command_line: &str) -> Vec<String> {
    let mut consoles = Vec::new();
    for value in command_line.split_whitespace().filter_map(|word| word.strip_prefix("console=")) {
        let (device, options) = value.split_once(',').unwrap_or((value, ""));
        let speed: String = options.chars().take_while(char::is_ascii_digit).collect();
        let console =
            if speed.is_empty() { device.to_owned() } else { format!("{device},{speed}") };
        if !console.is_empty() && !consoles.contains(&console) {
            consoles.push(console);
        }
    }
    consoles
}

#[cfg(test)]
mod tests {
    use super::{Lockdown, consoles_of, lockdown};

    #[test]
    fn lockdown_is_the_word_in_brackets() {
        for (text, want) in [
            ("[none] integrity confidentiality", Lockdown::None),
            ("none [integrity] confidentiality", Lockdown::Integrity),
            ("none integrity [confidentiality]", Lockdown::Confidentiality),
            ("", Lockdown::None),
        ] {
            assert_eq!(lockdown(text), want, "{text:?}");
        }
    }

    #[test]
    fn consoles_keep_their_order_and_speed() {
        for (line, want) in [
            ("ro console=tty0 console=ttyS0,115200n8 quiet", vec!["tty0", "ttyS0,115200"]),
            ("console=ttyS0 console=ttyS0", vec!["ttyS0"]),
            ("console=ttyAMA0,38400 earlycon", vec!["ttyAMA0,38400"]),
            ("console= quiet", vec![]),
            ("quiet", vec![]),
        ] {
            assert_eq!(consoles_of(line), want, "{line}");
        }
    }
}
