//! How much memory there is.

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::root::Root;

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Memory {
    pub(crate) total: u64,
    /// What programs can still use without swapping.
    pub(crate) available: u64,
}

pub(super) fn read(root: &Root) -> anyhow::Result<Memory> {
    let text = root.must("proc/meminfo")?;
    parse(&text).context("parsing /proc/meminfo")
}

fn parse(text: &str) -> Option<Memory> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024)
    };
    Some(Memory { total: field("MemTotal:")?, available: field("MemAvailable:")? })
}

#[cfg(test)]
mod tests {
    use super::{Memory, parse};

    #[test]
    fn sizes_are_bytes() {
        let text = "MemTotal:        2030112 kB\nMemFree: 1 kB\nMemAvailable:    1726452 kB\n";
        let want = Memory { total: 2_078_834_688, available: 1_767_886_848 };
        assert_eq!(parse(text), Some(want));
        assert_eq!(parse("MemTotal: 1 kB\n"), None);
    }
}
