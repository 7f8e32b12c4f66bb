//! The variable `format`: what becomes of the root folder.

use std::fmt;

use crate::error::Problem;

/// What a build leaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Format {
    /// One disk image.
    Raw(Raw),
    /// An archive; the word is its file name extension, which names the compression.
    Tar(String),
    /// The root folder itself.
    Dir,
    /// Whatever `setup` and `cleanup` make.
    Custom,
}

/// A disk image with one partition for the root folder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Raw {
    /// How large it is.
    pub size: Size,
    /// The kind of its partition table.
    pub table: PartitionTable,
    /// What mkfs(8) takes as `--type`.
    pub filesystem: String,
}

/// A number of bytes, as truncate(1) writes it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Size(pub u64);

/// A kind of partition table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartitionTable {
    /// The DOS partition table.
    Msdos,
    /// The partition table of UEFI.
    Gpt,
}

/// The value of `format` if IMGBUILD sets none.
pub(crate) const DEFAULT: &str = "raw 8G msdos ext4";

/// A smaller image has no room for a partition at 1 MiB with a file system in it.
const SMALLEST: u64 = 2 << 20;

/// The features of ext4 that GRUB 2.06 reads, whatever the defaults of the host's mke2fs(8) are.
pub(crate) const EXT4_FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,\
                                        extent,64bit,flex_bg,sparse_super,large_file,huge_file,\
                                        dir_nlink,extra_isize,metadata_csum";

const HINT: &str = "write `raw SIZE PARTTYPE FILESYSTEM`, `tar COMPRESSION`, `dir` or `custom`";

impl Format {
    /// Parses the variable.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let words: Vec<&str> = text.split_whitespace().collect();
        match words.as_slice() {
            ["raw", rest @ ..] => Raw::parse(text, rest).map(Self::Raw),
            ["tar"] => Ok(Self::Tar("gz".to_owned())),
            ["tar", compression] => Ok(Self::Tar((*compression).to_owned())),
            ["dir"] => Ok(Self::Dir),
            ["custom"] => Ok(Self::Custom),
            _ => Err(refuse(text, "this is not a known format")),
        }
    }
}

fn refuse(text: &str, why: impl fmt::Display) -> Problem {
    Problem::refused(format!("format {text:?}: {why}"), HINT)
}

impl Raw {
    fn parse(text: &str, words: &[&str]) -> Result<Self, Problem> {
        let mut words = words.iter().copied().peekable();
        let is_table = |word: &&str| PartitionTable::parse(word).is_some();
        // The first word can be left out if the next one cannot be a size.
        let size = match words.next_if(|word| !is_table(word)) {
            None => Size(8 << 30),
            Some(word) => Size::parse(word)
                .ok_or_else(|| refuse(text, format!("{word:?} is not a size, such as 8G")))?,
        };
        if size.0 < SMALLEST {
            return Err(refuse(text, format!("{size} is too small for a partition at 1 MiB")));
        }
        let table = match words.next() {
            None => PartitionTable::Msdos,
            Some(word) => PartitionTable::parse(word)
                .ok_or_else(|| refuse(text, format!("{word:?} is neither msdos nor gpt")))?,
        };
        let filesystem = words.next().unwrap_or("ext4");
        if let Some(word) = words.next() {
            return Err(refuse(text, format!("{word:?} is one word too many")));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if filesystem.starts_with('-') || !filesystem.bytes().all(plain) {
            return Err(refuse(text, format!("{filesystem:?} is not the name of a file system")));
        }
        Ok(Self { size, table, filesystem: filesystem.to_owned() })
    }
}

impl PartitionTable {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "msdos" => Some(Self::Msdos),
            "gpt" => Some(Self::Gpt),
            _ => None,
        }
    }

    /// Returns its name in sfdisk(8).
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Msdos => "dos",
            Self::Gpt => "gpt",
        }
    }
}

impl Size {
    /// Parses a size as truncate(1) does: `K` is 1024, `KB` is 1000, `KiB` is 1024.
    fn parse(word: &str) -> Option<Self> {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = word.split_at_checked(digits)?;
        let number: u64 = number.parse().ok()?;
        let (letter, base) = match unit.split_at_checked(1) {
            None => return Some(Self(number)),
            Some((letter, "" | "iB")) => (letter, 1024_u64),
            Some((letter, "B")) => (letter, 1000),
            Some(_) => return None,
        };
        let power = "KMGTPE".find(&letter.to_ascii_uppercase())?;
        let factor = base.checked_pow(u32::try_from(power).ok()? + 1)?;
        number.checked_mul(factor).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0.div_ceil(1 << 20);
        if self.0 < 1 << 20 {
            write!(formatter, "{} bytes", self.0)
        } else if mib.is_multiple_of(1024) {
            write!(formatter, "{} GiB", mib / 1024)
        } else {
            write!(formatter, "{mib} MiB")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(size: u64, table: PartitionTable, filesystem: &str) -> Format {
        Format::Raw(Raw { size: Size(size), table, filesystem: filesystem.to_owned() })
    }

    #[test]
    fn parameters_may_be_left_out() {
        use PartitionTable::{Gpt, Msdos};
        for (text, want) in [
            (DEFAULT, raw(8 << 30, Msdos, "ext4")),
            ("raw", raw(8 << 30, Msdos, "ext4")),
            ("raw 512M", raw(512 << 20, Msdos, "ext4")),
            ("raw 5MB gpt", raw(5_000_000, Gpt, "ext4")),
            ("raw 1GiB gpt btrfs", raw(1 << 30, Gpt, "btrfs")),
            ("raw gpt xfs", raw(8 << 30, Gpt, "xfs")),
            (" tar ", Format::Tar("gz".to_owned())),
            ("tar zst", Format::Tar("zst".to_owned())),
            ("dir", Format::Dir),
            ("custom", Format::Custom),
        ] {
            assert_eq!(Format::parse(text).map_err(|problem| problem.to_string()), Ok(want));
        }
    }

    #[test]
    fn a_word_that_is_wrong_is_named() {
        for (text, want) in [
            ("", "this is not a known format"),
            ("iso", "this is not a known format"),
            ("dir x", "this is not a known format"),
            ("raw 8Q", "\"8Q\" is not a size, such as 8G"),
            ("raw ext4", "\"ext4\" is not a size, such as 8G"),
            ("raw 99999999999E", "\"99999999999E\" is not a size, such as 8G"),
            ("raw 64K", "65536 bytes is too small for a partition at 1 MiB"),
            ("raw 8G mbr", "\"mbr\" is neither msdos nor gpt"),
            ("raw 8G gpt ext4 x", "\"x\" is one word too many"),
            ("raw 8G gpt --help", "\"--help\" is not the name of a file system"),
            ("raw 8G gpt ../x", "\"../x\" is not the name of a file system"),
        ] {
            let found = Format::parse(text).map_err(|problem| problem.to_string());
            assert_eq!(found, Err(format!("format {text:?}: {want}")));
        }
    }
}
