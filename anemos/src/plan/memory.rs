//! Computes before the jump whether there is enough memory.

use std::fmt;

use contract::payload::Description;
use serde::Serialize;

use crate::amount::mib;
use crate::facts::Facts;

const MIB: u64 = 1 << 20;

/// What the kernel of the deploy environment needs for itself and its drivers.
const KERNEL: u64 = 64 * MIB;
/// What programs of a `deploy` may need; `payload.toml` can ask for more.
const WORK: u64 = 64 * MIB;

/// Sizes of a final initramfs, in bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Sizes {
    /// Size of the file.
    pub(crate) file: u64,
    /// Size of everything in it, including the packed payload.
    pub(crate) unpacked: u64,
}

/// Memory that a deployment needs, at its peaks.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Budget {
    pub(crate) peaks: Vec<Peak>,
}

/// What happens when memory is scarce.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(into = "String")]
pub(crate) enum Moment {
    /// The running system takes the final initramfs into memory.
    Loading,
    /// The kernel unpacks it.
    Unpacking,
    /// PID 1 unpacks the payload.
    TakingApart,
    Deploying,
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Loading => "loading",
            Self::Unpacking => "unpacking",
            Self::TakingApart => "taking the payload apart",
            Self::Deploying => "deploying",
        })
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> Self {
        moment.to_string()
    }
}

/// A moment at which memory is scarce.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Peak {
    pub(crate) during: Moment,
    /// The memory that it needs, in bytes.
    pub(crate) needs: u64,
    /// The memory that there is, in bytes; absent for another machine.
    pub(crate) has: Option<u64>,
    /// What the memory is needed for.
    pub(crate) what_for: String,
}

impl Peak {
    /// Returns whether there is less than it needs.
    pub(crate) fn is_short(&self) -> bool {
        self.has.is_some_and(|has| has < self.needs)
    }
}

/// Computes the peaks, as far as sizes are known.
pub(super) fn budget(
    facts: &Facts,
    this_machine: bool,
    sizes: Option<Sizes>,
    payload: Option<&Description>,
) -> Budget {
    let has = |bytes: u64| this_machine.then_some(bytes);
    let mut peaks = Vec::new();
    if let Some(sizes) = sizes {
        peaks.push(loading(sizes, has(facts.memory.available)));
        peaks.push(unpacking(sizes, has(facts.memory.total)));
        if let Some(payload) = payload {
            peaks.push(taking_apart(sizes, payload, has(facts.memory.total)));
            peaks.push(deploying(sizes, payload, has(facts.memory.total)));
        }
    }
    Budget { peaks }
}

/// Returns the peak of loading.
///
/// `kexec_file_load` reads the file into its own buffer, then copies it to its final place.
fn loading(sizes: Sizes, has: Option<u64>) -> Peak {
    let what_for = format!("twice the final initramfs of {}", mib(sizes.file));
    Peak { during: Moment::Loading, needs: 2 * sizes.file, has, what_for }
}

/// Returns the peak of unpacking; the kernel frees the packed initramfs after unpacking all of it.
fn unpacking(sizes: Sizes, has: Option<u64>) -> Peak {
    let what_for = format!(
        "kernel {}, final initramfs {}, the same unpacked {}",
        mib(KERNEL),
        mib(sizes.file),
        mib(sizes.unpacked)
    );
    Peak { during: Moment::Unpacking, needs: KERNEL + sizes.file + sizes.unpacked, has, what_for }
}

/// Returns the peak of unpacking the payload; PID 1 removes the packed one afterwards.
fn taking_apart(sizes: Sizes, payload: &Description, has: Option<u64>) -> Peak {
    let what_for = format!(
        "kernel {}, unpacked initramfs {}, unpacked payload {}",
        mib(KERNEL),
        mib(sizes.unpacked),
        mib(payload.unpacked)
    );
    let needs = KERNEL + sizes.unpacked + payload.unpacked;
    Peak { during: Moment::TakingApart, needs, has, what_for }
}

fn deploying(sizes: Sizes, payload: &Description, has: Option<u64>) -> Peak {
    let initramfs = sizes.unpacked.saturating_sub(payload.size);
    let computed = KERNEL + initramfs + payload.unpacked + WORK;
    // People give the size of a machine, but the kernel only counts what it does not keep for
    // itself.
    let machine = payload.settings.memory.unwrap_or_default();
    let asked = machine.saturating_sub(KERNEL);
    let what_for = if asked > computed {
        format!("a machine with {} asked for by the payload", mib(machine))
    } else {
        format!(
            "kernel {}, initramfs without payload {}, unpacked payload {}, work space {}",
            mib(KERNEL),
            mib(initramfs),
            mib(payload.unpacked),
            mib(WORK)
        )
    };
    Peak { during: Moment::Deploying, needs: computed.max(asked), has, what_for }
}

#[cfg(test)]
mod tests {
    use contract::payload::Settings;

    use super::{Description, MIB, Peak, Sizes, deploying, loading, mib, unpacking};

    #[test]
    fn a_machine_of_the_size_that_a_payload_asks_for_is_enough() {
        let gib = 1024 * MIB;
        let settings = Settings { memory: Some(gib), ..Settings::default() };
        let payload = Description { settings, ..crate::plan::tests::payload() };
        let sizes = Sizes { file: MIB, unpacked: MIB };
        // What Linux 6.1 reports for 1 GiB, and for 896 MiB.
        for (total, short) in [(973 * MIB, false), (848 * MIB, true)] {
            assert_eq!(deploying(sizes, &payload, Some(total)).is_short(), short, "{total}");
        }
    }

    #[test]
    fn a_peak_is_short_only_when_something_is_known_to_be_missing() {
        for (has, short) in [(None, false), (Some(200 * MIB), false), (Some(200 * MIB - 1), true)] {
            let peak = loading(Sizes { file: 100 * MIB, unpacked: 0 }, has);
            assert_eq!((peak.needs, peak.is_short()), (200 * MIB, short), "{has:?}");
        }
    }

    #[test]
    fn unpacking_needs_packed_and_unpacked_at_once() {
        let peak: Peak = unpacking(Sizes { file: 100 * MIB, unpacked: 300 * MIB }, None);
        assert_eq!(mib(peak.needs), "464 MiB");
    }
}
