//! Every option of QEMU that we use is here, so that a change shows in a review.

use super::*;
use crate::machine::setup::NetworkCard;
use crate::machine::{Cable, Format, Forward, Network, RouterNetwork};

fn sockets() -> Wiring {
    Wiring::Sockets(Sockets {
        qmp: "/run/x/qmp".into(),
        serial: "/run/x/serial".into(),
        firmware: "/run/x/firmware".into(),
        packets: "/evidence/a,b.pcap".into(),
    })
}

/// Formats one option per line.
fn lines(machine: &Machine, wiring: &Wiring) -> String {
    let args = render(machine, wiring).expect("it renders");
    let mut lines = String::new();
    for arg in args {
        lines += if arg.starts_with('-') && !lines.is_empty() { "\n" } else { " " };
        lines += &arg;
    }
    lines.trim().to_owned()
}

#[test]
fn a_vps_has_its_disk_first_in_the_boot_order_and_a_witness_beside_it() {
    let machine = Machine::new()
        .memory_mib(2048)
        .cpus(2)
        .disk(Disk::new("system", "/img/a.qcow2").serial("SYS1").boot_index(0))
        .disk(Disk::new("witness", "/img/w.raw").format(Format::Raw).bus(Bus::VirtioScsi))
        .network(Network::User {
            mac: "52:54:00:12:34:56".to_owned(),
            forwards: vec![Forward { host_port: 2222, guest_port: 22 }],
            server: Some("'/a,b' serve".to_owned()),
        });
    insta::assert_snapshot!(lines(&machine, &sockets()), @r#"
    -nodefaults
    -no-user-config
    -machine pc
    -accel tcg
    -cpu qemu64,+cx16,+lahf_lm,+popcnt,+sse4.1,+sse4.2,+ssse3
    -smp 2
    -m 2048M
    -action panic=pause,reboot=shutdown,shutdown=pause,watchdog=reset
    -display none
    -device VGA
    -object rng-random,id=entropy,filename=/dev/urandom
    -device virtio-rng-pci,rng=entropy
    -S
    -chardev socket,id=qmp,path=/run/x/qmp
    -mon chardev=qmp,mode=control
    -chardev socket,id=serial,path=/run/x/serial
    -serial chardev:serial
    -chardev socket,id=firmware,path=/run/x/firmware
    -device isa-debugcon,iobase=0x402,chardev=firmware
    -device virtio-scsi-pci,id=scsi
    -blockdev {"cache":{"no-flush":true},"discard":"unmap","driver":"file","filename":"/img/a.qcow2","node-name":"system-file","read-only":false}
    -blockdev {"detect-zeroes":"unmap","discard":"unmap","driver":"qcow2","file":"system-file","node-name":"system-image","read-only":false}
    -object throttle-group,id=system-limits
    -blockdev {"driver":"throttle","file":"system-image","node-name":"system","read-only":false,"throttle-group":"system-limits"}
    -device virtio-blk-pci,id=disk-system,drive=system,rerror=report,werror=report,serial=SYS1,bootindex=0
    -blockdev {"cache":{"no-flush":true},"discard":"unmap","driver":"file","filename":"/img/w.raw","node-name":"witness-file","read-only":false}
    -blockdev {"detect-zeroes":"unmap","discard":"unmap","driver":"raw","file":"witness-file","node-name":"witness-image","read-only":false}
    -object throttle-group,id=witness-limits
    -blockdev {"driver":"throttle","file":"witness-image","node-name":"witness","read-only":false,"throttle-group":"witness-limits"}
    -device scsi-hd,bus=scsi.0,id=disk-witness,drive=witness,rerror=report,werror=report
    -netdev user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22,guestfwd=tcp:10.0.2.100:80-cmd:'/a,,b' serve
    -device virtio-net-pci,netdev=net,mac=52:54:00:12:34:56,romfile=,addr=0x10
    -object filter-dump,id=packets,netdev=net,file=/evidence/a,,b.pcap
    "#);
}

#[test]
fn a_kernel_is_started_directly_with_its_command_line_as_one_word() {
    let machine = Machine::new().accelerator(Accelerator::Kvm).boot(Boot::Direct {
        kernel: "/boot/vmlinuz".into(),
        initramfs: Some("/tmp/final".into()),
        command_line: "console=ttyS0 panic=-1".to_owned(),
    });
    insta::assert_snapshot!(lines(&machine, &Wiring::Terminal), @r#"
    -nodefaults
    -no-user-config
    -machine pc
    -accel kvm
    -cpu host
    -smp 1
    -m 1024M
    -action panic=pause,reboot=shutdown,shutdown=pause,watchdog=reset
    -display none
    -device VGA
    -object rng-random,id=entropy,filename=/dev/urandom
    -device virtio-rng-pci,rng=entropy
    -serial mon:stdio
    -kernel /boot/vmlinuz
    -initrd /tmp/final
    -append console=ttyS0 panic=-1
    "#);
}

#[test]
fn every_bus_has_its_device() {
    for (bus, want) in [
        (Bus::VirtioBlk, "-device virtio-blk-pci,id=disk-a,drive=a,rerror=report,werror=report"),
        (
            Bus::VirtioScsi,
            "-device virtio-scsi-pci,id=scsi -device scsi-hd,bus=scsi.0,id=disk-a,drive=a,rerror=report,werror=report",
        ),
        (Bus::Nvme, "-device nvme,id=disk-a,drive=a,serial=a"),
        (
            Bus::Sata,
            "-device ich9-ahci,id=sata -device ide-hd,bus=sata.0,id=disk-a,drive=a,rerror=report,werror=report",
        ),
    ] {
        let disk = Disk::new("a", "/a").bus(bus);
        let args = render(&Machine::new().disk(disk), &Wiring::Terminal).expect("it renders");
        let devices = |pair: &&[String]| {
            pair[0] == "-device" && !["VGA", "virtio-rng-pci,rng=entropy"].contains(&&*pair[1])
        };
        let pairs: Vec<String> =
            args.windows(2).filter(devices).map(|pair| pair.join(" ")).collect();
        assert_eq!(pairs.join(" "), want, "{bus:?}");
    }
}

#[test]
fn two_sata_disks_have_ports_of_their_own() {
    let disk = |id| Disk::new(id, "/image").bus(Bus::Sata);
    let text = lines(&Machine::new().disk(disk("a")).disk(disk("b")), &Wiring::Terminal);
    assert_eq!(text.matches("ich9-ahci").count(), 1, "{text}");
    assert!(text.contains("bus=sata.0,id=disk-a") && text.contains("bus=sata.1,id=disk-b"));
}

#[test]
fn a_read_only_disk_is_read_only_in_every_node_and_detects_no_zeroes() {
    let disk = Disk::new("a", "/a").access(Access::ReadOnly);
    let text = lines(&Machine::new().disk(disk), &Wiring::Terminal);
    assert_eq!(text.matches("\"read-only\":true").count(), 3, "{text}");
    assert!(!text.contains("detect-zeroes"), "{text}");
}

#[test]
fn what_cannot_be_rendered_is_refused_by_name() {
    use std::os::unix::ffi::OsStrExt;
    let odd = std::ffi::OsStr::from_bytes(b"/\xff");
    let named = |id| Machine::new().disk(Disk::new(id, "/a"));
    for (machine, want) in [
        (
            named("a").disk(Disk::new("b", "/b").sector(Sector::Bytes4096).bus(Bus::Sata)),
            "the disk \"b\" is on SATA, where QEMU has no sectors of 4096 bytes",
        ),
        (
            Machine::new().disk(Disk::new("a", "/a").sector(Sector::Bytes4096).boot_index(0)),
            "the disk \"a\" has sectors of 4096 bytes, which a BIOS does not boot; use UEFI",
        ),
        (
            named("a,b"),
            "the disk name \"a,b\" is not a letter followed by letters, digits or dashes",
        ),
        (named(""), "the disk name \"\" is not a letter followed by letters, digits or dashes"),
        (named("a").disk(Disk::new("a", "/b")), "two disks are called \"a\""),
        (Machine::new().disk(Disk::new("a", odd)), "the path /\u{fffd} is not UTF-8"),
    ] {
        let error = render(&machine, &Wiring::Terminal).expect_err(want);
        assert_eq!(error.to_string(), want);
    }
}

#[test]
fn uefi_has_its_flash_and_secure_boot_protects_it() {
    let flash = |secure_boot| {
        Platform::Uefi(Flash {
            code: "/fw/code".into(),
            variables: "/run/vars".into(),
            secure_boot,
        })
    };
    let board = |secure_boot| Board {
        platform: flash(secure_boot),
        chipset: Chipset::Q35,
        cpu: CpuLevel::Max,
        network_card: NetworkCard::E1000e,
        spare_cards: 1,
        watchdog: true,
    };
    let network =
        Network::User { mac: "52:54:00:12:34:56".to_owned(), forwards: Vec::new(), server: None };
    let disk = Disk::new("a", "/a").bus(Bus::Nvme).sector(Sector::Bytes4096).boot_index(0);
    let machine = Machine::new().board(board(SecureBoot::Enforced)).network(network).disk(disk);
    insta::assert_snapshot!(lines(&machine, &Wiring::Terminal), @r#"
    -nodefaults
    -no-user-config
    -blockdev {"driver":"file","filename":"/fw/code","node-name":"flash-code","read-only":true}
    -blockdev {"driver":"file","filename":"/run/vars","node-name":"flash-variables","read-only":false}
    -machine q35,smm=on,pflash0=flash-code,pflash1=flash-variables
    -global driver=cfi.pflash01,property=secure,value=on
    -accel tcg
    -cpu max
    -smp 1
    -m 1024M
    -action panic=pause,reboot=shutdown,shutdown=pause,watchdog=reset
    -device i6300esb
    -display none
    -device VGA
    -object rng-random,id=entropy,filename=/dev/urandom
    -device virtio-rng-pci,rng=entropy
    -serial mon:stdio
    -blockdev {"cache":{"no-flush":true},"discard":"unmap","driver":"file","filename":"/a","node-name":"a-file","read-only":false}
    -blockdev {"detect-zeroes":"unmap","discard":"unmap","driver":"qcow2","file":"a-file","node-name":"a-image","read-only":false}
    -object throttle-group,id=a-limits
    -blockdev {"driver":"throttle","file":"a-image","node-name":"a","read-only":false,"throttle-group":"a-limits"}
    -device nvme,id=disk-a,drive=a,serial=a,logical_block_size=4096,physical_block_size=4096,bootindex=0
    -netdev user,id=net,restrict=on
    -device e1000e,netdev=net,mac=52:54:00:12:34:56,romfile=,addr=0x10
    -netdev hubport,id=spare1,hubid=1
    -device virtio-net-pci,netdev=spare1,mac=52:54:00:aa:00:01,romfile=,addr=0x11
    "#);
    let plain = lines(&Machine::new().board(board(SecureBoot::Absent)), &Wiring::Terminal);
    assert!(!plain.contains("smm=on") && !plain.contains("cfi.pflash01"), "{plain}");
}

#[test]
fn a_log_of_writes_lies_between_image_and_device() {
    let disk = Disk::new("a", "/a").log(Some("/log".into()));
    let text = lines(&Machine::new().disk(disk), &Wiring::Terminal);
    let logged: Vec<_> =
        text.lines().filter(|line| line.contains("a-") || line.contains("drive=a")).collect();
    insta::assert_snapshot!(logged.join("\n"), @r#"
    -blockdev {"cache":{"no-flush":true},"discard":"unmap","driver":"file","filename":"/a","node-name":"a-file","read-only":false}
    -blockdev {"detect-zeroes":"unmap","discard":"unmap","driver":"qcow2","file":"a-file","node-name":"a-store","read-only":false}
    -blockdev {"cache":{"no-flush":true},"driver":"file","filename":"/log","node-name":"a-log"}
    -blockdev {"driver":"blklogwrites","file":"a-store","log":"a-log","log-sector-size":512,"node-name":"a-image"}
    -object throttle-group,id=a-limits
    -blockdev {"driver":"throttle","file":"a-image","node-name":"a","read-only":false,"throttle-group":"a-limits"}
    -device virtio-blk-pci,id=disk-a,drive=a,rerror=report,werror=report,request-merging=off
    "#);
}

/// Returns the options that are about the network.
fn network_lines(machine: &Machine) -> String {
    let text = lines(machine, &sockets());
    let about = ["netdev", "fw_cfg"];
    let found = text.lines().filter(|line| about.iter().any(|word| line.contains(word)));
    found.collect::<Vec<_>>().join("\n")
}

#[test]
fn cables_end_at_the_sockets_of_a_router() {
    let cable = |number: u8, socket: &str| Cable {
        mac: format!("52:54:00:12:34:0{number}"),
        slot: 0x10 + number,
        socket: socket.into(),
        plugged: if number == 2 { Plugged::Late } else { Plugged::AtStart },
    };
    let cables =
        vec![cable(0, "/run/a,b/link-0"), cable(1, "/run/link-1"), cable(2, "/run/link-2")];
    let machine = Machine::new().network(Network::Cables(cables));
    insta::assert_snapshot!(network_lines(&machine), @"
    -netdev stream,id=net,server=off,addr.type=unix,addr.path=/run/a,,b/link-0
    -device virtio-net-pci,netdev=net,mac=52:54:00:12:34:00,romfile=,addr=0x10
    -object filter-dump,id=packets,netdev=net,file=/evidence/a,,b.pcap
    -netdev stream,id=net-1,server=off,addr.type=unix,addr.path=/run/link-1
    -device virtio-net-pci,netdev=net-1,mac=52:54:00:12:34:01,romfile=,addr=0x11
    -object filter-dump,id=packets-1,netdev=net-1,file=/evidence/a,,b.1.pcap
    -netdev stream,id=net-2,server=off,addr.type=unix,addr.path=/run/link-2
    -object filter-dump,id=packets-2,netdev=net-2,file=/evidence/a,,b.2.pcap
    ");
}

#[test]
fn a_router_has_the_other_ends_and_a_way_to_the_host() {
    let network = Network::Router(RouterNetwork {
        sockets: vec!["/run/a,b/link-0".into(), "/run/link-1".into()],
        forwards: vec![Forward { host_port: 2222, guest_port: 1001 }],
        server: None,
        notes: vec![("ports".to_owned(), "/run/a,b/ports".into())],
    });
    let mut machine = Machine::new().network(network);
    machine.serve("'/a,b' serve".to_owned());
    insta::assert_snapshot!(network_lines(&machine), @"
    -netdev stream,id=net,server=on,addr.type=unix,addr.path=/run/a,,b/link-0
    -device virtio-net-pci,netdev=net,mac=52:55:0a:00:02:02,romfile=
    -object filter-dump,id=packets,netdev=net,file=/evidence/a,,b.pcap
    -netdev stream,id=net-1,server=on,addr.type=unix,addr.path=/run/link-1
    -device virtio-net-pci,netdev=net-1,mac=52:55:0a:00:03:02,romfile=
    -object filter-dump,id=packets-1,netdev=net-1,file=/evidence/a,,b.1.pcap
    -netdev user,id=host,restrict=on,net=10.9.0.0/24,host=10.9.0.2,hostfwd=tcp:127.0.0.1:2222-:1001,guestfwd=tcp:10.9.0.100:80-cmd:'/a,,b' serve
    -device virtio-net-pci,netdev=host,mac=52:55:0a:09:00:0f,romfile=
    -fw_cfg name=opt/anemos/ports,file=/run/a,,b/ports
    ");
}
