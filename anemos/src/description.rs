//! From facts and configuration to the deploy description and the kernel command line.

use initramfs::deploy::{Deploy, PayloadMember};
use initramfs::disk::DiskIdentity;
use initramfs::network::{Address, Link, Network, Restore, Route};

use crate::config::{Config, NetworkConfig, NetworkMode, Select, Selector};
use crate::facts::{Disk, Facts};
use crate::prepare::Payload;
use crate::report::Refusal;

/// Parameters of the running kernel that speak of its hardware, so hold for the next one too.
const HARDWARE: &[&str] = &[
    "acpi",
    "amd_iommu",
    "clocksource",
    "console",
    "earlycon",
    "earlyprintk",
    "hpet",
    "intel_iommu",
    "iommu",
    "irqpoll",
    "libata.force",
    "memmap",
    "net.ifnames",
    "noapic",
    "nolapic",
    "nomodeset",
    "nvme_core.default_ps_max_latency_us",
    "pci",
    "pcie_aspm",
    "reboot",
    "tsc",
    "xen_emul_unplug",
];

/// Parameters of the deploy environment.
///
/// `rootfstype=ramfs`: the tmpfs that is used otherwise holds half of the memory at the most
/// (Linux, `filesystems/ramfs-rootfs-initramfs.rst`). `panic=30`: a panic reboots into the
/// old system, and half a minute lets people read it.
const OURS: &str = "rootfstype=ramfs panic=30";

/// Renders the kernel command line of the deploy environment.
pub(crate) fn command_line(running: &str, extra: &str) -> String {
    let is_hardware = |word: &&str| {
        let name = word.split('=').next().unwrap_or(word);
        HARDWARE.contains(&name)
    };
    let kept = running.split_whitespace().filter(is_hardware);
    kept.chain(OURS.split(' ')).chain(extra.split_whitespace()).collect::<Vec<_>>().join(" ")
}

/// Describes the deployment for PID 1.
pub(crate) fn describe(
    facts: &Facts,
    config: &Config,
    payload: &Payload,
    modules: &[String],
) -> Result<Deploy, Refusal> {
    let found = &payload.description;
    let network = new_network(facts, &config.network)?;
    Ok(Deploy {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        hostname: facts.hostname.clone(),
        firmware: facts.firmware,
        arch: facts.arch.clone(),
        console: facts.consoles.last().cloned(),
        disk: identity(facts, config)?,
        restore: restore(&network, config.network.mode),
        network,
        modules: modules.to_vec(),
        payload: PayloadMember {
            name: payload.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            size: found.size,
            sha256: found.sha256.clone(),
            unpacked_limit: found.unpacked,
        },
        deploy_limit_secs: config.failure.timeout,
        // Not the present moment: the same inputs shall give the same bytes.
        written_at: payload.changed_at,
    })
}

/// The identity of the selected disk; of one that is not here, the selector is all we know.
fn identity(facts: &Facts, config: &Config) -> Result<DiskIdentity, Refusal> {
    match (selected(facts, config)?, &config.disk.select) {
        (Some(disk), _) => Ok(disk.candidate.identity.clone()),
        (None, Select::By(Selector { serial, wwn, table_id, size, .. })) => Ok(DiskIdentity {
            serial: serial.clone(),
            wwn: wwn.clone(),
            table_id: table_id.clone(),
            bus_path: None,
            size: *size,
        }),
        (None, Select::Root) => Err(Refusal::new(
            "the disk below / was not found",
            "name the disk as [disk] select, e.g. { serial = \"...\" }; `anemos facts` lists them",
        )),
    }
}

/// Finds the selected disk among those of this machine.
pub(crate) fn selected<'f>(facts: &'f Facts, config: &Config) -> Result<Option<&'f Disk>, Refusal> {
    let found: Vec<_> = match &config.disk.select {
        Select::Root => {
            let is_root = |disk: &&Disk| facts.root_disks.contains(&disk.candidate.name);
            facts.disks.iter().filter(is_root).collect()
        }
        Select::By(selector) => facts.disks.iter().filter(|disk| fits(selector, disk)).collect(),
    };
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        several => {
            let names: Vec<_> = several.iter().map(|disk| disk.candidate.name.as_str()).collect();
            Err(Refusal::new(
                format!("several disks are selected: {}", names.join(", ")),
                "name one of them as [disk] select, e.g. { serial = \"...\" }",
            ))
        }
    }
}

fn fits(selector: &Selector, disk: &Disk) -> bool {
    let identity = &disk.candidate.identity;
    let same = |wanted: &Option<String>, seen: &Option<String>| wanted.is_none() || wanted == seen;
    same(&selector.serial, &identity.serial)
        && same(&selector.wwn, &identity.wwn)
        && same(&selector.table_id, &identity.table_id)
        && (selector.size.is_none() || selector.size == identity.size)
        && selector.by_id.as_ref().is_none_or(|name| disk.by_id.contains(name))
}

/// The network that the new system is offered.
fn new_network(facts: &Facts, config: &NetworkConfig) -> Result<Network, Refusal> {
    let mut network = facts.network.clone();
    if config.mode == NetworkMode::Static {
        let link = static_link(&facts.network, config.link.as_deref())?;
        let addresses = config.address.iter();
        let addresses = addresses
            .map(|one| Address { address: one.address, prefix: one.prefix, dynamic: false })
            .collect();
        network.routes =
            config.gateway.iter().map(|via| default_route(link, config, *via)).collect();
        network.links = vec![Link { addresses, ..link.clone() }];
    }
    if !config.dns.is_empty() {
        network.resolvers.clone_from(&config.dns);
    }
    Ok(network)
}

fn static_link<'n>(network: &'n Network, wanted: Option<&str>) -> Result<&'n Link, Refusal> {
    let fits = |link: &&Link| wanted.is_none_or(|wanted| link.name == wanted || link.mac == wanted);
    let mut links = network.links.iter().filter(fits);
    match (links.next(), links.next()) {
        (Some(link), None) => Ok(link),
        (None, _) => Err(Refusal::new(
            format!("there is no link {}", wanted.unwrap_or("with hardware")),
            "`anemos facts` lists the links of this machine",
        )),
        (Some(_), Some(_)) => Err(Refusal::new(
            "there are several links, and [network] says not which one",
            "name it as [network] link, by name or MAC address",
        )),
    }
}

/// A gateway outside of every prefix is reached on the link all the same.
fn default_route(link: &Link, config: &NetworkConfig, gateway: std::net::IpAddr) -> Route {
    let unspecified: std::net::IpAddr = match gateway {
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let inside = config.address.iter().any(|one| shares_prefix(one.address, one.prefix, gateway));
    Route {
        link: link.name.clone(),
        destination: unspecified,
        prefix: 0,
        gateway: Some(gateway),
        on_link: !inside,
        metric: None,
        source: None,
    }
}

fn shares_prefix(address: std::net::IpAddr, prefix: u8, other: std::net::IpAddr) -> bool {
    use std::net::IpAddr::{V4, V6};
    let prefix = u32::from(prefix);
    match (address, other) {
        (V4(one), V4(two)) => {
            (one.to_bits() ^ two.to_bits()).checked_shr(32 - prefix).unwrap_or(0) == 0
        }
        (V6(one), V6(two)) => {
            (one.to_bits() ^ two.to_bits()).checked_shr(128 - prefix).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// What the deploy environment does about its network.
fn restore(network: &Network, mode: NetworkMode) -> Restore {
    match mode {
        NetworkMode::None => Restore::None,
        NetworkMode::Dhcp => Restore::Dhcp { macs: Vec::new() },
        // A lease is good for longer than a deployment takes: the running addresses hold.
        NetworkMode::Inherit | NetworkMode::Static => {
            let links = network.links.iter().filter(|link| !link.addresses.is_empty());
            let network = Network { links: links.cloned().collect(), ..network.clone() };
            if network.links.is_empty() { Restore::None } else { Restore::Static(network) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardware_parameters_are_kept_and_root_is_dropped() {
        for (running, extra, want) in [
            (
                "BOOT_IMAGE=/boot/vmlinuz root=UUID=1 ro quiet console=tty0 console=ttyS0,115200",
                "",
                "console=tty0 console=ttyS0,115200 rootfstype=ramfs panic=30",
            ),
            (
                "nomodeset resume=UUID=2 acpi=off",
                "a=b c",
                "nomodeset acpi=off rootfstype=ramfs panic=30 a=b c",
            ),
        ] {
            assert_eq!(command_line(running, extra), want);
        }
    }

    #[test]
    fn a_gateway_is_on_the_link_when_no_prefix_reaches_it() {
        for (address, prefix, gateway, want) in [
            ("192.0.2.10", 24, "192.0.2.1", true),
            ("198.51.100.7", 32, "172.31.1.1", false),
            ("2001:db8::7", 64, "2001:db8::1", true),
            ("2001:db8::7", 64, "fe80::1", false),
            ("192.0.2.10", 0, "10.0.0.1", true),
        ] {
            let shares = shares_prefix(address.parse().unwrap(), prefix, gateway.parse().unwrap());
            assert_eq!(shares, want, "{address}/{prefix} {gateway}");
        }
    }
}
