//! Renders the effective configuration in one form, so that two can be compared key by key.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::Serialize;

use crate::config::{
    AccessConfig, Config, DiskConfig, EntryConfig, FailureConfig, FirmwareConfig, InitramfsConfig,
    KernelConfig, Keys, NetworkConfig, PayloadConfig, Prefixed, Select,
};

/// Renders every key with its value, unless a file represents it better.
///
/// Payload, base and kernel are known by their digests, wherever they are. Each new key needs a
/// decision here.
pub(super) fn effective(config: &Config) -> BTreeMap<String, String> {
    let Config {
        payload: PayloadConfig { source: _, digest: _, public_key: _ },
        kernel: KernelConfig { source: _, modules, command_line },
        initramfs: InitramfsConfig { base: _, digest: _ },
        network: NetworkConfig { mode, link, address, gateway, dns },
        firmware: FirmwareConfig { mode: firmware, extra },
        disk: DiskConfig { select, also_write },
        entry: EntryConfig { method },
        access: AccessConfig { authorized_keys, host_keys },
        failure: FailureConfig { timeout, after_commit },
        preflight,
    } = config;
    let release = modules.as_deref().and_then(|folder| folder.file_name());
    let prefixed = |it: &Prefixed| format!("{}/{}", it.address, it.prefix);
    let pairs = [
        ("kernel.modules", release.map_or("-".to_owned(), |it| it.to_string_lossy().into_owned())),
        ("kernel.command-line", or_none(command_line)),
        ("network.mode", word(mode)),
        ("network.link", or_none(link.as_deref().unwrap_or_default())),
        ("network.address", list(&address.iter().map(prefixed).collect::<Vec<_>>())),
        ("network.gateway", list(gateway)),
        ("network.dns", list(dns)),
        ("firmware.mode", word(firmware)),
        ("firmware.extra", list(extra)),
        (
            "disk.select",
            match select {
                Select::Root => "root".to_owned(),
                Select::By(selector) => selector.to_string(),
            },
        ),
        ("disk.also-write", list(also_write)),
        ("entry.method", word(method)),
        (
            "access.authorized-keys",
            match authorized_keys {
                Keys::Inherit => "inherit".to_owned(),
                Keys::None => "none".to_owned(),
                Keys::File(path) => path.display().to_string(),
            },
        ),
        ("access.host-keys", word(host_keys)),
        ("failure.timeout", timeout.to_string()),
        ("failure.after-commit", word(after_commit)),
        ("preflight.override", list(&preflight.overridden.iter().map(word).collect::<Vec<_>>())),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Returns the word of the configuration for a value.
fn word(value: &impl Serialize) -> String {
    // These types only serialize to words.
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

fn list(values: &[impl Display]) -> String {
    let values: Vec<_> = values.iter().map(ToString::to_string).collect();
    or_none(&values.join("; "))
}

fn or_none(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// Returns the usual notation for a key: `[failure] timeout`.
pub(super) fn name(key: &str) -> String {
    let (section, key) = key.split_once('.').unwrap_or(("", key));
    format!("[{section}] {key}")
}
