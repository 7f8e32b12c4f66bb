//! Makes disk images with `qemu-img`, including ones with a known content.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::command::{Command, CommandError};
use crate::machine::Format;

/// Makes an empty qcow2 image of `size` bytes.
pub async fn create(image: &Path, size: u64) -> Result<(), CommandError> {
    qemu_img("create")
        .arg("-q")
        .arg("-f")
        .arg("qcow2")
        .arg(image)
        .arg(size.to_string())
        .run()
        .await?;
    Ok(())
}

/// Makes a qcow2 image that contains only what differs from `backing`, which is never written.
///
/// `backing` should be absolute: a relative path is looked up next to the overlay.
pub async fn overlay(image: &Path, backing: &Path, format: Format) -> Result<(), CommandError> {
    let command = qemu_img("create").arg("-q").arg("-f").arg("qcow2");
    command.arg("-F").arg(format.name()).arg("-b").arg(backing).arg(image).run().await?;
    Ok(())
}

/// Writes the backing image of a qcow2 image as a raw image; without one that is zeroes.
pub async fn backing_as_raw(image: &Path, raw: &Path) -> Result<(), CommandError> {
    let Info { virtual_size: size, full_backing_filename } = info(image).await?;
    if let Some(backing) = full_backing_filename {
        let convert = qemu_img("convert").args(["--force-share", "-O", "raw"]);
        convert.arg(backing).arg(raw).run().await?;
        Command::new("truncate").arg(format!("--size=>{size}")).arg(raw).run().await?;
    } else {
        Command::new("truncate").arg(format!("--size={size}")).arg(raw).run().await?;
    }
    Ok(())
}

/// Makes a qcow2 image from a raw one, which is not needed any more then.
pub async fn from_raw(image: &Path, raw: &Path) -> Result<(), CommandError> {
    let convert = qemu_img("convert").args(["-f", "raw", "-O", "qcow2"]);
    convert.arg(raw).arg(image).run().await?;
    Ok(())
}

/// Writes the content of a qcow2 image, as a guest sees it, as a raw image.
pub async fn to_raw(image: &Path, raw: &Path) -> Result<(), CommandError> {
    qemu_img("convert").args(["-f", "qcow2", "-O", "raw"]).arg(image).arg(raw).run().await?;
    Ok(())
}

/// Returns whether two qcow2 images have the same content.
pub async fn same(one: &Path, other: &Path) -> Result<bool, CommandError> {
    let compare = qemu_img("compare").args(["--force-share", "-f", "qcow2", "-F", "qcow2"]);
    match compare.arg(one).arg(other).run().await {
        Ok(_identical) => Ok(true),
        // The status for images that differ (qemu-img(1)).
        Err(CommandError::Status { status, .. }) if status.code() == Some(1) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes an image larger; one that is already large enough stays as it is.
pub async fn grow(image: &Path, size: u64) -> Result<(), CommandError> {
    if virtual_size(image).await? < size {
        qemu_img("resize").arg("-q").arg(image).arg(size.to_string()).run().await?;
    }
    Ok(())
}

/// Returns the size of an image as a guest sees it, in bytes.
pub async fn virtual_size(image: &Path) -> Result<u64, CommandError> {
    Ok(info(image).await?.virtual_size)
}

/// The output of `qemu-img info` for an image.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
    full_backing_filename: Option<PathBuf>,
}

async fn info(image: &Path) -> Result<Info, CommandError> {
    let command = qemu_img("info").arg("--output=json").arg("--force-share").arg(image);
    let said = command.run().await?;
    serde_json::from_slice(&said.stdout)
        .map_err(|error| CommandError::Wait { command: command.line(), source: error.into() })
}

fn qemu_img(verb: &str) -> Command {
    Command::new("qemu-img").arg(verb)
}

/// A raw disk image with a known pattern, which proves that nobody has written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Selects the pattern.
    pub seed: u64,
    /// Size in bytes, a multiple of 8.
    pub len: u64,
}

impl Witness {
    /// Describes a witness of 16 MiB.
    pub fn new(seed: u64) -> Self {
        Self { seed, len: 16 << 20 }
    }

    /// Writes the image.
    pub fn write(self, image: &Path) -> io::Result<()> {
        let mut file = File::create(image)?;
        let mut pattern = Pattern::new(self);
        loop {
            let block = pattern.block();
            if block.is_empty() {
                return Ok(());
            }
            file.write_all(&block)?;
        }
    }

    /// Returns the offset of the first byte that differs, or of the end of a short image.
    pub fn first_difference(self, image: &Path) -> io::Result<Option<u64>> {
        let mut file = File::open(image)?;
        let mut pattern = Pattern::new(self);
        let mut offset = 0;
        loop {
            let want = pattern.block();
            let mut got = Vec::new();
            (&mut file).take(want.len().max(1) as u64).read_to_end(&mut got)?;
            let same = want.iter().zip(&got).take_while(|(want, got)| want == got).count();
            if same < want.len().max(got.len()) {
                return Ok(Some(offset + same as u64));
            }
            if want.is_empty() {
                return Ok(None);
            }
            offset += want.len() as u64;
        }
    }
}

/// The pattern of a witness, block by block (xorshift64*, any generator would do).
struct Pattern {
    state: u64,
    left: u64,
}

impl Pattern {
    const BLOCK: u64 = 1 << 20;

    fn new(witness: Witness) -> Self {
        // The generator would stay at zero forever.
        Self { state: witness.seed | 1 << 63, left: witness.len }
    }

    /// Returns the next block; an empty one is the end.
    fn block(&mut self) -> Vec<u8> {
        let words = self.left.min(Self::BLOCK) / 8;
        self.left -= self.left.min(Self::BLOCK);
        (0..words).flat_map(|_| self.word().to_le_bytes()).collect()
    }

    fn word(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, SeekFrom};

    use super::*;

    #[test]
    fn a_witness_tells_the_first_byte_that_differs() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("witness");
        let witness = Witness { len: (1 << 20) + 4096, ..Witness::new(7) };
        for at in [0, 511, 1 << 20, (1 << 20) + 4095] {
            witness.write(&image).expect("it is written");
            assert_eq!(witness.first_difference(&image).expect("a check"), None, "untouched");
            flip(&image, at);
            let found = witness.first_difference(&image).expect("a check");
            assert_eq!(found, Some(at), "flipped at {at}");
        }
    }

    #[test]
    fn another_seed_a_short_image_and_a_long_image_differ() {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("witness");
        let witness = Witness { len: 8192, ..Witness::new(7) };
        for (written, want) in [
            (Witness { seed: 8, ..witness }, Some(0)),
            (Witness { len: 4096, ..witness }, Some(4096)),
            (Witness { len: 8200, ..witness }, Some(8192)),
        ] {
            written.write(&image).expect("it is written");
            let found = witness.first_difference(&image).expect("a check");
            assert_eq!(found, want, "{written:?}");
        }
    }

    #[tokio::test]
    async fn an_overlay_grows_and_never_shrinks_and_its_backing_file_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let (backing, disk) = (folder.path().join("fixture"), folder.path().join("disk"));
        create(&backing, 8 << 20).await.expect("a fixture");
        let before = std::fs::read(&backing).expect("the fixture");
        overlay(&disk, &backing, Format::Qcow2).await.expect("an overlay");
        for (size, want) in [(16 << 20, 16 << 20), (4 << 20, 16 << 20)] {
            grow(&disk, size).await.expect("it grows");
            // Bytes 24 to 31 of a qcow2 header are the size, big endian.
            let header = std::fs::read(&disk).expect("the overlay");
            assert_eq!(header[24..32], u64::to_be_bytes(want), "asked for {size}");
        }
        assert_eq!(std::fs::read(&backing).expect("the fixture"), before);
    }

    fn flip(image: &Path, at: u64) {
        let mut file = File::options().read(true).write(true).open(image).expect("the image");
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).expect("the offset");
        file.read_exact(&mut byte).expect("a byte");
        file.seek(SeekFrom::Start(at)).expect("the offset");
        file.write_all(&[!byte[0]]).expect("a byte");
    }
}
