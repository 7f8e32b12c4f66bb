//! Tests every refusal with its reason and its way out.

use contract::payload::Kind;

use super::{check, missing_programs, ssh_server};
use crate::contents::DriverMissing;
use crate::facts::{Device, Facts, Lockdown, Memory, Permission};
use crate::plan::tests::{cloud, plan_of};
use crate::plan::{Plan, Purpose};
use crate::refusal::Refusal;

/// Returns the refusals for a machine that was made unfit, each with its way out.
fn said(config: &str, purpose: Purpose, unfit: impl Fn(&mut Facts)) -> String {
    let mut facts = cloud();
    facts.memory = Memory { total: 2 << 30, available: 1 << 30 };
    unfit(&mut facts);
    let plan = plan_of(&facts, config, purpose);
    let refusals = check(&facts, &plan);
    let lines = refusals.iter().map(|refusal| format!("{refusal}\n  {}", refusal.hint()));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the refusals for the cloud guest, with changes to payload, keys and drivers.
fn said_with(change: impl Fn(&mut Plan)) -> String {
    let mut facts = cloud();
    facts.memory = Memory { total: 2 << 30, available: 1 << 30 };
    let mut plan = plan_of(&facts, "", Purpose::Deploy);
    change(&mut plan);
    let refusals = check(&facts, &plan);
    let lines = refusals.iter().map(|refusal| format!("{refusal}\n  {}", refusal.hint()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn payload_and_machine_must_fit_together() {
    let missing = |to: &str| DriverMissing {
        to: to.to_owned(),
        device: Device {
            alias: "virtio:d00000002v00001AF4".to_owned(),
            driver: "virtio_blk".to_owned(),
            module: None,
        },
    };
    let told = [
        said_with(|plan| plan.payload.as_mut().unwrap().settings.disk_size = Some(4 << 30)),
        said_with(|plan| plan.payload.as_mut().unwrap().settings.disk_size = Some((4 << 30) + 1)),
        said_with(|plan| {
            plan.payload.as_mut().unwrap().settings.firmware = vec!["uefi".to_owned()];
        }),
        said_with(|plan| plan.access.authorized_keys = 0),
        said_with(|plan| plan.access.without_shell = 1),
        said_with(|plan| plan.access.without_shell = 2),
        said_with(|plan| (plan.access.authorized_keys, plan.access.from) = (0, None)),
        said_with(|plan| plan.drivers_missing = vec![missing("ens9"), missing("vda")]),
    ];
    insta::assert_snapshot!(told.join("\n---\n"), @r#"

    ---
    the payload needs a disk of 4097 MiB, but vda has 4096 MiB
      select a larger disk, or use a smaller payload; `--override disk-size` continues anyway
    ---
    the payload boots by uefi, but this machine has bios
      use a payload made for this firmware, or mend what its payload.toml claims; `--override firmware` continues anyway
    ---
    there is no authorised key in the running system, so nobody could log in after a failure
      set [access] authorized-keys to a file with a key, or to "none" if nobody needs to log in; `--override login` continues anyway
    ---

    ---
    there is no authorised key in the running system that gives a shell (not counted: 2 for one command or expired), so nobody could log in after a failure
      set [access] authorized-keys to a file with a key, or to "none" if nobody needs to log in; `--override login` continues anyway
    ---

    ---
    the driver virtio_blk of virtio:d00000002v00001AF4, on the way to vda, is not in the deploy environment
      use the running system's own kernel, or one that has it; [kernel] modules names its folder; `--override drivers` continues anyway
    "#);
}

#[test]
fn a_fit_machine_is_not_refused() {
    assert_eq!(said("", Purpose::Deploy, |_| {}), "");
}

type Unfit = fn(&mut Facts);

const OTHER_KERNEL: &str = "[kernel]\nsource = \"/k\"\nmodules = \"/m/6.2\"\n";

/// Machines that are unfit in one way each: name, configuration, what is wrong.
const CASES: [(&str, &str, Unfit); 24] = [
    ("user", "", |facts| facts.privileged = false),
    ("no way in", "", |facts| {
        facts.kexec.permission = Permission::Disabled;
        facts.boot_loader.grub = None;
    }),
    ("lockdown", OTHER_KERNEL, |facts| {
        facts.kexec.lockdown = Lockdown::Integrity;
        facts.kexec.secure_boot = true;
    }),
    ("boot loader", "[entry]\nmethod = \"bootloader\"", |facts| facts.boot_loader.grub = None),
    ("staged", "", |facts| facts.staged = true),
    ("loaded", "", |facts| facts.kexec.loaded = true),
    ("no image", "", |facts| facts.kernel.image = None),
    ("no kernel", "", |facts| facts.kernel.image.as_mut().unwrap().format = None),
    ("no modules", "", |facts| facts.kernel.modules = None),
    ("modules not given", "[kernel]\nsource = \"/k\"", |_| {}),
    ("no disk", "[disk]\nselect = { serial = \"x\" }", |_| {}),
    ("no root disk", "", |facts| facts.root_disks.clear()),
    ("two root disks", "", |facts| {
        let mut second = facts.disks[0].clone();
        second.candidate.name = "vdb".to_owned();
        facts.disks.push(second);
        facts.root_disks.push("vdb".to_owned());
    }),
    ("boot disk", "", |facts| facts.boot_disks = vec!["vdb".to_owned()]),
    ("nameless disk", "", |facts| facts.disks[0].candidate.identity.serial = None),
    ("read-only disk", "", |facts| facts.disks[0].candidate.read_only = true),
    ("bridge", "", |facts| {
        facts.network.links[0].addresses.clear();
        facts.not_captured.push("link wg0".to_owned().into());
    }),
    ("no memory to unpack", "", |facts| facts.memory.total = 480 << 20),
    ("container", "", |facts| facts.virtualization.container = Some("lxc".to_owned())),
    ("Xen PV", "", |facts| facts.virtualization.xen_pv = true),
    ("confidential", "[entry]\nmethod = \"kexec\"", |facts| {
        facts.virtualization.confidential = Some("tdx".to_owned());
    }),
    ("clock", "", |facts| facts.clock.now = 978_307_200),
    ("bus", "", |facts| facts.disks[0].candidate.bus = "ata".to_owned()),
    ("sectors", "", |facts| facts.disks[0].candidate.sector_size = 4096),
];

#[test]
fn each_unfit_machine_is_refused_with_reason_and_way_out() {
    let told: Vec<_> = CASES
        .iter()
        .map(|(name, config, unfit)| format!("[{name}] {}", said(config, Purpose::Deploy, unfit)))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    [user] anemos deploy needs root
      run it with sudo; `anemos plan` needs no root
    [no way in] there is no way into the deploy environment (kexec_file_load: kernel.kexec_load_disabled is 1; kexec_load: kernel.kexec_load_disabled is 1; boot-next: the firmware is a BIOS; extlinux: it is not what starts this machine; grub: its configuration is not found)
      `[entry] method = "auto"` tries all of them; one of these reasons must go
    [lockdown] there is no way into the deploy environment (kexec_file_load: it executes only kernels that it trusts, and /k is another one; kexec_load: the kernel is locked down; boot-next: the firmware is a BIOS; extlinux: it is not what starts this machine; grub: it executes only kernels that it trusts, and /k is another one)
      `[entry] method = "auto"` tries all of them; one of these reasons must go
    the modules are for 6.2, but the kernel is 6.1.0-18-cloud-amd64
      set [kernel] modules to the folder named like the kernel's release
    [boot loader] there is no way into the deploy environment (kexec_file_load: the configuration asks for the boot loader; kexec_load: the configuration asks for the boot loader; boot-next: the firmware is a BIOS; extlinux: it is not what starts this machine; grub: its configuration is not found)
      `[entry] method = "auto"` tries all of them; one of these reasons must go
    [staged] a deployment is staged already
      `anemos reset` takes it back
    [loaded] a kernel that kexec would execute is loaded already
      `anemos reset` takes it back
    [no image] the image of the running kernel 6.1.0-18-cloud-amd64 is not there
      reboot if the kernel was upgraded, or set [kernel] source and modules
    [no kernel] /boot/vmlinuz-6.1.0-18-cloud-amd64 is not a kernel for x86_64
      name the bzImage, or on arm64 the Image, of a Linux kernel
    [no modules] there are no modules for the kernel 6.1.0-18-cloud-amd64
      set [kernel] modules to its folder of modules, with the modules.dep of depmod
    [modules not given] there are no modules for the kernel 6.1.0-18-cloud-amd64
      set [kernel] modules to its folder of modules, with the modules.dep of depmod
    [no disk] no disk has serial x (disks: vda)
      set [disk] select = { serial = "..." }; `anemos facts` shows the disks
    [no root disk] no disk can be found below / (disks: vda)
      set [disk] select = { serial = "..." }; `anemos facts` shows the disks
    [two root disks] / is spread over several disks: vda, vdb
      set [disk] select = { serial = "..." } to one of them, and also-write to the others where the payload writes those too; `anemos facts` shows the disks
    [boot disk] the machine boots from vdb, which would keep the old boot loader, as it is neither selected nor in [disk] also-write
      set [disk] select to such a disk, and also-write to the others where the payload writes those too; `--override boot-disk` continues anyway
    [nameless disk] vda has neither a serial number nor a world wide name, nor a partition table, to be found again by
      run it as root, who can read partition tables; or give the disk one
    [read-only disk] vda is read-only
      switch its write protection off, or select another disk
    [bridge] all addresses are on links that are no hardware: link wg0
      it leads to no network card that can be recreated: set [network] mode to "static" with link, address and gateway, or to "none"
    [no memory to unpack] unpacking needs 494 MiB of memory, but there is only 480 MiB (kernel 64 MiB, final initramfs 190 MiB, the same unpacked 240 MiB)
      use a smaller payload or base, or a machine with more memory; `--override memory` continues anyway
    [container] this is a container (lxc), which has no kernel of its own to jump from
      deploy to the machine that it runs on, or ask the provider for another image
    [Xen PV] there is no way into the deploy environment (kexec_file_load: a paravirtual guest of Xen has no firmware to go back to; kexec_load: a paravirtual guest of Xen has no firmware to go back to; boot-next: a paravirtual guest of Xen has no firmware to go back to; extlinux: a paravirtual guest of Xen has no firmware to go back to; grub: a paravirtual guest of Xen has no firmware to go back to)
      `[entry] method = "auto"` tries all of them; one of these reasons must go
    [confidential] there is no way into the deploy environment (kexec_file_load: the memory of this guest is confidential (tdx); kexec_load: the memory of this guest is confidential (tdx); boot-next: the configuration asks for kexec; extlinux: the configuration asks for kexec; grub: the configuration asks for kexec)
      `[entry] method = "auto"` tries all of them; one of these reasons must go
    [clock] the clock says 2001-01-01T00:00:00Z, but the kernel was installed at 2023-07-22T04:26:40Z
      set it, as with `date -s`: certificates and the new system's files depend on it; `--override clock` continues anyway
    [bus] the payload boots from virtio-blk, nvme, but vda is on ata
      use a payload made for such a disk, or mend what its payload.toml claims; `--override disk-bus` continues anyway
    [sectors] the payload boots from sectors of 512 bytes, but those of vda have 4096
      use a payload made for such a disk, or mend what its payload.toml claims; `--override sector-size` continues anyway
    "#);
}

#[test]
fn every_disk_that_the_machine_boots_from_must_be_written() {
    let second = "select = { serial = 'second' }";
    let both = "also-write = [{ serial = 'second' }]";
    for (boot_disks, disk, want) in [
        (&["vda"][..], "", &[][..]),
        (&["vda"], second, &["vda"]),
        (&["vdb"], second, &[]),
        (&["vda", "vdb"], "", &["vdb"]),
        (&["vda", "vdb"], both, &[]),
        // These facts do not know the disks that the machine boots from.
        (&[], second, &[]),
    ] {
        let mut facts = cloud();
        let mut other = facts.disks[0].clone();
        other.candidate.name = "vdb".to_owned();
        other.candidate.identity.serial = Some("second".to_owned());
        facts.disks.push(other);
        facts.boot_disks = boot_disks.iter().map(|&name| name.to_owned()).collect();
        let plan = plan_of(&facts, &format!("[disk]\n{disk}\n"), Purpose::Deploy);
        let left = check(&facts, &plan).into_iter().find_map(|refusal| match refusal {
            Refusal::BootDiskLeft { names } => Some(names),
            _ => None,
        });
        assert_eq!(left.unwrap_or_default(), want, "{boot_disks:?} {disk}");
    }
}

#[test]
fn building_needs_neither_root_nor_kexec() {
    let unfit = |facts: &mut Facts| {
        facts.privileged = false;
        facts.kexec.permission = Permission::Disabled;
    };
    assert_eq!(said("", Purpose::Build, unfit), "");
}

#[test]
fn another_machine_inherits_nothing_and_its_memory_is_not_judged() {
    let config = "[disk]\nselect = { serial = \"x\" }\n";
    let said = said(config, Purpose::Build, |facts| facts.memory.total = 0);
    insta::assert_snapshot!(said, @r#"
    another machine cannot inherit the network of this one
      set [network] mode to "dhcp", "static" or "none"
    "#);
}

#[test]
fn programs_that_the_base_lacks_are_named() {
    let has = |program: &str| ["/bin/sh", "sfdisk"].contains(&program);
    let kind = |interpreter: &str, program: Option<&str>| Kind::Deploy {
        interpreter: Some(interpreter.to_owned()),
        program: program.map(str::to_owned),
    };
    for (kind, tools, want) in [
        (kind("/bin/sh", None), vec!["sfdisk"], ""),
        (kind("/bin/bash", None), vec![], "deploy is run by /bin/bash, which"),
        (kind("/bin/sh", Some("python3")), vec![], "deploy is run by python3, which"),
        (kind("/bin/sh", None), vec!["mkfs.zfs"], "payload.toml asks for mkfs.zfs, which"),
        (Kind::Imgbuild, vec![], ""),
    ] {
        let tools: Vec<_> = tools.into_iter().map(str::to_owned).collect();
        let missing = missing_programs(&kind, &tools, has);
        let said = missing.first().map(Refusal::to_string).unwrap_or_default();
        assert!(said.starts_with(want) && said.is_empty() == want.is_empty(), "{kind:?}: {said}");
    }
}

#[test]
fn a_rescue_that_somebody_logs_in_to_needs_a_server() {
    for (server, config, purpose, want) in [
        ("/usr/sbin/sshd", "", Purpose::Deploy, false),
        ("/usr/local/sbin/sshd", "", Purpose::Deploy, false),
        ("/usr/sbin/dropbear", "", Purpose::Deploy, true),
        ("", "[failure]\nafter-commit = \"reboot\"", Purpose::Deploy, false),
        ("", "[access]\nauthorized-keys = \"none\"", Purpose::Deploy, false),
        ("", "", Purpose::Build, false),
    ] {
        let plan = plan_of(&cloud(), config, purpose);
        let refusal = ssh_server(&plan, |program| program == server);
        assert_eq!(refusal, want.then_some(Refusal::NoSshServer), "{server} {config} {purpose:?}");
    }
    let apk = Refusal::ToolMissing { tool: "apk".to_owned() }.hint();
    assert!(apk.contains("--distribution alpine"), "{apk}");
    insta::assert_snapshot!(Refusal::NoSshServer.hint(), @r#"install an OpenSSH server on this system, use the full base (`anemos base build`), or set [failure] after-commit to "reboot" or "power-off"; `--override login` continues anyway"#);
}

#[test]
fn kernels_before_5_9_cannot_unpack_zstd() {
    for (release, want) in [
        ("4.18.0-553.el8.x86_64", false),
        ("5.8.18", false),
        ("5.9.0-1-amd64", true),
        ("5.10.0-26-cloud-amd64", true),
        ("6.1.0-56-cloud-amd64", true),
        ("10.0", true),
        ("my-kernel", true),
    ] {
        assert_eq!(super::unpacks_zstd(release), want, "{release}");
    }
}
