//! The flags that stand for keys of the configuration.

use std::path::{Path, PathBuf};

use toml::Value;

/// The options by which a command gets its configuration.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Configuration (each flag replaces one key of anemos.toml)")]
pub(crate) struct ConfigArgs {
    /// Read this configuration instead of ./anemos.toml or /etc/anemos.toml
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The digest that the payload must have
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<String>,
    /// The minisign key that the payload must be signed with
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// "running", or a kernel image
    #[arg(long, value_name = "FILE")]
    kernel: Option<String>,
    /// The modules of that kernel, the folder named like its release
    #[arg(long, value_name = "DIR")]
    modules: Option<String>,
    /// Kernel parameters to append
    #[arg(long, value_name = "TEXT")]
    command_line: Option<String>,
    /// "built-in", or a base initramfs by path or URL
    #[arg(long, value_name = "FILE")]
    base: Option<String>,
    /// The digest that the base initramfs must have
    #[arg(long, value_name = "sha256:HEX")]
    base_digest: Option<String>,
    /// inherit, dhcp, static or none
    #[arg(long, value_name = "MODE")]
    network: Option<String>,
    /// Link of a static network, by name or MAC address
    #[arg(long, value_name = "LINK")]
    link: Option<String>,
    /// Address of a static network, e.g. 192.0.2.10/24 (repeatable)
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    address: Vec<String>,
    /// Gateway of a static network, one for each family (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// Name server (repeatable)
    #[arg(long, value_name = "ADDRESS")]
    dns: Vec<String>,
    /// auto, none or all
    #[arg(long, value_name = "MODE")]
    firmware: Option<String>,
    /// One more firmware file (repeatable)
    #[arg(long, value_name = "NAME")]
    firmware_extra: Vec<String>,
    /// "root", or the disk with this serial number
    #[arg(long, value_name = "SERIAL")]
    disk: Option<String>,
    /// Another disk that deploy may write to, by its serial number (repeatable)
    #[arg(long, value_name = "SERIAL")]
    also_write: Vec<String>,
    /// auto, kexec or bootloader
    #[arg(long, value_name = "METHOD")]
    entry: Option<String>,
    /// inherit, none or a file
    #[arg(long, value_name = "FILE")]
    authorized_keys: Option<String>,
    /// keep or new
    #[arg(long, value_name = "WHICH")]
    host_keys: Option<String>,
    /// Seconds that the payload's deploy may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
    /// After a failure with the disk written: rescue, reboot or power-off
    #[arg(long, value_name = "WHAT")]
    after_commit: Option<String>,
    /// Go on although this check refuses; the refusal names it (repeatable)
    #[arg(long = "override", value_name = "CHECK")]
    overridden: Vec<String>,
}

impl ConfigArgs {
    /// A configuration that is a file alone.
    pub(crate) fn of(path: &Path) -> Self {
        Self { config: Some(path.to_owned()), ..Self::default() }
    }

    /// Puts what the flags say into `config`.
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
