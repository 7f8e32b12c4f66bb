//! How much memory the programs of a payload take, files in the deploy environment included.

use std::fs;

/// What was in use at most, as far as somebody looked.
#[derive(Debug, Default)]
pub(super) struct Peak {
    total: u64,
    used: u64,
}

impl Peak {
    /// Looks at this moment.
    pub(super) fn look(&mut self) {
        let Some((total, available)) =
            fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(parse)
        else {
            return;
        };
        self.total = total;
        self.used = self.used.max(total.saturating_sub(available));
    }

    /// For people; none where nobody could look.
    pub(super) fn told(&self, name: &str) -> Option<String> {
        let mib = |kib: u64| kib.div_ceil(1 << 10);
        (self.total > 0).then(|| {
            let (used, total) = (mib(self.used), mib(self.total));
            format!("memory: at most {used} MiB of {total} MiB were in use during `{name}`")
        })
    }
}

/// Total and available memory in KiB (`proc_meminfo(5)`).
fn parse(text: &str) -> Option<(u64, u64)> {
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    Some((number("MemTotal:")?, number("MemAvailable:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_available_is_in_use_and_the_most_counts() {
        let text = "MemTotal:         786432 kB\nMemFree: 1 kB\nMemAvailable:     262144 kB\n";
        assert_eq!(parse(text), Some((786_432, 262_144)));
        let peak = Peak { total: 786_432, used: 524_288 };
        let want = "memory: at most 512 MiB of 768 MiB were in use during `makeimg`";
        assert_eq!(peak.told("makeimg").as_deref(), Some(want));
        assert_eq!(Peak::default().told("makeimg"), None);
    }
}
