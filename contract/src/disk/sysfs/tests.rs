//! Tests that read disks from copies of sysfs.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::read_all;

/// Disks of several machines: where each is below /sys/devices, and its attributes.
const DISKS: &[(&str, &[(&str, &str)])] = &[
    (
        "pci0000:00/0000:00:02.0/virtio1/block/vda",
        &[("size", "8388608"), ("serial", "anemos-main"), ("ro", "0")],
    ),
    (
        "pci0000:00/0000:00:03.0/virtio2/block/vdb",
        &[("size", "2048"), ("ro", "1"), ("queue/logical_block_size", "4096")],
    ),
    (
        "pci0000:00/0000:00:04.0/nvme/nvme0/nvme0n1",
        &[
            ("size", "8388608"),
            ("wwid", "nvme.1b36-6d61696e-51454d55-00000001"),
            ("device/serial", "main                "),
            ("device/model", "QEMU NVMe Ctrl                          "),
        ],
    ),
    (
        "virtual/nvme-subsystem/nvme-subsys1/nvme1n1",
        &[("size", "2048"), ("device/serial", "SUB1"), ("hidden", "0")],
    ),
    ("pci0000:00/0000:00:05.0/nvme/nvme1/nvme1c1n1", &[("size", "2048"), ("hidden", "1")]),
    (
        "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0/block/sda",
        &[
            ("size", "4194304"),
            ("device/wwid", "t10.ATA     QEMU HARDDISK                           QM00005"),
            ("device/vpd_pg80", "\0\u{0}\0\u{14}             QM00005"),
            ("device/model", "QEMU HARDDISK   "),
            ("removable", "0"),
        ],
    ),
    (
        "pci0000:00/0000:00:06.0/usb1/1-1/1-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb",
        &[("size", "4096"), ("removable", "1")],
    ),
    ("vbd-51712/block/xvda", &[("size", "4096")]),
    ("platform/mmc0/mmc0:0001/block/mmcblk0", &[("size", "64"), ("device/name", "SD16G")]),
    ("platform/mmc0/mmc0:0001/block/mmcblk0boot0", &[("size", "64")]),
    ("pci0000:00/0000:00:1f.2/ata4/host3/target3:0:0/3:0:0:0/block/sr0", &[("size", "64")]),
    ("pci0000:00/0000:00:1f.2/ata5/host4/target4:0:0/4:0:0:0/block/sdc", &[("size", "0")]),
    ("virtual/block/loop0", &[("size", "64")]),
    ("virtual/block/dm-0", &[("size", "64")]),
];

fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Lays out `DISKS` as the kernel does: a folder for each, linked from `/sys/block`.
fn lay_out(root: &Path) {
    fs::create_dir_all(root.join("sys/block")).unwrap();
    for (path, attributes) in DISKS {
        let name = Path::new(path).file_name().unwrap();
        for (attribute, value) in *attributes {
            write(&root.join("sys/devices").join(path).join(attribute), value);
        }
        let target = Path::new("../devices").join(path);
        symlink(target, root.join("sys/block").join(name)).unwrap();
    }
    let port = "sys/devices/pci0000:00/0000:00:1f.2/ata3/ata_port/ata3/port_no";
    write(&root.join(port), "3\n");
    write(&root.join("dev/vda"), dos_table(0x1234_abcd));
    write(&root.join("dev/vdb"), gpt(4096));
    write(&root.join("dev/xvda"), vec![0; 8192]);
}

fn dos_table(signature: u32) -> Vec<u8> {
    let mut sectors = vec![0; 1024];
    sectors[440..444].copy_from_slice(&signature.to_le_bytes());
    sectors[510..512].copy_from_slice(&[0x55, 0xaa]);
    sectors
}

/// A GPT with its protective MS-DOS table, whose signature must not be mistaken for the id.
fn gpt(sector_size: usize) -> Vec<u8> {
    let mut sectors = dos_table(7);
    sectors.resize(2 * sector_size, 0);
    sectors[sector_size..sector_size + 8].copy_from_slice(b"EFI PART");
    let guid: Vec<u8> = (0x10..0x20).collect();
    sectors[sector_size + 56..sector_size + 72].copy_from_slice(&guid);
    sectors
}

#[test]
fn disks_of_hardware_are_read_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    lay_out(root.path());
    let disks = read_all(&root.path().join("sys"), &root.path().join("dev")).unwrap();
    let told: Vec<_> = disks
        .iter()
        .map(|disk| {
            let id = &disk.identity;
            let or = |text: &Option<String>| text.clone().unwrap_or("-".to_owned());
            let (removable, ro) = (u8::from(disk.removable), u8::from(disk.read_only));
            format!(
                "{} {} {}/{} removable={removable} ro={ro}\n  serial={} wwn={} table={} model={}\n  {}",
                disk.name, disk.bus, id.size.unwrap(), disk.sector_size, or(&id.serial),
                or(&id.wwn), or(&id.table_id), or(&disk.model), or(&id.bus_path),
            )
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    mmcblk0 mmc 32768/512 removable=0 ro=0
      serial=- wwn=- table=- model=SD16G
      platform/mmc0/mmc0:0001
    nvme0n1 nvme 4294967296/512 removable=0 ro=0
      serial=main wwn=nvme.1b36-6d61696e-51454d55-00000001 table=- model=QEMU NVMe Ctrl
      pci0000:00/0000:00:04.0
    nvme1n1 nvme 1048576/512 removable=0 ro=0
      serial=SUB1 wwn=- table=- model=-
      virtual/nvme-subsystem
    sda ata 2147483648/512 removable=0 ro=0
      serial=QM00005 wwn=t10.ATA QEMU HARDDISK QM00005 table=- model=QEMU HARDDISK
      pci0000:00/0000:00:1f.2/port3/0:0:0
    sdb usb 2097152/512 removable=1 ro=0
      serial=- wwn=- table=- model=-
      pci0000:00/0000:00:06.0/usb1/1-1/1-1:1.0/0:0:0
    vda virtio 4294967296/512 removable=0 ro=0
      serial=anemos-main wwn=- table=1234abcd model=-
      pci0000:00/0000:00:02.0
    vdb virtio 1048576/4096 removable=0 ro=1
      serial=- wwn=- table=13121110-1514-1716-1819-1a1b1c1d1e1f model=-
      pci0000:00/0000:00:03.0
    xvda xen 2097152/512 removable=0 ro=0
      serial=- wwn=- table=- model=-
      vbd-51712
    ");
}

/// Returns the ends' digest of a 4 MiB disk with a partition from 512 KiB to 3584 KiB.
fn ends_of(change: impl Fn(&mut Vec<u8>)) -> Option<String> {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("sys/devices/pci0000:00/0000:00:02.0/virtio1/block/vda");
    for (name, value) in
        [("size", "8192"), ("vda1/partition", "1"), ("vda1/start", "1024"), ("vda1/size", "6144")]
    {
        write(&folder.join(name), value);
    }
    fs::create_dir_all(root.path().join("sys/block")).unwrap();
    symlink(&folder, root.path().join("sys/block/vda")).unwrap();
    let mut bytes = dos_table(7);
    bytes.resize(4 << 20, 0);
    change(&mut bytes);
    write(&root.path().join("dev/vda"), bytes);
    let disks = read_all(&root.path().join("sys"), &root.path().join("dev")).unwrap();
    disks[0].identity.ends.clone()
}

#[test]
fn the_digest_of_the_ends_is_about_what_no_partition_holds() {
    const KIB: usize = 1 << 10;
    let before = ends_of(|_| {});
    assert!(before.is_some());
    for (place, same) in [
        (512, false),
        (512 * KIB - 1, false),
        (512 * KIB, true),
        (1024 * KIB, true),
        (3584 * KIB - 1, true),
        (3584 * KIB, false),
        (4096 * KIB - 1, false),
    ] {
        assert_eq!(ends_of(|bytes| bytes[place] = 1) == before, same, "{place}");
    }
    assert_eq!(ends_of(|bytes| bytes[510] = 0), None, "no partition table");
}

#[test]
fn a_machine_without_block_devices_is_an_error_not_an_empty_list() {
    let root = tempfile::tempdir().unwrap();
    assert!(read_all(root.path(), root.path()).is_err());
}
