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
/// So many of SSH's segments are kept at the beginning, and at the end, without what they carry.
const TURNS: usize = 1000;

/// Leaves out of all captures of a guest what SSH carries and most of what other TCP segments do.
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
    let open = || File::open(capture).map(|file| BufReader::with_capacity(1 << 20, file));
    let mut to = BufWriter::new(File::create(&smaller)?);
    let all = copy(open()?, &mut io::sink(), usize::MAX)?;
    copy(open()?, &mut to, all)?;
    to.into_inner()?;
    fs::rename(&smaller, capture)
}

/// Copies a capture as far as it is whole: QEMU may have been killed in the middle of a packet.
///
/// `all` is the number of SSH's segments, which is also returned.
fn copy(mut from: impl Read, to: &mut impl Write, all: usize) -> io::Result<usize> {
    let mut turn = 0;
    let mut header = [0; FILE_HEADER];
    if !whole(&mut from, &mut header)? {
        return Ok(0);
    }
    to.write_all(&header)?;
    if header[..4] != MAGIC {
        return io::copy(&mut from, to).map(|_| 0);
    }
    let mut before = [0; PACKET_HEADER];
    let mut packet = vec![0; LONGEST];
    while whole(&mut from, &mut before)? {
        let len = u32::from_le_bytes([before[8], before[9], before[10], before[11]]);
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > LONGEST || !whole(&mut from, &mut packet[..len])? {
            break;
        }
        let (kept, is_ssh) = kept(&packet[..len]);
        turn += usize::from(is_ssh);
        if is_ssh && turn > TURNS && turn + TURNS <= all {
            continue;
        }
        let short = u32::try_from(kept).unwrap_or(u32::MAX).to_le_bytes();
        before[8..12].copy_from_slice(&short);
        to.write_all(&before)?;
        to.write_all(&packet[..kept])?;
    }
    Ok(turn)
}

/// Fills the buffer, or returns false at the end of the file.
fn whole(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        done => done.map(|()| true),
    }
}

/// Returns how many bytes of a packet are kept, and whether it is one of SSH's segments.
fn kept(packet: &[u8]) -> (usize, bool) {
    let Some(tcp) = tcp(packet) else { return (packet.len(), false) };
    let Some(header) = packet.get(tcp..tcp + 14) else { return (packet.len(), false) };
    let from = u16::from_be_bytes([header[0], header[1]]);
    let to = u16::from_be_bytes([header[2], header[3]]);
    let is_ssh = from == SSH || to == SSH;
    // The length of the header in words of 32 bits (RFC 9293, 3.1).
    let data = tcp + usize::from(header[12] >> 4) * 4;
    (packet.len().min(data + if is_ssh { 0 } else { KEPT }), is_ssh)
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
    fn segment(v6: bool, ports: (u16, u16), data: usize) -> Vec<u8> {
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
        packet.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
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
        let all = copy(file, &mut io::sink(), usize::MAX).unwrap();
        copy(file, &mut small, all).unwrap();
        small
    }

    #[test]
    fn what_ssh_carries_is_left_out_and_other_data_is_cut() {
        for (name, packet, want) in [
            ("pushed", segment(false, (40000, 22), 1400), (54, true)),
            ("its answer", segment(true, (22, 40000), 0), (74, true)),
            ("a request", segment(false, (40000, 80), 90), (54 + 90, false)),
            ("a file", segment(true, (80, 40000), 1400), (74 + 256, false)),
            ("ARP", vec![0xff; 42], (42, false)),
            ("nothing", vec![], (0, false)),
            ("short", segment(false, (40000, 22), 0)[..36].to_vec(), (36, false)),
        ] {
            assert_eq!(kept(&packet), want, "{name}");
        }
    }

    #[test]
    fn of_many_segments_of_ssh_the_first_and_the_last_are_kept() {
        let pushed = segment(false, (40000, 22), 100);
        let (request, short) = (segment(false, (1, 80), 10), pushed[..54].to_vec());
        let many = vec![pushed; 3 * TURNS];
        let all = [many.as_slice(), std::slice::from_ref(&request)].concat();
        let mut small = shrunk(&capture(&all));
        // What was longer on the wire says so.
        small.truncate(small.len() - PACKET_HEADER - request.len());
        let one = PACKET_HEADER + short.len();
        assert_eq!(small.len(), FILE_HEADER + 2 * TURNS * one);
        assert_eq!(small[FILE_HEADER..FILE_HEADER + 16][8..], [54, 0, 0, 0, 154, 0, 0, 0]);
    }

    #[test]
    fn a_capture_that_ends_in_the_middle_is_kept_as_far_as_it_is_whole() {
        let request = segment(false, (1, 80), 10);
        let all = capture(&[request.clone(), request.clone()]);
        assert_eq!(shrunk(&all), all);
        assert_eq!(shrunk(&all[..all.len() - 1]), capture(&[request]));
        let other = b"not a capture of this byte order, but whole";
        assert_eq!(shrunk(other), other);
        assert_eq!(shrunk(b"short"), b"");
    }
}
