//! The flags that replace keys of the configuration.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use toml::Value;

use crate::refusal::check::Check;

/// The heading of the options that select what is deployed.
pub(crate) const WHAT: &str = "What to deploy";
/// The heading of the options that replace keys of the configuration.
const CONFIGURATION: &str = "Configuration (each flag replaces one key of anemos.toml)";

/// The options by which a command gets its configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Read this configuration instead of ./anemos.toml or /etc/anemos.toml
    #[arg(short, long, value_name = "FILE", help_heading = CONFIGURATION)]
    pub(crate) config: Option<PathBuf>,
    /// Refuse a payload with another digest
    #[arg(long, value_name = "sha256:HEX", help_heading = WHAT)]
    digest: Option<String>,
    /// Refuse a payload that this minisign key has not signed
    #[arg(long, value_name = "KEY", help_heading = WHAT)]
    public_key: Option<String>,
    /// Kernel of the deploy environment: "running", or an image
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    kernel: Option<String>,
    /// Modules of that kernel: the folder named after its release
    #[arg(long, value_name = "DIR", help_heading = CONFIGURATION)]
    modules: Option<String>,
    /// Append these kernel parameters
    #[arg(long, value_name = "TEXT", help_heading = CONFIGURATION)]
    command_line: Option<String>,
    /// Base initramfs: "built-in", a path or a URL
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    base: Option<String>,
    /// Refuse a base initramfs with another digest
    #[arg(long, value_name = "sha256:HEX", help_heading = CONFIGURATION)]
    base_digest: Option<String>,
    /// Network of the deploy environment: inherit, dhcp, static or none
    #[arg(long, value_name = "MODE", value_parser = ["inherit", "dhcp", "static", "none"], hide_possible_values = true, help_heading = CONFIGURATION)]
    network: Option<String>,
    /// Link of a static network, by name or MAC address
    #[arg(long, value_name = "LINK", help_heading = CONFIGURATION)]
    link: Option<String>,
    /// Address of a static network, e.g. 192.0.2.10/24 (repeatable)
    #[arg(long, value_name = "ADDRESS/PREFIX", help_heading = CONFIGURATION)]
    address: Vec<String>,
    /// Gateway of a static network, one for each family (repeatable)
    #[arg(long, value_name = "ADDRESS", help_heading = CONFIGURATION)]
    gateway: Vec<String>,
    /// Name server (repeatable)
    #[arg(long, value_name = "ADDRESS", help_heading = CONFIGURATION)]
    dns: Vec<String>,
    /// Firmware files to take along: auto, none or all
    #[arg(long, value_name = "MODE", value_parser = ["auto", "none", "all"], hide_possible_values = true, help_heading = CONFIGURATION)]
    firmware: Option<String>,
    /// Take this firmware file along too (repeatable)
    #[arg(long, value_name = "NAME", help_heading = CONFIGURATION)]
    firmware_extra: Vec<String>,
    /// Disk to write: "root", or a serial number
    #[arg(long, value_name = "SERIAL", help_heading = CONFIGURATION)]
    disk: Option<String>,
    /// Let deploy write to this disk too, by its serial number (repeatable)
    #[arg(long, value_name = "SERIAL", help_heading = CONFIGURATION)]
    also_write: Vec<String>,
    /// How to enter the deploy environment: auto, kexec or bootloader
    #[arg(long, value_name = "METHOD", value_parser = ["auto", "kexec", "bootloader"], hide_possible_values = true, help_heading = CONFIGURATION)]
    entry: Option<String>,
    /// SSH keys that may log in: inherit, none or a file
    #[arg(long, value_name = "FILE", help_heading = CONFIGURATION)]
    authorized_keys: Option<String>,
    /// SSH host keys: keep or new
    #[arg(long, value_name = "WHICH", value_parser = ["keep", "new"], hide_possible_values = true, help_heading = CONFIGURATION)]
    host_keys: Option<String>,
    /// End the payload's deploy after this time
    #[arg(long, value_name = "SECONDS", help_heading = CONFIGURATION)]
    timeout: Option<u32>,
    /// What to do if deploy fails after the disk was written: rescue, reboot or power-off
    #[arg(long, value_name = "WHAT", value_parser = ["rescue", "reboot", "power-off"], hide_possible_values = true, help_heading = CONFIGURATION)]
    after_commit: Option<String>,
    /// Go on even if this check refuses; the refusal names the check (repeatable)
    #[arg(long = "override", value_name = "CHECK", value_parser = checks(), hide_possible_values = true, help_heading = CONFIGURATION)]
    overridden: Vec<String>,
}

impl ConfigArgs {
    /// Returns the arguments for a configuration that is only a file.
    pub(crate) fn of(path: &Path) -> Self {
        Self { config: Some(path.to_owned()), ..Self::default() }
    }

    /// Puts the values of the flags into `config`.
    pub(super) fn override_in(&self, config: &mut toml::Table) {
        let mut set = |section: &str, key: &str, value: Option<Value>| {
            let section = config.entry(section).or_insert_with(|| toml::Table::new().into());
            if let (Some(section), Some(value)) = (section.as_table_mut(), value) {
                section.insert(key.to_owned(), value);
            }
        };
        set("payload", "digest", text(self.digest.as_deref()));
        set("payload", "public-key", text(self.public_key.as_deref()));
        set("kernel", "source", text(self.kernel.as_deref()));
        set("kernel", "modules", text(self.modules.as_deref()));
        set("kernel", "command-line", text(self.command_line.as_deref()));
        set("initramfs", "base", text(self.base.as_deref()));
        set("initramfs", "digest", text(self.base_digest.as_deref()));
        set("network", "mode", text(self.network.as_deref()));
        set("network", "link", text(self.link.as_deref()));
        set("network", "address", list(&self.address));
        set("network", "gateway", list(&self.gateway));
        set("network", "dns", list(&self.dns));
        set("firmware", "mode", text(self.firmware.as_deref()));
        set("firmware", "extra", list(&self.firmware_extra));
        set("disk", "select", self.disk.as_deref().map(select));
        let also: Vec<_> = self.also_write.iter().map(|serial| by_serial(serial)).collect();
        set("disk", "also-write", (!also.is_empty()).then(|| also.into()));
        set("entry", "method", text(self.entry.as_deref()));
        set("access", "authorized-keys", text(self.authorized_keys.as_deref()));
        set("access", "host-keys", text(self.host_keys.as_deref()));
        set("failure", "after-commit", text(self.after_commit.as_deref()));
        set("preflight", "override", list(&self.overridden));
        set("failure", "timeout", self.timeout.map(|seconds| i64::from(seconds).into()));
    }
}

/// Takes the names of all checks that can be overridden.
fn checks() -> PossibleValuesParser {
    PossibleValuesParser::new(Check::ALL.map(Check::name))
}

fn text(flag: Option<&str>) -> Option<Value> {
    flag.map(Value::from)
}

fn list(flags: &[String]) -> Option<Value> {
    (!flags.is_empty()).then(|| Value::from(flags.to_vec()))
}

fn select(disk: &str) -> Value {
    match disk {
        "root" => disk.into(),
        serial => by_serial(serial),
    }
}

fn by_serial(serial: &str) -> Value {
    toml::Table::from_iter([("serial".to_owned(), serial.into())]).into()
}
