//! How much memory a machine has, as the kernel counts it.

use serde::{Deserialize, Serialize};

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Memory {
    /// All memory that the kernel manages.
    pub total: u64,
    /// Memory that programs may still use without swapping.
    pub available: u64,
}

impl Memory {
    /// Parses `/proc/meminfo` (`proc_meminfo(5)`).
    pub fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            kib.checked_mul(1024)
        };
        Some(Self { total: field("MemTotal:")?, available: field("MemAvailable:")? })
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn sizes_are_bytes() {
        let text = "MemTotal:        2030112 kB\nMemFree: 1 kB\nMemAvailable:    1726452 kB\n";
        let want = Memory { total: 2_078_834_688, available: 1_767_886_848 };
        assert_eq!(Memory::parse(text), Some(want));
        assert_eq!(Memory::parse("MemTotal: 1 kB\n"), None);
    }
}
