//! The machine of a rehearsal: what its file says, and above that the command line.

use std::path::PathBuf;

use anyhow::Context as _;
use harness::fixture::Fixture;
use harness::machine::Bus;
use harness::machine::setup::{Setup, Way};
use harness::size::Size;
use initramfs::payload::Description;
use serde::de::DeserializeOwned;

use crate::report::Refusal;

/// What the machine is like; what is not named is as in the file, or the usual.
#[derive(Debug, clap::Args)]
pub(super) struct MachineArgs {
    /// Read the machine, and what befalls it, from this file
    #[arg(long = "machine", value_name = "FILE")]
    file: Option<PathBuf>,
    /// The simulated VPS [default: what the payload says, else debian-12]
    #[arg(long, value_name = "NAME")]
    fixture: Option<String>,
    /// How its disks are attached: virtio-blk, virtio-scsi, nvme or sata
    #[arg(long, value_name = "BUS", value_parser = word::<Bus>)]
    disk: Option<Bus>,
    /// Its memory [default: that of the fixture, or what the payload needs]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<Size>,
    /// Size of its disk [default: that of the fixture]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    disk_size: Option<Size>,
    /// Its processors
    #[arg(long, value_name = "N")]
    cpus: Option<u32>,
    /// Boot the deploy environment directly, without the VPS and the jump
    #[arg(long)]
    quick: bool,
}

impl MachineArgs {
    /// Returns the machine of the file with what the command line says instead.
    pub(super) fn setup(&self) -> anyhow::Result<Setup> {
        let mut setup = match &self.file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading {}", path.display()))?;
                parse(&text).map_err(|reason| {
                    let what = format!("{} describes no machine: {reason}", path.display());
                    Refusal::new(what, "harness/README.md lists the keys")
                })?
            }
            None => Setup::default(),
        };
        setup.fixture = self.fixture.clone().or(setup.fixture);
        setup.memory = self.memory.or(setup.memory);
        setup.cpus = self.cpus.or(setup.cpus);
        if let Some(bus) = self.disk {
            setup.system_disk_mut().bus = bus;
        }
        if let Some(size) = self.disk_size {
            setup.system_disk_mut().size = Some(size);
        }
        if self.quick {
            setup.entry = Way::Direct;
        }
        Ok(setup)
    }
}

fn parse(text: &str) -> Result<Setup, String> {
    toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())
}

/// Refuses a machine that the fixture's kernel has no drivers for.
pub(super) fn check(setup: &Setup, fixture: &Fixture) -> anyhow::Result<()> {
    let (known, bus) = (&fixture.description.buses, setup.system_disk().bus);
    if known.contains(&bus) {
        return Ok(());
    }
    let names: Vec<_> = known.iter().map(|bus| name(*bus)).collect();
    let reason = format!("fixture {} finds no disk on {}", fixture.name, name(bus));
    Err(Refusal::new(reason, format!("use --disk {}", names.join(" or "))).into())
}

/// Decides what neither file nor command line did.
pub(super) fn complete(setup: &mut Setup, payload: &Description, fixture: &Fixture) {
    let needed = Size::of_bytes(payload.settings.memory.unwrap_or(0));
    setup.memory.get_or_insert(fixture.description.memory.max(needed));
}

/// Reads a word as files have it.
fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = toml::Value::from(text);
    value.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// The name of a bus as it is written on the command line.
fn name(bus: Bus) -> String {
    toml::Value::try_from(bus)
        .map_or_else(|_| String::new(), |name| name.as_str().unwrap_or_default().to_owned())
}

/// Reads a size with its unit.
fn size(text: &str) -> Result<Size, String> {
    Size::parse(text).ok_or_else(|| "use a size such as 512M or 4G".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_buses_are_read_and_written_alike() {
        for text in ["virtio-blk", "virtio-scsi", "nvme", "sata"] {
            assert_eq!(word::<Bus>(text).map(name).as_deref(), Ok(text));
        }
        assert!(word::<Bus>("ide").unwrap_err().contains("unknown variant `ide`"));
    }
}
