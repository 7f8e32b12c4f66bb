//! Reads modules and firmware, whose files a distribution may have compressed one by one.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const SUFFIXES: [&str; 3] = [".xz", ".zst", ".gz"];

/// Returns the name without the suffix of its compression.
pub(crate) fn plain_name(name: &str) -> &str {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Opens a file and reads it uncompressed.
///
/// Modules are packed uncompressed, because loading compressed ones needs a kernel option that not
/// every kernel has (`CONFIG_MODULE_DECOMPRESS`), and our segment is compressed as a whole.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let file = BufReader::new(File::open(path)?);
    let suffix = path.extension().and_then(|suffix| suffix.to_str());
    Ok(match suffix {
        Some("xz") => Box::new(liblzma::read::XzDecoder::new(file)),
        Some("zst") => Box::new(zstd::Decoder::new(file)?),
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
        _ => Box::new(file),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn modules_of_every_compression_read_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: Vec<u8>| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            let mut text = String::new();
            open(&path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, "module", "{name}");
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"module").unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
        xz.write_all(b"module").unwrap();
        write("a.ko", b"module".to_vec());
        write("a.ko.gz", gzip.finish().unwrap());
        write("a.ko.xz", xz.finish().unwrap());
        write("a.ko.zst", zstd::encode_all(&b"module"[..], 0).unwrap());
    }
}
