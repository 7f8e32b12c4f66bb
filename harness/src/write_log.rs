//! The writes to a disk, in order, as QEMU's `blklogwrites` driver records them.
//!
//! Killing QEMU is not a power cut: what the guest wrote survives in the host's page cache. A disk
//! rebuilt from this log up to a flush is what a machine finds if its power failed just then and
//! its disk lost everything that had not been flushed. The format is that of the kernel's
//! dm-log-writes (Documentation/admin-guide/device-mapper/log-writes.rst).

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const FLUSH: u64 = 1;
const DISCARD: u64 = 1 << 2;
/// Zeroes that are written at a time where a range was discarded.
const ZEROES: usize = 1 << 20;

/// A log that is read from its beginning.
#[derive(Debug)]
pub struct WriteLog {
    file: BufReader<File>,
    record: u64,
    left: u64,
    at: u64,
}

/// A record of the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record {
    /// Where it begins in the log.
    pub at: u64,
    /// First byte on the disk.
    pub start: u64,
    /// Bytes on the disk.
    pub len: u64,
    /// Whether the disk keeps everything before it.
    pub flush: bool,
    discard: bool,
}

/// A moment at which the disk had stored everything permanently.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Flush {
    /// Where the record of the flush begins in the log.
    pub at: u64,
    /// Bytes written since the position that is counted from.
    pub written: u64,
}

impl WriteLog {
    /// Opens a log; what came after its last flush may be missing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path)?);
        let mut head = [0; 28];
        file.read_exact(&mut head)?;
        if word(&head, 0) != MAGIC {
            return Err(io::Error::other(format!("{} is not a log of writes", path.display())));
        }
        let record = u64::from(u32::from_le_bytes([head[24], head[25], head[26], head[27]]));
        file.seek(SeekFrom::Start(record))?;
        Ok(Self { file, record, left: word(&head, 16), at: record })
    }

    /// Reads the next record; its data follows in the log, if it has some.
    fn next(&mut self) -> io::Result<Option<Record>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut head = vec![0; usize::try_from(self.record).map_err(io::Error::other)?];
        self.file.read_exact(&mut head)?;
        let flags = word(&head, 16);
        let record = Record {
            at: self.at,
            start: word(&head, 0) * self.record,
            len: word(&head, 8) * self.record,
            flush: flags & FLUSH != 0,
            discard: flags & DISCARD != 0,
        };
        self.at += self.record;
        Ok(Some(record))
    }

    fn skip(&mut self, record: Record) -> io::Result<()> {
        if !record.discard {
            self.at += record.len;
            self.file.seek_relative(i64::try_from(record.len).map_err(io::Error::other)?)?;
        }
        Ok(())
    }

    /// Returns all flushes at or after the position `from` in the log, after one for `from` itself.
    pub fn flushes(mut self, from: u64) -> io::Result<Vec<Flush>> {
        let (mut flushes, mut written) = (vec![Flush { at: from, written: 0 }], 0);
        while let Some(record) = self.next()? {
            if record.at >= from {
                written += if record.discard { 0 } else { record.len };
                if record.flush {
                    flushes.push(Flush { at: record.at, written });
                }
            }
            self.skip(record)?;
        }
        Ok(flushes)
    }

    /// Applies the log to `disk` up to the position `at`; the next call continues from there.
    pub fn replay(&mut self, disk: &File, at: u64) -> io::Result<()> {
        while self.at < at {
            let Some(record) = self.next()? else { return Ok(()) };
            let end = record.start + record.len;
            if record.discard {
                write_zeroes(disk, record.start, end)?;
                continue;
            }
            let mut target = At { disk, at: record.start };
            let copied = io::copy(&mut (&mut self.file).take(record.len), &mut target)?;
            if copied < record.len {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.at += record.len;
        }
        Ok(())
    }
}

/// A position on a disk that moves as it is written to.
struct At<'a> {
    disk: &'a File,
    at: u64,
}

impl Write for At<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.disk.write_all_at(bytes, self.at)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_zeroes(disk: &File, start: u64, end: u64) -> io::Result<()> {
    let zeroes = vec![0; ZEROES];
    let mut at = start;
    while at < end {
        let len = (end - at).min(zeroes.len() as u64);
        disk.write_all_at(&zeroes[..usize::try_from(len).map_err(io::Error::other)?], at)?;
        at += len;
    }
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: u64 = 512;

    /// Returns a log as the driver writes it: superblock, then records with their data.
    fn log(records: &[(u64, &[u8], u64)]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let sector = |words: &[u64]| {
            let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            bytes.resize(512, 0);
            bytes
        };
        let mut bytes = sector(&[MAGIC, 1, records.len() as u64, UNIT]);
        for (start, data, flags) in records {
            let discarded = flags & DISCARD != 0;
            let sectors = if discarded { 1 } else { data.len() as u64 / UNIT };
            bytes.extend(sector(&[*start, sectors, *flags, 0]));
            bytes.extend(*data);
        }
        std::fs::write(file.path(), bytes).unwrap();
        file
    }

    fn disk(log: &Path, at: u64) -> Vec<u8> {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(4 * UNIT).unwrap();
        WriteLog::open(log).unwrap().replay(disk.as_file(), at).unwrap();
        let bytes = std::fs::read(disk.path()).unwrap();
        bytes.chunks(512).map(|sector| sector[0]).collect()
    }

    #[test]
    fn a_disk_is_rebuilt_up_to_any_flush() {
        let (one, two) = (vec![1; 512], vec![2; 1024]);
        let log =
            log(&[(0, &one, 0), (0, &[], FLUSH), (2, &two, 0), (0, &[], DISCARD), (0, &[], FLUSH)]);
        let flushes = WriteLog::open(log.path()).unwrap().flushes(0).unwrap();
        let told: Vec<_> = flushes.iter().map(|flush| flush.written).collect();
        assert_eq!(told, [0, 512, 1536]);
        let disks: Vec<_> = flushes.iter().map(|flush| disk(log.path(), flush.at)).collect();
        assert_eq!(disks, [[0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 2, 2]]);
    }

    #[test]
    fn only_what_came_later_is_counted() {
        let one = vec![1; 512];
        let log = log(&[(0, &one, 0), (0, &[], FLUSH), (1, &one, 0), (0, &[], FLUSH)]);
        let all = WriteLog::open(log.path()).unwrap().flushes(0).unwrap();
        let later = WriteLog::open(log.path()).unwrap().flushes(all[1].at + 1).unwrap();
        let told: Vec<_> = later.iter().map(|flush| flush.written).collect();
        assert_eq!(told, [0, 512]);
    }

    #[test]
    fn a_log_that_was_cut_short_and_another_file_are_errors() {
        let one = vec![1; 512];
        let log = log(&[(0, &one, 0), (0, &[], FLUSH)]);
        // In what a record holds, and in its head.
        for len in [1100, 600] {
            log.as_file().set_len(len).unwrap();
            let disk = tempfile::tempfile().unwrap();
            let cut = WriteLog::open(log.path()).unwrap().replay(&disk, u64::MAX).unwrap_err();
            assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof, "{len}");
        }
        std::fs::write(log.path(), [0; 512]).unwrap();
        let other = WriteLog::open(log.path()).unwrap_err().to_string();
        assert!(other.ends_with("is not a log of writes"), "{other}");
    }
}
