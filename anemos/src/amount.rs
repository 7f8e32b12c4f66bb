//! Formats and parses amounts in the way people write them: sizes, moments.

use std::time::{Duration, UNIX_EPOCH};

use harness::size::Size;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The end of the year 9999.
const LAST_MOMENT: u64 = 253_402_300_799;

/// Renders bytes as MiB, rounded up.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(MIB))
}

/// Renders bytes as MiB, rounded down: what is available, compared with what is needed.
pub(crate) fn mib_down(bytes: u64) -> String {
    format!("{} MiB", bytes / MIB)
}

/// Renders bytes as GiB with one decimal, or as MiB if they are less than that.
pub(crate) fn gib(bytes: u64) -> String {
    if bytes < GIB { mib(bytes) } else { format!("{}.{} GiB", bytes / GIB, bytes % GIB * 10 / GIB) }
}

/// Renders a size in MiB, or in bytes if only that is exact.
pub(crate) fn exact(bytes: u64) -> String {
    match bytes {
        0..MIB => format!("{bytes} bytes"),
        _ if bytes.is_multiple_of(MIB) => mib(bytes),
        _ => format!("{}.{} MiB ({bytes} bytes)", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

/// Reads a size with its unit.
pub(crate) fn parse(text: &str) -> Result<Size, String> {
    Size::parse(text).ok_or_else(|| "use a size such as 512M or 4G".to_owned())
}

/// Renders a moment in UTC, given in seconds since 1970.
pub(crate) fn date(seconds: u64) -> String {
    // Moments beyond its calendar are shown as its last moment.
    let seconds = seconds.min(LAST_MOMENT);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rendering_of_a_size_rounds_in_its_own_way() {
        for (bytes, want) in [
            (1, ["1 MiB", "0 MiB", "1 MiB", "1 bytes"]),
            (MIB, ["1 MiB", "1 MiB", "1 MiB", "1 MiB"]),
            (MIB * 3 / 2, ["2 MiB", "1 MiB", "2 MiB", "1.5 MiB (1572864 bytes)"]),
            (GIB * 7 / 2, ["3584 MiB", "3584 MiB", "3.5 GiB", "3584 MiB"]),
        ] {
            let all = [mib(bytes), mib_down(bytes), gib(bytes), exact(bytes)];
            assert_eq!(all, want, "{bytes}");
        }
    }

    #[test]
    fn a_moment_beyond_the_calendar_is_its_last_one() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(u64::MAX), "9999-12-31T23:59:59Z");
    }
}
