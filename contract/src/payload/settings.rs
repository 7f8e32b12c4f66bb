//! `payload.toml`: what a payload says about itself, including how it wants to be rehearsed.

use serde::{Deserialize, Serialize};
use toml::Spanned;
use toml::de::DeTable;

use crate::payload::PayloadError;

/// The name of the file.
pub(super) const FILE: &str = "payload.toml";
const KEYS: [&str; 10] = [
    "name",
    "memory",
    "disk-size",
    "tools",
    "expect",
    "fixture",
    "firmware",
    "disks",
    "sectors",
    "network",
];
/// Words of `firmware`.
const FIRMWARE: &[&str] = &["bios", "uefi", "uefi-secure"];
/// Numbers of `sectors`.
const SECTORS: &[u64] = &[512, 4096];
/// Words of `disks`.
const BUSES: &[&str] = &["virtio-blk", "virtio-scsi", "nvme", "sata"];

/// The keys of `payload.toml`, all optional.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// What people call the payload.
    pub name: Option<String>,
    /// Minimum memory of the machine, in bytes; written as `"512M"` or `"2G"`.
    #[serde(deserialize_with = "optional_size")]
    pub memory: Option<u64>,
    /// Minimum size of the disk, in bytes; written as `"2G"`.
    #[serde(deserialize_with = "optional_size")]
    pub disk_size: Option<u64>,
    /// Programs that `deploy` calls, beyond those in every base.
    pub tools: Vec<String>,
    /// Regular expression that the console of the new system must match.
    pub expect: Option<String>,
    /// The fixture to rehearse on.
    pub fixture: Option<String>,
    /// Platform firmware that the new system can boot with: `bios`, `uefi`, `uefi-secure`.
    pub firmware: Vec<String>,
    /// Buses of disks that it can boot from: `virtio-blk`, `virtio-scsi`, `nvme`, `sata`.
    pub disks: Vec<String>,
    /// Sector sizes in bytes that it can boot from: 512, 4096.
    pub sectors: Vec<u64>,
    /// Whether `deploy` needs a network; if absent, it does.
    pub network: Option<bool>,
}

/// Parses the text of a `payload.toml`.
pub(super) fn parse(text: &str) -> Result<Settings, PayloadError> {
    let refuse = |error: toml::de::Error| {
        let line = line_of(text, error.span().map_or(0, |span| span.start));
        at(line, error.message().replace('\n', " "), "the keys are ", &KEYS.join(", "))
    };
    let table = DeTable::parse(text).map_err(refuse)?;
    for key in table.get_ref().keys() {
        check_key(text, key)?;
    }
    let settings: Settings = toml::from_str(text).map_err(refuse)?;
    let line_of_key = |name: &str| {
        let key = table.get_ref().keys().find(|key| key.get_ref().as_ref() == name);
        line_of(text, key.map_or(0, |key| key.span().start))
    };
    if let Some(Err(error)) = settings.expect.as_deref().map(regex::Regex::new) {
        let reason = error.to_string().lines().last().unwrap_or_default().to_owned();
        let reason = format!("expect is not a regular expression: {reason}");
        return Err(at(
            line_of_key("expect"),
            reason,
            "the syntax is that of the Rust crate ",
            "regex",
        ));
    }
    if let Some(tool) = settings.tools.iter().find(|tool| tool.is_empty() || tool.contains('/')) {
        let reason = format!("{tool:?} is not the name of a program");
        return Err(at(
            line_of_key("tools"),
            reason,
            "name programs without their folder: ",
            "sfdisk",
        ));
    }
    for (key, words, known) in
        [("firmware", &settings.firmware, FIRMWARE), ("disks", &settings.disks, BUSES)]
    {
        if let Some(word) = words.iter().find(|word| !known.contains(&word.as_str())) {
            let reason = format!("{key} knows no {word:?}");
            return Err(at(line_of_key(key), reason, "the words are ", &known.join(", ")));
        }
    }
    if let Some(sector) = settings.sectors.iter().find(|size| !SECTORS.contains(size)) {
        let reason = format!("sectors knows no {sector}");
        return Err(at(line_of_key("sectors"), reason, "a sector has 512 or 4096 bytes", ""));
    }
    Ok(settings)
}

fn check_key(text: &str, key: &Spanned<std::borrow::Cow<'_, str>>) -> Result<(), PayloadError> {
    let name = key.get_ref().as_ref();
    if KEYS.contains(&name) {
        return Ok(());
    }
    let line = line_of(text, key.span().start);
    let nearest = KEYS
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(distance, _)| *distance <= 3)
        .min();
    let reason = format!("unknown key {name}");
    Err(match nearest {
        Some((_, known)) => at(line, reason, "did you mean ", known),
        None => at(line, reason, "the keys are ", &KEYS.join(", ")),
    })
}

fn at(line: usize, reason: String, hint: &str, names: &str) -> PayloadError {
    PayloadError::Text { member: FILE.to_owned(), line, reason, hint: format!("{hint}{names}") }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// Parses sizes as QEMU and systemd write them: binary multiples named K, M, G, T.
fn size(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(['K', 'M', 'G', 'T']);
    let shift = match text.strip_prefix(digits)? {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn optional_size<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Size {
        Text(String),
        Bytes(u64),
        None(()),
    }
    match Size::deserialize(deserializer)? {
        Size::None(()) => Ok(None),
        Size::Bytes(bytes) => Ok(Some(bytes)),
        Size::Text(text) => size(&text).map(Some).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is not a size such as \"512M\" or \"2G\""))
        }),
    }
}
