//! The packed file as it is read: buffered, counted and digested on the way.

use std::io::{self, BufRead, Read};

use sha2::{Digest, Sha256};

use crate::payload::PayloadError;

/// Large enough that a payload does not wait for reading.
const BUFFER: usize = 128 * 1024;

/// A buffered reader that knows the size and digest of everything that it has read.
#[derive(Debug)]
pub struct Packed<R> {
    source: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    digest: Option<Sha256>,
    size: u64,
    /// The error of the source when it failed; decoders may hide it.
    failure: Option<io::Error>,
}

impl<R: Read> Packed<R> {
    pub(super) fn new(source: R) -> Self {
        Self { digest: Some(Sha256::new()), ..Self::without_digest(source) }
    }

    /// Creates a reader without the digest, which costs most of the time.
    pub fn without_digest(source: R) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            digest: None,
            size: 0,
            failure: None,
        }
    }

    /// Returns up to `count` bytes without consuming them; fewer only at the end.
    pub fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.end - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            while self.end < count && self.fill()? > 0 {}
        }
        let stop = self.end.min(self.start + count);
        Ok(self.buffer.get(self.start..stop).unwrap_or_default())
    }

    /// Returns the number of bytes consumed so far.
    pub fn position(&self) -> u64 {
        self.size - (self.end - self.start) as u64
    }

    /// Takes the error of the source, if that is what ended the reading.
    pub(super) fn take_failure(&mut self) -> Option<PayloadError> {
        let source = self.failure.take()?;
        Some(PayloadError::Io { context: "reading the payload".to_owned(), source })
    }

    /// Returns SHA-256 in hexadecimal digits and size of everything that was read.
    pub(super) fn finish(self) -> (String, u64) {
        let digest = self.digest.unwrap_or_default().finalize();
        (hexadecimal(&digest), self.size)
    }

    fn fill(&mut self) -> io::Result<usize> {
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let count = loop {
            match self.source.read(space) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let copy = io::Error::new(error.kind(), error.to_string());
                    self.failure = Some(error);
                    return Err(copy);
                }
                Ok(count) => break count,
            }
        };
        if let Some(digest) = &mut self.digest {
            digest.update(space.get(..count).unwrap_or_default());
        }
        self.size += count as u64;
        self.end += count;
        Ok(count)
    }
}

impl<R: Read> BufRead for Packed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            self.fill()?;
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.start = self.end.min(self.start + amount);
    }
}

impl<R: Read> Read for Packed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

/// Renders a digest in lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
