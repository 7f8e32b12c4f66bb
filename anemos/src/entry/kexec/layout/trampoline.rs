//! The code between the old kernel and the new one.

/// Where the page has the descriptor of the table, followed by the table.
const DESCRIPTOR: u8 = 0x70;
const TABLE: u8 = 0x80;
/// Bytes of the table minus one, as a descriptor states it.
const LIMIT: u16 = 4 * 8 - 1;
const STACK: u64 = 0x1000;

/// Null, null, code and data: flat, as the boot protocol requires for its selectors 0x10 and 0x18.
const SEGMENTS: [u64; 4] = [0, 0, 0x00af_9a00_0000_ffff, 0x00cf_9200_0000_ffff];

/// Renders the code for a page at `at`, which enters the kernel at `entry`.
///
/// It loads segments that the running kernel has dropped (Linux, `machine_kexec_64.c`), and passes
/// the zero page in RSI. By then memory is identity-mapped and interrupts are off.
pub(super) fn render(at: u64, entry: u64, zero_page: u64) -> Vec<u8> {
    let mut code: Vec<u8> = Vec::new();
    // lgdt [rip + …]: the descriptor, from the end of this instruction of seven bytes
    code.extend([0x0f, 0x01, 0x15, DESCRIPTOR - 7, 0, 0, 0]);
    // mov rsp, STACK
    code.extend([0x48, 0xbc]);
    code.extend((at + STACK).to_le_bytes());
    // push 0x10; lea rax, [rip + 3]; push rax; retfq: continues at the next line, in the new
    // segment
    code.extend([0x6a, 0x10, 0x48, 0x8d, 0x05, 3, 0, 0, 0, 0x50, 0x48, 0xcb]);
    // mov eax, 0x18; mov ds, eax; mov es, eax; mov ss, eax
    code.extend([0xb8, 0x18, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0]);
    // mov rsi, zero_page
    code.extend([0x48, 0xbe]);
    code.extend(zero_page.to_le_bytes());
    // mov rax, entry; jmp rax
    code.extend([0x48, 0xb8]);
    code.extend(entry.to_le_bytes());
    code.extend([0xff, 0xe0]);
    code.resize(DESCRIPTOR.into(), 0);
    code.extend(LIMIT.to_le_bytes());
    code.extend((at + u64::from(TABLE)).to_le_bytes());
    code.resize(TABLE.into(), 0);
    code.extend(SEGMENTS.iter().flat_map(|segment| segment.to_le_bytes()));
    code
}
