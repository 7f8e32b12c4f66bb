//! Sizes as people write them: `512M`, `4G`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(u64);

impl Size {
    /// Creates a size from a number of bytes.
    pub const fn of_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Parses a size such as `512M`, `4GiB` or `1073741824`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_suffix("iB").or_else(|| text.strip_suffix('B')).unwrap_or(text);
        let (digits, shift) = match text.char_indices().last()? {
            (at, 'k' | 'K') => (&text[..at], 10),
            (at, 'm' | 'M') => (&text[..at], 20),
            (at, 'g' | 'G') => (&text[..at], 30),
            (at, 't' | 'T') => (&text[..at], 40),
            _ => (text, 0),
        };
        digits.parse::<u64>().ok()?.checked_mul(1 << shift).map(Self)
    }

    /// Returns the number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// Returns the number of whole mebibytes, as QEMU expects a size of memory.
    pub fn mib(self) -> u32 {
        u32::try_from(self.0 >> 20).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for Size {
    /// Writes the largest unit that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
        let unit =
            units.iter().find(|(shift, _)| self.0 != 0 && self.0.is_multiple_of(1u64 << shift));
        let (shift, name) = unit.copied().unwrap_or((0, ""));
        write!(f, "{}{name}", self.0 >> shift)
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| {
            format!("{text:?} is not a size; write it as 512M, 4G or a number of bytes")
        })
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        size.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_unit() {
        for (text, want) in [
            ("1G", Some(1 << 30)),
            ("512M", Some(512 << 20)),
            ("2GiB", Some(2 << 30)),
            ("4096", Some(4096)),
            ("16 M", None),
            ("", None),
            ("G", None),
            ("99999999999T", None),
        ] {
            assert_eq!(Size::parse(text).map(Size::bytes), want, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes: u64) {
            prop_assert_eq!(Size::parse(&Size(bytes).to_string()), Some(Size(bytes)));
        }
    }
}
