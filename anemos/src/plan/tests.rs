//! Tests plans made from facts, as people and PID 1 read them.

use contract::disk::DiskIdentity;
use contract::network::{Address, Link, Network, Restore, Route};
use contract::payload::{Compression, Description, Kind, Settings};

use super::{Inputs, KeyCount, Plan, Purpose, Sizes, plan};
use crate::config::{Config, KernelSource};
use crate::facts::{Extlinux, Facts, Lockdown, Permission, Volume};

const MIB: u64 = 1 << 20;

/// Returns the facts of a Debian 12 cloud guest, with a static network.
pub(crate) fn cloud() -> Facts {
    let mut facts = crate::facts::tests::cloud();
    let address = |text: &str, prefix| Address::fixed(text.parse().unwrap(), prefix);
    let route = |destination: &str, gateway: &str, on_link| Route {
        gateway: Some(gateway.parse().unwrap()),
        on_link,
        ..Route::over("ens3", destination.parse().unwrap(), 0)
    };
    facts.network = Network {
        links: vec![Link {
            name: "ens3".to_owned(),
            mac: "52:54:00:12:34:56".to_owned(),
            mtu: 1500,
            addresses: vec![address("203.0.113.5", 32), address("2001:db8::2", 64)],
            ..Link::default()
        }],
        routes: vec![route("0.0.0.0", "172.31.1.1", true), route("::", "fe80::1", false)],
        ..facts.network
    };
    facts.access.ssh_ports = vec![22, 2222];
    facts
}

pub(crate) fn payload() -> Description {
    Description {
        compression: Compression::Zstd,
        kind: Kind::Deploy { interpreter: Some("/bin/sh".to_owned()), program: None },
        top: None,
        members: 3,
        unpacked: 170 * MIB,
        settings: Settings {
            name: Some("Debian 12".to_owned()),
            disks: ["virtio-blk", "nvme"].map(str::to_owned).into(),
            sectors: vec![512],
            ..Settings::default()
        },
        environment: [].into(),
        sha256: "ab".repeat(32),
        size: 165 * MIB,
    }
}

/// Plans with the kernel that the facts describe.
pub(crate) fn plan_of(facts: &Facts, config: &str, purpose: Purpose) -> Plan {
    let config: Config = toml::from_str(config).unwrap();
    let image = match &config.kernel.source {
        KernelSource::Running => facts.kernel.image.clone(),
        KernelSource::File(path) => {
            let image = facts.kernel.image.clone().unwrap();
            Some(crate::facts::KernelImage { path: path.clone(), ..image })
        }
    };
    let modules = match &config.kernel.modules {
        Some(path) => Some(crate::facts::Modules { path: path.clone() }),
        None => {
            facts.kernel.modules.clone().filter(|_| config.kernel.source == KernelSource::Running)
        }
    };
    plan(Inputs {
        facts,
        config: &config,
        purpose,
        payload: Some(("debian.tar.zst", &payload())),
        image,
        modules,
        drivers_missing: Vec::new(),
        authorized_keys: KeyCount { all: 2, without_shell: 0 },
        sizes: Some(Sizes { file: 190 * MIB, unpacked: 240 * MIB }),
        load: vec!["usr/lib/modules/6.1/virtio_blk.ko".to_owned()],
        answers: None,
        origins: &[],
        written_at: 1_700_000_000,
    })
}

#[test]
fn a_plan_is_told_in_plain_words() {
    insta::assert_snapshot!(plan_of(&cloud(), "", Purpose::Deploy).render(), @"
    machine    vps
    payload    debian.tar.zst (Debian 12)
               deploy, run by /bin/sh; 165 MiB, unpacked 170 MiB
               sha256:abababababababababababababababababababababababababababababababab
    kernel     /boot/vmlinuz-6.1.0-18-cloud-amd64 (6.1.0-18-cloud-amd64, the running system's own)
               modules /usr/lib/modules/6.1.0-18-cloud-amd64
               command line rootfstype=ramfs panic=30 watchdog.stop_on_reboot=0 console=tty0 console=ttyS0,115200 earlyprintk=ttyS0,115200
    initramfs  base built-in
               about 190 MiB, unpacked 240 MiB with the packed payload
    entry      kexec_file_load: the running kernel executes another one; the disk stays as it is
               else kexec_load: the same, with the other kernel laid out by anemos
               else grub: GRUB boots an entry of ours, once
               not boot-next: the firmware is a BIOS
               not extlinux: it is not what starts this machine
    watchdog   none: the running system has no driver of one; a kernel that hangs needs the power button
    disk       vda: virtio, 4.0 GiB; it is the disk below /
               found again by serial number anemos-main, size 4294967296
               ALL DATA ON IT IS LOST
                 vda1 partition, 3.8 GiB, ext4 on /
                 vda15 partition, 124 MiB, vfat on /boot/efi
    network    ens3 52:54:00:12:34:56: 203.0.113.5/32, 2001:db8::2/64
               route default via 172.31.1.1 dev ens3 onlink
               route default via fe80::1 dev ens3
               resolvers 10.0.2.3
    access     authorised keys: 2 of the running system
               SSH host keys kept: ed25519, rsa
    memory     loading needs 380 MiB of 782 MiB (twice the final initramfs of 190 MiB)
               unpacking needs 494 MiB of 980 MiB (kernel 64 MiB, final initramfs 190 MiB, the same unpacked 240 MiB)
               taking the payload apart needs 474 MiB of 980 MiB (kernel 64 MiB, unpacked initramfs 240 MiB, unpacked payload 170 MiB)
               deploying needs 373 MiB of 980 MiB (kernel 64 MiB, initramfs without payload 75 MiB, unpacked payload 170 MiB, work space 64 MiB)
               deploy may take 3600 s
    ");
}

#[test]
fn a_plan_for_another_machine_says_so() {
    let config = "[kernel]\nsource = \"/k/vmlinuz\"\nmodules = \"/k/6.1.0-18-cloud-amd64\"\n\
                  command-line = \"console=ttyS0\"\n[disk]\nselect = { serial = \"other\" }\n\
                  [network]\nmode = \"dhcp\"\n[access]\nauthorized-keys = \"none\"\n\
                  host-keys = \"new\"\n";
    let plan = plan_of(&cloud(), config, Purpose::Build);
    insta::assert_snapshot!(plan.render(), @"
    machine    another one
    payload    debian.tar.zst (Debian 12)
               deploy, run by /bin/sh; 165 MiB, unpacked 170 MiB
               sha256:abababababababababababababababababababababababababababababababab
    kernel     /k/vmlinuz (6.1.0-18-cloud-amd64, given)
               modules /k/6.1.0-18-cloud-amd64
               command line rootfstype=ramfs panic=30 watchdog.stop_on_reboot=0 console=ttyS0
    initramfs  base built-in
               about 190 MiB, unpacked 240 MiB with the packed payload
    entry      none: another machine is booted with what is built
    watchdog   none: there is no jump; a kernel that hangs needs the power button
    disk       serial number other: it is a disk of another machine, with serial other
               ALL DATA ON IT IS LOST
    network    DHCP on every link
    access     authorised keys: 2
               SSH host keys: new ones
    memory     loading needs 380 MiB of unknown (twice the final initramfs of 190 MiB)
               unpacking needs 494 MiB of unknown (kernel 64 MiB, final initramfs 190 MiB, the same unpacked 240 MiB)
               taking the payload apart needs 474 MiB of unknown (kernel 64 MiB, unpacked initramfs 240 MiB, unpacked payload 170 MiB)
               deploying needs 373 MiB of unknown (kernel 64 MiB, initramfs without payload 75 MiB, unpacked payload 170 MiB, work space 64 MiB)
               deploy may take 3600 s
    ");
    let deploy = plan.deploy.unwrap();
    assert_eq!(deploy.network, None, "the network of this machine is not told");
    assert_eq!(deploy.console.as_deref(), Some("ttyS0"));
}

/// Renders the ladder of a machine, and why each other rung is not on it.
fn ladder(config: &str, change: fn(&mut Facts)) -> String {
    let mut facts = cloud();
    change(&mut facts);
    let entry = plan_of(&facts, config, Purpose::Deploy).entry;
    let rungs: Vec<_> = entry.ladder.iter().map(ToString::to_string).collect();
    let passed: Vec<_> = entry.passed_over.iter().map(ToString::to_string).collect();
    format!("{}\n  {}", rungs.join(", "), passed.join("\n  "))
}

fn uefi(facts: &mut Facts) {
    facts.firmware = contract::firmware::Firmware::Uefi;
    facts.boot_loader.variables = true;
}

type Case = (&'static str, &'static str, fn(&mut Facts));

/// Makes EXTLINUX start it, with GRUB's files left over.
fn extlinux(facts: &mut Facts) {
    let volume = facts.boot_loader.grub.as_ref().unwrap().volume.clone();
    facts.boot_loader.extlinux = Some(Extlinux {
        folder: "/boot/extlinux".into(),
        configuration: "/boot/extlinux/extlinux.conf".into(),
        starts: true,
        program: Some("/usr/bin/extlinux".into()),
        volume,
    });
}

const LADDERS: [Case; 17] = [
    ("UEFI", "", uefi),
    ("secure boot", "", |facts| {
        uefi(facts);
        facts.kexec.secure_boot = true;
        facts.kexec.lockdown = Lockdown::Integrity;
    }),
    ("kexec disabled", "", |facts| facts.kexec.permission = Permission::Disabled),
    ("no kexec on UEFI", "", |facts| {
        uefi(facts);
        facts.kexec.permission = Permission::NotBuiltIn;
    }),
    ("little memory", "", |facts| facts.memory.available = 300 * MIB),
    ("kexec wanted", "[entry]\nmethod = \"kexec\"", uefi),
    ("boot loader wanted", "[entry]\nmethod = \"bootloader\"", uefi),
    ("arm", "", |facts| facts.arch = "aarch64".to_owned()),
    ("root on LVM", "", |facts| {
        let grub = facts.boot_loader.grub.as_mut().unwrap();
        grub.volume =
            Volume { device: "/dev/mapper/vg-root".into(), plain: false, ..grub.volume.clone() };
    }),
    ("btrfs", "", |facts| {
        facts.boot_loader.grub.as_mut().unwrap().volume.filesystem = "btrfs".to_owned();
    }),
    ("little room", "", |facts| {
        uefi(facts);
        facts.boot_loader.grub.as_mut().unwrap().volume.free = 100 * MIB;
        facts.boot_loader.esp.as_mut().unwrap().volume.free = 5 * MIB;
    }),
    ("read-only", "", |facts| {
        uefi(facts);
        facts.boot_loader.variables = false;
        facts.boot_loader.grub.as_mut().unwrap().volume.writable = false;
    }),
    ("EXTLINUX", "", extlinux),
    ("EXTLINUX left over", "", |facts| {
        extlinux(facts);
        facts.boot_loader.extlinux.as_mut().unwrap().starts = false;
    }),
    ("EXTLINUX without its program", "", |facts| {
        extlinux(facts);
        facts.boot_loader.extlinux.as_mut().unwrap().program = None;
    }),
    ("EXTLINUX on XFS", "", |facts| {
        extlinux(facts);
        facts.boot_loader.extlinux.as_mut().unwrap().volume.filesystem = "xfs".to_owned();
    }),
    ("old GRUB", "", |facts| facts.boot_loader.grub.as_mut().unwrap().next_entry = false),
];

#[test]
fn each_machine_has_its_ladder() {
    let told = LADDERS.map(|(name, config, change)| format!("[{name}] {}", ladder(config, change)));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn layers_on_the_disk_are_shown() {
    let plan = plan_of(&crate::facts::tests::server(), "", Purpose::Deploy);
    assert_eq!(plan.undecided.len(), 1, "/ is on two disks");
    let config = "[disk]\nselect = { table-id = \"0A0B\" }\n[network]\nmode = \"none\"\n";
    let mut facts = crate::facts::tests::server();
    facts.disks[0].candidate.identity.table_id = Some("0a0b".to_owned());
    facts.disks[0].candidate.identity.ends = Some("e".repeat(64));
    let text = plan_of(&facts, config, Purpose::Deploy).render();
    let lines: Vec<_> = text.lines().skip_while(|line| !line.starts_with("disk")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    disk       nvme0n1: nvme, 489 MiB; it has table-id 0A0B
               found again by table id 0a0b, digest of its ends eeeeeeeeeeee, size 512000000
               ALL DATA ON IT IS LOST
                 nvme0n1p2 partition, 440 MiB
                   md0 raid1, 435 MiB
                     md0_crypt crypt, 430 MiB
                       vg-root lvm, 342 MiB, ext4 on / and /mnt/bind
                       vg-swap lvm, 44 MiB "swapspace", swap in use as swap
    network    none
    access     authorised keys: 2 of the running system
               SSH host keys: new ones
    memory     loading needs 380 MiB of 59361 MiB (twice the final initramfs of 190 MiB)
               unpacking needs 494 MiB of 64244 MiB (kernel 64 MiB, final initramfs 190 MiB, the same unpacked 240 MiB)
               taking the payload apart needs 474 MiB of 64244 MiB (kernel 64 MiB, unpacked initramfs 240 MiB, unpacked payload 170 MiB)
               deploying needs 373 MiB of 64244 MiB (kernel 64 MiB, initramfs without payload 75 MiB, unpacked payload 170 MiB, work space 64 MiB)
               deploy may take 3600 s
    "#);
}

#[test]
fn the_description_for_pid_1_holds_what_was_decided() {
    let plan = plan_of(&cloud(), "[failure]\ntimeout = 60\n", Purpose::Deploy);
    insta::assert_json_snapshot!(plan.deploy.unwrap());
}

#[test]
fn links_that_are_not_restored_are_named() {
    let mut facts = cloud();
    facts.not_captured.push("link docker0".to_owned().into());
    let text = plan_of(&facts, "", Purpose::Deploy).render();
    assert!(text.contains("\n           not restored: link docker0\n"), "{text}");
    let text = plan_of(&facts, "[network]\nmode = \"dhcp\"\n", Purpose::Deploy).render();
    assert!(!text.contains("docker0"), "{text}");
}

#[test]
fn a_plan_is_json_too() {
    let plan = serde_json::to_value(plan_of(&cloud(), "", Purpose::Deploy)).unwrap();
    assert_eq!(plan["disk"]["identity"]["serial"], "anemos-main");
    assert_eq!(plan["memory"]["peaks"][0]["during"], "loading");
    assert_eq!(plan["deploy"]["hostname"], "vps");
}

/// Renders what a configuration of the network results in.
fn network(facts: &Facts, config: &str) -> String {
    let plan = plan_of(facts, &format!("[network]\n{config}"), Purpose::Deploy);
    match (&plan.restore, plan.undecided.as_slice()) {
        (None, [refusal]) => refusal.to_string(),
        (Some(Restore::Static(network)), []) => {
            let link = &network.links[0];
            let routes: Vec<_> = network
                .routes
                .iter()
                .map(|route| format!("{} {}", route.gateway.unwrap(), route.on_link))
                .collect();
            format!("static {} {} {:?}", link.mac, link.addresses.len(), routes)
        }
        (restore, undecided) => format!("{restore:?} {undecided:?}"),
    }
}

/// Returns the cloud guest with a second link that has the same routes and addresses.
fn with_two_links() -> Facts {
    let mut facts = cloud();
    let first = facts.network.links[0].clone();
    let second = Link { name: "ens4".into(), mac: "52:54:00:00:00:02".into(), ..first };
    facts.network.links.push(second);
    facts
}

#[test]
fn the_network_is_what_the_configuration_says() {
    let address = "mode = \"static\"\naddress = [\"192.0.2.10/24\"]\n";
    let inherited = "static 52:54:00:12:34:56 2 [\"172.31.1.1 true\", \"fe80::1 false\"]";
    for (name, config, want) in [
        ("inherit", "", inherited),
        ("none", "mode = \"none\"", "Some(None) []"),
        ("dhcp", "mode = \"dhcp\"", "Some(Dhcp { macs: [] }) []"),
        (
            "gateway in the prefix",
            &format!("{address}gateway = [\"192.0.2.1\", \"fe80::1\"]"),
            "static 52:54:00:12:34:56 1 [\"192.0.2.1 false\", \"fe80::1 false\"]",
        ),
        (
            "gateway outside of it",
            &format!("{address}gateway = [\"198.51.100.1\"]"),
            "static 52:54:00:12:34:56 1 [\"198.51.100.1 true\"]",
        ),
    ] {
        assert_eq!(network(&cloud(), config), want, "{name}");
    }
}

#[test]
fn a_link_is_named_or_the_only_one_that_can_be_meant() {
    let two = with_two_links();
    let mut unrouted = two.clone();
    unrouted.network.routes.clear();
    let address = "mode = \"static\"\naddress = [\"192.0.2.10/24\"]\n";
    let which = "it is not said which link gets the static address (links: ens3, ens4)";
    let second = "static 52:54:00:00:00:02 1 []";
    for (name, facts, config, want) in [
        ("the routed one", &two, address, "static 52:54:00:12:34:56 1 []"),
        ("by MAC address", &two, &format!("{address}link = \"52:54:00:00:00:02\""), second),
        ("by name", &two, &format!("{address}link = \"ens4\""), second),
        (
            "no such link",
            &two,
            &format!("{address}link = \"eth7\""),
            "there is no link eth7 (links: ens3, ens4)",
        ),
        ("none is named", &unrouted, address, which),
        (
            "dhcp on one",
            &two,
            "mode = \"dhcp\"\nlink = \"ens4\"",
            "Some(Dhcp { macs: [\"52:54:00:00:00:02\"] }) []",
        ),
    ] {
        assert_eq!(network(facts, config), want, "{name}");
    }
}

#[test]
fn a_disk_with_a_clone_beside_it_is_refused() {
    let mut facts = cloud();
    let identity = &mut facts.disks[0].candidate.identity;
    (identity.serial, identity.wwn) = (None, None);
    identity.table_id = Some("0123abcd".to_owned());
    identity.ends = Some("e".repeat(64));
    let mut clone = facts.disks[0].clone();
    clone.candidate.name = "vdb".to_owned();
    clone.candidate.identity.bus_path = Some("pci0000:00/0000:00:09.0".to_owned());
    facts.disks.push(clone);
    let plan = plan_of(&facts, "", Purpose::Deploy);
    let said: Vec<_> = plan.undecided.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with(": vda, vdb"), "{said:?}");
}

#[test]
fn other_disks_that_may_be_written_are_selected_each_once() {
    let mut facts = cloud();
    let mut second = facts.disks[0].clone();
    second.candidate.name = "vdb".to_owned();
    second.candidate.identity.serial = Some("second".to_owned());
    facts.disks.push(second);
    for (also, want) in [
        ("[]", ""),
        ("[{ serial = \"second\" }]", "second"),
        (
            "[{ serial = \"anemos-main\" }]",
            "/dev/vda, which has serial anemos-main, is selected twice",
        ),
        ("[{ serial = \"third\" }]", "no disk has serial third (disks: vda, vdb)"),
    ] {
        let plan = plan_of(&facts, &format!("[disk]\nalso-write = {also}"), Purpose::Deploy);
        let chosen = || plan.deploy.as_ref().map(|deploy| deploy.also_write.clone());
        let serials = |also: Vec<DiskIdentity>| -> Vec<_> {
            also.into_iter().filter_map(|disk| disk.serial).collect()
        };
        let refused = plan.undecided.first().map(ToString::to_string);
        let said = refused.unwrap_or_else(|| serials(chosen().unwrap_or_default()).join(" "));
        assert_eq!(said, want, "{also}");
    }
}

#[test]
fn the_disk_is_selected_by_what_it_has_or_refused() {
    let mut facts = cloud();
    let mut second = facts.disks[0].clone();
    second.candidate.name = "vdb".to_owned();
    second.candidate.identity.serial = Some("second".to_owned());
    second.by_id = vec!["virtio-second".to_owned()];
    facts.disks.push(second);
    for (select, want) in [
        ("\"root\"", "vda"),
        ("{ serial = \"second\" }", "vdb"),
        ("{ by-id = \"virtio-second\" }", "vdb"),
        ("{ serial = \"third\" }", "no disk has serial third (disks: vda, vdb)"),
        ("{ size = 4294967296 }", "several disks have size 4294967296: vda, vdb"),
        (
            "{ serial = \"second\", size = 1 }",
            "no disk has serial second, size 1 (disks: vda, vdb)",
        ),
    ] {
        let plan = plan_of(&facts, &format!("[disk]\nselect = {select}"), Purpose::Deploy);
        let said = match plan.undecided.first() {
            Some(refusal) => refusal.to_string(),
            None => plan.disk.found.unwrap().candidate.name,
        };
        assert_eq!(said, want, "{select}");
    }
}
