//! The sections of `anemos.toml`, their keys and defaults.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::values::{
    Base, Digest, KernelSource, Keys, Location, Prefixed, PublicKey, Select, Selector,
};
use crate::refusal::check::Check;
use crate::report::Refused;
use contract::deploy::AfterCommit;

/// The settings of a deployment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) payload: PayloadConfig,
    pub(crate) kernel: KernelConfig,
    pub(crate) initramfs: InitramfsConfig,
    pub(crate) network: NetworkConfig,
    pub(crate) firmware: FirmwareConfig,
    pub(crate) disk: DiskConfig,
    pub(crate) entry: EntryConfig,
    pub(crate) access: AccessConfig,
    pub(crate) failure: FailureConfig,
    pub(crate) preflight: PreflightConfig,
}

/// The checks before anything is changed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PreflightConfig {
    /// Checks that do not refuse anything.
    #[serde(rename = "override")]
    pub(crate) overridden: Vec<Check>,
}

/// What is deployed.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct PayloadConfig {
    /// The payload, unless the command line names it.
    pub(crate) source: Option<Location>,
    /// The digest that it must have.
    pub(crate) digest: Option<Digest>,
    /// The key that it must be signed with.
    pub(crate) public_key: Option<PublicKey>,
}

/// The kernel of the deploy environment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct KernelConfig {
    pub(crate) source: KernelSource,
    /// Its modules, the folder named like the release; required with a custom kernel.
    pub(crate) modules: Option<PathBuf>,
    /// Parameters that are appended to the kernel command line.
    pub(crate) command_line: String,
}

/// The base initramfs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct InitramfsConfig {
    pub(crate) base: Base,
    /// The digest that it must have.
    pub(crate) digest: Option<Digest>,
}

/// The network of the deploy environment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct NetworkConfig {
    pub(crate) mode: NetworkMode,
    /// Name or MAC address of the link of `static`; only required if there are several.
    pub(crate) link: Option<String>,
    pub(crate) address: Vec<Prefixed>,
    /// One for each address family.
    pub(crate) gateway: Vec<IpAddr>,
    pub(crate) dns: Vec<IpAddr>,
}

/// Where the network of the deploy environment comes from.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum NetworkMode {
    /// The addresses and routes of the running system.
    #[default]
    Inherit,
    Dhcp,
    Static,
    None,
}

/// Firmware files that go into the deploy environment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FirmwareConfig {
    pub(crate) mode: FirmwareMode,
    /// More files, named below the firmware folder.
    pub(crate) extra: Vec<String>,
}

/// Selects the firmware files.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FirmwareMode {
    /// What the modules ask for.
    #[default]
    Auto,
    None,
    All,
}

/// The disk that is overwritten.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DiskConfig {
    pub(crate) select: Select,
    /// Other disks that `deploy` may write to.
    pub(crate) also_write: Vec<Selector>,
}

/// The way into the deploy environment.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EntryConfig {
    pub(crate) method: EntryMethod,
}

/// How the machine gets into the deploy environment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum EntryMethod {
    #[default]
    Auto,
    Kexec,
    Bootloader,
}

/// Who can log in to the deploy environment and the new system.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct AccessConfig {
    pub(crate) authorized_keys: Keys,
    pub(crate) host_keys: HostKeys,
}

/// Which SSH host keys are offered to the new system.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum HostKeys {
    /// Those of the running system.
    #[default]
    Keep,
    /// None, so that it makes its own.
    New,
}

/// What happens if the deployment fails.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FailureConfig {
    /// Seconds that `deploy` may take.
    pub(crate) timeout: u64,
    /// What to do with a machine whose disk was written.
    pub(crate) after_commit: AfterCommit,
}

impl Default for FailureConfig {
    fn default() -> Self {
        Self { timeout: 3600, after_commit: AfterCommit::default() }
    }
}

impl Config {
    pub(super) fn deserialize_table(table: toml::Table) -> Result<Self, toml::de::Error> {
        Self::deserialize(table)
    }

    /// Refuses combinations of keys that are only valid one by one.
    pub(super) fn check(&self) -> Result<(), Refused> {
        self.check_network()?;
        if self.disk.also_write.contains(&Selector::default()) {
            return Err(Refused::new(
                "[disk] also-write has a table that selects no disk",
                "write e.g. also-write = [{ serial = \"S4EWNX0M123456\" }]",
            ));
        }
        if self.initramfs.base == Base::BuiltIn && self.initramfs.digest.is_some() {
            return Err(Refused::new(
                "[initramfs] has a digest, but the built-in base has none to compare",
                "name a base by path or URL, or drop the digest",
            ));
        }
        Ok(())
    }

    fn check_network(&self) -> Result<(), Refused> {
        let network = &self.network;
        let addressed = !network.address.is_empty() || !network.gateway.is_empty();
        match (network.mode == NetworkMode::Static, network.address.is_empty()) {
            (true, true) => Err(Refused::new(
                "[network] mode is \"static\", but there is no address",
                "add address = [\"192.0.2.10/24\"], or use mode \"inherit\" or \"dhcp\"",
            )),
            (false, _) if addressed => Err(Refused::new(
                "[network] has addresses, but its mode is not \"static\"",
                "set mode = \"static\", or drop address and gateway",
            )),
            _ => Ok(()),
        }
    }
}

/// Keys whose value is a path unless it is one of the key's words or a URL.
const PATHS: [(&str, &str); 5] = [
    ("payload", "source"),
    ("kernel", "source"),
    ("kernel", "modules"),
    ("initramfs", "base"),
    ("access", "authorized-keys"),
];
const WORDS: [&str; 4] = ["running", "built-in", "inherit", "none"];

/// Makes relative paths in a file relative to the file's folder.
pub(super) fn resolve_paths(table: &mut toml::Table, folder: &Path) {
    for (section, key) in PATHS {
        let value = table.get_mut(section).and_then(|section| section.get_mut(key));
        if let Some(toml::Value::String(text)) = value
            && !WORDS.contains(&text.as_str())
            && !text.contains("://")
        {
            *text = folder.join(&*text).to_string_lossy().into_owned();
        }
    }
}
