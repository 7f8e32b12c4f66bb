//! What the processors can do.

use serde::{Deserialize, Serialize};

use super::root::Root;

/// Flags of `/proc/cpuinfo` that each level of the x86-64 ABI adds to the previous one.
///
/// The source is the x86-64 psABI, "Micro-Architecture Levels".
const LEVELS: [&[&str]; 3] = [
    &["cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"],
    &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"],
    &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
];

/// The processors of a machine.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Cpu {
    /// How many there are.
    pub(crate) count: usize,
    /// Level of the x86-64 ABI, beginning with 1.
    pub(crate) level: usize,
}

pub(super) fn read(root: &Root) -> Cpu {
    parse(&root.may("proc/cpuinfo").unwrap_or_default())
}

fn parse(text: &str) -> Cpu {
    let value = |line: &'_ str, key: &str| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    };
    let count = text.lines().filter(|line| value(line, "processor").is_some()).count();
    let flags = text.lines().find_map(|line| value(line, "flags")).unwrap_or_default();
    let flags: Vec<_> = flags.split(' ').collect();
    let has = |level: &&&[&str]| level.iter().all(|flag| flags.contains(flag));
    Cpu { count, level: 1 + LEVELS.iter().take_while(has).count() }
}

#[cfg(test)]
mod tests {
    use super::{Cpu, parse};

    #[test]
    fn a_level_counts_only_above_all_lower_ones() {
        let v2 = "fpu sse2 cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3";
        let v3 = format!("{v2} avx avx2 bmi1 bmi2 f16c fma abm movbe xsave");
        for (flags, level) in
            [("fpu sse2", 1), (v2, 2), (v3.as_str(), 3), ("avx512f avx2 fma popcnt", 1)]
        {
            let one = format!("processor\t: 0\nflags\t\t: {flags}\n");
            let text = format!("{one}\n{}", one.replace(": 0", ": 1"));
            assert_eq!(parse(&text), Cpu { count: 2, level }, "{flags}");
        }
    }
}
