//! The smallest initramfs: one program that says that programs run.

/// What the program prints on the console.
pub(super) const SAID: &str = "anemos: a program runs";

/// Where the program is in memory (elf(5)); anything above the first page will do.
const BASE: u64 = 0x40_0000;
const FILE_HEADER: u16 = 64;
const SEGMENT_HEADER: u16 = 56;

/// Returns an initramfs whose `/init` prints [`SAID`] and then sleeps.
pub(super) fn archive() -> Vec<u8> {
    let mut archive = Vec::new();
    member(&mut archive, "init", 0o100_755, &program());
    member(&mut archive, "TRAILER!!!", 0, &[]);
    archive
}

/// Appends a member in the format newc (the kernel's `buffer-format.rst`).
fn member(archive: &mut Vec<u8>, name: &str, mode: u32, data: &[u8]) {
    let (name_len, data_len) = (name.len() + 1, data.len());
    // Inode, mode, owner, group, links, time, size, device, device of the file, name, checksum.
    let fields = [1, mode as usize, 0, 0, 1, 0, data_len, 0, 0, 0, 0, name_len, 0];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(name.bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(data);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

/// Returns a static executable for x86-64 (elf(5), syscalls(2)).
fn program() -> Vec<u8> {
    let said = format!("{SAID}\n");
    let code = code(&said);
    let headers = u64::from(FILE_HEADER + SEGMENT_HEADER);
    let len = headers + code.len() as u64;
    let mut file = Vec::new();
    // 64 bits, little endian, version 1.
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // An executable for x86-64.
    file.extend([2_u16, 0x3e].map(u16::to_le_bytes).concat());
    file.extend(1_u32.to_le_bytes());
    // Where it begins, where the headers of segments are; there are no sections.
    file.extend([BASE + headers, u64::from(FILE_HEADER), 0].map(u64::to_le_bytes).concat());
    file.extend(0_u32.to_le_bytes());
    file.extend([FILE_HEADER, SEGMENT_HEADER, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    // One segment, loaded, readable and executable: the whole file.
    file.extend([1_u32, 5].map(u32::to_le_bytes).concat());
    file.extend([0, BASE, BASE, len, len, 0x1000].map(u64::to_le_bytes).concat());
    file.extend(code);
    file
}

/// Returns instructions that write the text and then wait for a signal, with the text behind them.
fn code(said: &str) -> Vec<u8> {
    let len = u32::try_from(said.len()).unwrap_or_default().to_le_bytes();
    let mut code = Vec::new();
    // mov eax, 1 (write); mov edi, 1; lea rsi, [rip + 16]; mov edx, LEN; syscall
    code.extend([0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 16, 0, 0, 0, 0xba]);
    code.extend(len);
    code.extend([0x0f, 0x05]);
    // mov eax, 34 (pause); syscall; jmp to the mov
    code.extend([0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7]);
    code.extend(said.bytes());
    code
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::command::Command;

    #[tokio::test]
    async fn the_archive_is_one_that_cpio_unpacks_and_its_program_runs_here() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("initramfs");
        std::fs::write(&file, archive()).unwrap();
        let unpack = format!("cpio -i --quiet <{}", file.display());
        Command::new("sh").args(["-c", &unpack]).folder(folder.path()).run().await.unwrap();
        let init = folder.path().join("init");
        assert_eq!(std::fs::metadata(&init).unwrap().permissions().mode() & 0o777, 0o755);
        // It never ends by itself.
        let run = format!("timeout 1 {}; true", init.display());
        let said = Command::new("sh").args(["-c", &run]).run().await.unwrap();
        assert_eq!(said.text(), format!("{SAID}\n"));
    }
}
