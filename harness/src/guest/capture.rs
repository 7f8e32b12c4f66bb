//! Makes the capture of a guest's packets small once the guest has ended.
//!
//! We push payloads by SSH, whose bytes nobody can read: over a hundred megabytes of a run with a
//! real system.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Bytes of the header of a capture (pcap-savefile(5)).
const FILE_HEADER: usize = 24;
/// Bytes before each packet: seconds, microseconds, length here, length on the wire.
const PACKET_HEADER: usize = 16;
/// QEMU keeps at most as much of a packet (its `filter-dump` object, `maxlen`).
const LONGEST: usize = 64 << 10;
/// The bytes that a file of this byte order begins with.
const MAGIC: [u8; 4] = 0xa1b2_c3d4_u32.to_le_bytes();
/// How much of a TCP segment's data is kept: a request and its answer, not what was asked for.
const KEPT: usize = 256;
const SSH: u16 = 22;

/// Leaves SSH's data out of all captures of a guest, and most of what other TCP segments carry.
pub(super) fn shrink_all(first: &Path) -> io::Result<()> {
    let mut next = Some(first.to_owned());
    let mut number = 1;
    while let Some(capture) = next.filter(|capture| capture.exists()) {
        shrink(&capture)?;
        next = Some(first.with_extension(format!("{number}.pcap")));
        number += 1;
    }
    Ok(())
}

fn shrink(capture: &Path) -> io::Result<()> {
    let smaller = PathBuf::from(format!("{}.partial", capture.display()));
    let from = BufReader::with_capacity(1 << 20, File::open(capture)?);
    let mut to = BufWriter::new(File::create(&smaller)?);
    copy(from, &mut to)?;
    to.into_inner()?;
    fs::rename(&smaller, capture)
}

/// Copies a capture as far as it is whole: QEMU may have been killed in the middle of a packet.
fn copy(mut from: impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut header = [0; FILE_HEADER];
    if !whole(&mut from, &mut header)? {
        return Ok(());
    }
    to.write_all(&header)?;
    if header[..4] != MAGIC {
        return io::copy(&mut from, to).map(drop);
    }
    let mut before = [0; PACKET_HEADER];
    let mut packet = vec![0; LONGEST];
    while whole(&mut from, &mut before)? {
        let len = u32::from_le_bytes([before[8], before[9], before[10], before[11]]);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > LONGEST || !whole(&mut from, &mut packet[..len])? {
            break;
        }
        let Some(kept) = kept(&packet[..len]) else { continue };
        let short = u32::try_from(kept).unwrap_or(u32::MAX).to_le_bytes();
        before[8..12].copy_from_slice(&short);
        to.write_all(&before)?;
        to.write_all(&packet[..kept])?;
    }
    Ok(())
}

/// Fills the buffer, or returns false at the end of the file.
fn whole(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|()| true),
    }
}

/// Returns how many bytes of a packet are kept, or none if it is left out.
fn kept(packet: &[u8]) -> Option<usize> {
    let Some(tcp) = tcp(packet) else { return Some(packet.len()) };
    let Some(header) = packet.get(tcp..tcp + 14) else { return Some(packet.len()) };
    let from = u16::from_be_bytes([header[0], header[1]]);
    let to = u16::from_be_bytes([header[2], header[3]]);
    let (words, flags) = (header[12], header[13]);
    // FIN, SYN and RST: when a connection began, and how it ended (RFC 9293, 3.1).
    let turns = flags & 0b111 != 0;
    if !turns && (from == SSH || to == SSH) {
        return None;
    }
    let data = tcp + usize::from(words >> 4) * 4;
    Some(packet.len().min(data + KEPT))
}

/// Returns where the TCP header of an Ethernet frame begins, if it holds a TCP segment.
fn tcp(packet: &[u8]) -> Option<usize> {
    const TCP: u8 = 6;
    let mut at = 12;
    let mut kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    if kind == 0x8100 {
        at += 4;
        kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    }
    let ip = at + 2;
    let (protocol, len) = match kind {
        0x0800 => (*packet.get(ip + 9)?, usize::from(packet.get(ip)? & 0xf) * 4),
        0x86dd => (*packet.get(ip + 6)?, 40),
        _ => return None,
    };
    (protocol == TCP).then_some(ip + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns an Ethernet frame with a TCP segment between these ports.
    fn segment(v6: bool, ports: (u16, u16), flags: u8, data: usize) -> Vec<u8> {
        let mut packet = vec![0; 12];
        if v6 {
            packet.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 0, 6, 64]);
            packet.resize(14 + 40, 0);
        } else {
            packet.extend([0x08, 0x00, 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6]);
            packet.resize(14 + 20, 0);
        }
        packet.extend(ports.0.to_be_bytes());
        packet.extend(ports.1.to_be_bytes());
        packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        packet.resize(packet.len() + data, b'x');
        packet
    }

    fn capture(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut file = MAGIC.to_vec();
        file.resize(FILE_HEADER, 0);
        for packet in packets {
            let len = u32::try_from(packet.len()).unwrap().to_le_bytes();
            file.extend([[0; 4], [0; 4], len, len].concat());
            file.extend(packet);
        }
        file
    }

    fn shrunk(file: &[u8]) -> Vec<u8> {
        let mut small = Vec::new();
        copy(file, &mut small).unwrap();
        small
    }

    #[test]
    fn what_ssh_carries_is_left_out_and_other_data_is_cut() {
        const ACK: u8 = 0x10;
        const SYN: u8 = 0x02;
        for (name, packet, want) in [
            ("pushed", segment(false, (40000, 22), ACK, 1400), None),
            ("its answer", segment(true, (22, 40000), ACK, 0), None),
            ("a connection begins", segment(false, (40000, 22), SYN, 0), Some(54)),
            ("a request", segment(false, (40000, 80), ACK, 90), Some(54 + 90)),
            ("a file", segment(true, (80, 40000), ACK, 1400), Some(74 + 256)),
            ("ARP", vec![0xff; 42], Some(42)),
            ("nothing", vec![], Some(0)),
            ("short", segment(false, (40000, 22), ACK, 0)[..36].to_vec(), Some(36)),
        ] {
            assert_eq!(kept(&packet), want, "{name}");
        }
    }

    #[test]
    fn a_capture_that_ends_in_the_middle_is_kept_as_far_as_it_is_whole() {
        let request = segment(false, (1, 80), 0x10, 10);
        let all = capture(&[request.clone(), segment(false, (1, 22), 0x10, 900), request.clone()]);
        assert_eq!(shrunk(&all), capture(&[request.clone(), request.clone()]));
        assert_eq!(shrunk(&all[..all.len() - 1]), capture(&[request]));
        let other = b"not a capture of this byte order, but whole";
        assert_eq!(shrunk(other), other);
    }
}
