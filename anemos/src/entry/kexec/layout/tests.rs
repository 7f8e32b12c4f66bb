//! Tests layouts of made-up kernels against the boot protocol.

use super::super::machine::{Machine, Region};
use super::{Layout, lay_out};

const MIB: u64 = 1 << 20;

/// Returns a header like that of Linux 6.1, with code of two sectors.
fn kernel() -> Vec<u8> {
    let mut file = vec![0; 0x400 + 0x400];
    let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
    put(0x1f1, &[1]);
    put(0x201, &[0x6a]);
    put(0x202, b"HdrS");
    put(0x206, &0x020f_u16.to_le_bytes());
    put(0x22c, &0x7fff_ffff_u32.to_le_bytes());
    put(0x230, &0x20_0000_u32.to_le_bytes());
    put(0x234, &[1]);
    put(0x236, &0x7f_u16.to_le_bytes());
    put(0x238, &2047_u32.to_le_bytes());
    put(0x258, &0x100_0000_u64.to_le_bytes());
    put(0x260, &0x200_0000_u32.to_le_bytes());
    put(0x400, b"code");
    file
}

fn machine(usable: &[(u64, u64)]) -> Machine {
    let memory =
        usable.iter().map(|(start, end)| Region { range: *start..*end, kind: 1 }).collect();
    Machine { memory, screen: [7; 64], acpi_root: 0x1234 }
}

fn laid_out(usable: &[(u64, u64)]) -> anyhow::Result<Layout> {
    lay_out(&kernel(), 100 * MIB, "quiet", &machine(usable))
}

#[test]
fn everything_has_a_place_of_its_own_and_the_zero_page_tells_it() {
    let layout = laid_out(&[(0, 0x9_fc00), (MIB, 512 * MIB)]).unwrap();
    assert_eq!(layout.kernel, 16 * MIB..48 * MIB);
    assert_eq!(layout.initramfs, 412 * MIB..512 * MIB);
    assert_eq!(layout.setup.end, 412 * MIB);
    assert_eq!(layout.kernel_code(&kernel())[..4], *b"code");
    let page = &layout.setup_bytes;
    let word = |at: usize| u64::from(u32::from_le_bytes(page[at..at + 4].try_into().unwrap()));
    assert_eq!((word(0x218), word(0x21c)), (412 * MIB, 100 * MIB));
    assert_eq!(word(0x228), layout.setup.start + 4096);
    assert_eq!((page[0], page[0x1e8], word(0x070)), (7, 2, 0x1234));
    assert_eq!(&page[4096..4102], b"quiet\0");
    assert_eq!(layout.entry, layout.setup.start + 8192);
    assert!(layout.setup_bytes.len() as u64 <= layout.setup.end - layout.setup.start);
}

#[test]
fn a_kernel_moves_when_its_place_is_taken() {
    let layout = laid_out(&[(MIB, 20 * MIB), (33 * MIB, 512 * MIB)]).unwrap();
    assert_eq!(layout.kernel, 34 * MIB..66 * MIB);
}

#[test]
fn nothing_lies_above_what_the_kernel_reaches() {
    let layout = laid_out(&[(MIB, 3072 * MIB)]).unwrap();
    assert!(layout.initramfs.end <= 2048 * MIB, "{layout:?}");
    assert!(layout.setup.end <= 2048 * MIB, "{layout:?}");
}

#[test]
fn what_cannot_be_laid_out_is_named() {
    let changed = |at: usize, byte: u8| {
        let mut kernel = kernel();
        kernel[at] = byte;
        kernel
    };
    let enough = machine(&[(MIB, 512 * MIB)]);
    let long = "x".repeat(3000);
    for (kernel, text, machine, want) in [
        (changed(0x202, 0), "", &enough, "this is not a bzImage"),
        (
            changed(0x207, 1),
            "",
            &enough,
            "it cannot be entered in 64-bit mode (boot protocol 0x010f)",
        ),
        (
            changed(0x236, 0),
            "",
            &enough,
            "it cannot be entered in 64-bit mode (boot protocol 0x020f)",
        ),
        (kernel(), &long, &enough, "its command line may have 2047 bytes, not 3000"),
        (kernel(), "", &machine(&[(MIB, 30 * MIB)]), "finding room for a kernel of 33554432 bytes"),
        (
            kernel(),
            "",
            &machine(&[(MIB, 80 * MIB)]),
            "finding room for an initramfs of 104857600 bytes",
        ),
    ] {
        let error = lay_out(&kernel, 100 * MIB, text, machine).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}
