//! The tarball inside a payload: decompressed, and watched for where and how it ends.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

use crate::payload::packed::Packed;
use crate::payload::{Compression, PayloadError};

/// Two to the power of this is the largest window: 32 MiB, as zstd -20 makes it.
const WINDOW_LOG_MAX: u32 = 25;
/// How much padding tar(1) may add to its last record, generously.
const PADDING_MAX: usize = 1 << 20;

enum Decoder<R: Read> {
    Gzip(Box<GzDecoder<Packed<R>>>),
    Zstd(ZstdDecoder<'static, Packed<R>>),
    End(Packed<R>),
}

/// A reader of the tarball; after an error it knows more about the reason than [`io::Error`].
pub(super) struct Stream<R: Read> {
    decoder: Option<Decoder<R>>,
    compression: Compression,
    fault: Option<PayloadError>,
    reached_end: bool,
    bytes: u64,
    allowance: Rc<Cell<u64>>,
}

impl<R: Read> Stream<R> {
    /// Starts reading; the first bytes determine the compression.
    pub(super) fn open(source: R) -> Result<Self, PayloadError> {
        let mut packed = Packed::new(source);
        let magic = match packed.peek(8) {
            Ok(magic) => magic.to_vec(),
            Err(error) => {
                return Err(packed.take_failure().unwrap_or_else(|| damaged("packed", &error)));
            }
        };
        let Some(compression) = recognise(&magic) else { return Err(refuse_magic(&magic)) };
        let decoder = Some(decode(compression, packed)?);
        let allowance = Rc::new(Cell::new(u64::MAX));
        let (fault, reached_end, bytes) = (None, false, 0);
        Ok(Self { decoder, compression, fault, reached_end, bytes, allowance })
    }

    /// Returns how many more bytes may be read: set before headers, whose size nothing else limits.
    pub(super) fn allowance(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.allowance)
    }

    /// Takes the reason of the last read error, if there is a better one than that error.
    pub(super) fn take_fault(&mut self) -> Option<PayloadError> {
        self.fault.take()
    }

    /// Returns whether the end of the stream was met, and whether anything came before it.
    pub(super) fn ended(&self) -> (bool, bool) {
        (self.reached_end, self.bytes > 0)
    }

    /// Checks that only padding follows the tarball, and that nothing follows the packed stream.
    ///
    /// Returns the compression, the digest and the size of the packed file.
    pub(super) fn finish(mut self) -> Result<(Compression, String, u64), PayloadError> {
        self.allowance.set(u64::MAX);
        let mut buffer = vec![0; 32 * 1024];
        let mut padding = 0;
        loop {
            let count = match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(self.explain(&error)),
            };
            padding += count;
            if padding > PADDING_MAX || buffer.iter().take(count).any(|byte| *byte != 0) {
                return Err(PayloadError::Trailing { place: "tarball" });
            }
        }
        let (digest, size) = self.take_packed().map(Packed::finish).unwrap_or_default();
        Ok((self.compression, digest, size))
    }

    fn explain(&mut self, error: &io::Error) -> PayloadError {
        self.fault.take().unwrap_or_else(|| damaged(self.compression.name(), error))
    }

    fn take_packed(&mut self) -> Option<Packed<R>> {
        Some(match self.decoder.take()? {
            Decoder::Gzip(decoder) => decoder.into_inner(),
            Decoder::Zstd(decoder) => decoder.finish(),
            Decoder::End(packed) => packed,
        })
    }

    /// Continues with the next gzip member or zstd frame, or notes the end.
    fn next_segment(&mut self) -> io::Result<()> {
        let Some(mut packed) = self.take_packed() else { return Ok(()) };
        let magic = match packed.peek(4) {
            Ok(magic) => magic.to_vec(),
            Err(error) => {
                self.fault = packed.take_failure();
                return Err(error);
            }
        };
        self.decoder = Some(if magic.is_empty() {
            self.reached_end = true;
            Decoder::End(packed)
        } else if recognise(&magic) == Some(self.compression) {
            match decode(self.compression, packed) {
                Ok(decoder) => decoder,
                Err(error) => return Err(self.fail(error)),
            }
        } else {
            let place = "compressed stream";
            return Err(self.fail(PayloadError::Trailing { place }));
        });
        Ok(())
    }

    fn fail(&mut self, fault: PayloadError) -> io::Error {
        let error = io::Error::other(fault.to_string());
        self.fault = Some(fault);
        error
    }

    fn judge(&mut self, error: io::Error) -> io::Error {
        if self.fault.is_some() {
            return error;
        }
        let format = self.compression.name();
        let failure = match &mut self.decoder {
            Some(Decoder::Gzip(decoder)) => decoder.get_mut().take_failure(),
            Some(Decoder::Zstd(decoder)) => decoder.get_mut().take_failure(),
            Some(Decoder::End(packed)) => packed.take_failure(),
            None => None,
        };
        self.fault = Some(match failure {
            Some(failure) => failure,
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                PayloadError::Truncated { format }
            }
            None if error.to_string().contains("too much memory") => PayloadError::WindowTooLarge,
            None => damaged(format, &error),
        });
        error
    }
}

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(usize::try_from(self.allowance.get()).unwrap_or(usize::MAX));
        if most == 0 && !into.is_empty() {
            return Err(io::Error::other("its header is too large"));
        }
        let into = into.get_mut(..most).unwrap_or_default();
        loop {
            let result = match &mut self.decoder {
                Some(Decoder::Gzip(decoder)) => decoder.read(into),
                Some(Decoder::Zstd(decoder)) => decoder.read(into),
                Some(Decoder::End(_)) | None => return Ok(0),
            };
            match result {
                Ok(0) if into.is_empty() => return Ok(0),
                Ok(0) => self.next_segment().map_err(|error| self.judge(error))?,
                Ok(count) => {
                    self.bytes += count as u64;
                    self.allowance.set(self.allowance.get() - count as u64);
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.judge(error)),
            }
        }
    }
}

fn decode<R: Read>(
    compression: Compression,
    packed: Packed<R>,
) -> Result<Decoder<R>, PayloadError> {
    match compression {
        Compression::Gzip => Ok(Decoder::Gzip(Box::new(GzDecoder::new(packed)))),
        Compression::Zstd => {
            let mut decoder = ZstdDecoder::with_buffer(packed)
                .and_then(|mut decoder| {
                    decoder.window_log_max(WINDOW_LOG_MAX)?;
                    Ok(decoder)
                })
                .map_err(|error| damaged("zstd", &error))?;
            decoder = decoder.single_frame();
            Ok(Decoder::Zstd(decoder))
        }
    }
}

fn recognise(magic: &[u8]) -> Option<Compression> {
    match magic {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        // A frame, or one of the skippable frames that pzstd begins with.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            Some(Compression::Zstd)
        }
        _ => None,
    }
}

fn refuse_magic(magic: &[u8]) -> PayloadError {
    let found = match magic {
        [] => return PayloadError::Empty,
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz does".to_owned(),
        [b'B', b'Z', b'h', ..] => "bzip2 does".to_owned(),
        [b'P', b'K', 3, 4, ..] => "zip does".to_owned(),
        other => format!("\"{}\"", other.escape_ascii()),
    };
    PayloadError::NotPacked { found }
}

fn damaged(format: &'static str, error: &io::Error) -> PayloadError {
    PayloadError::DamagedStream { format, reason: error.to_string() }
}
