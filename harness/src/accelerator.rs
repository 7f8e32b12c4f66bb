//! Finds out whether this host can run guests on its processor, by proof.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use self::spin::SpinError;
use crate::budget::SpeedFactor;
use crate::command::Command;
use crate::machine::Accelerator;
use crate::machine::args::PROGRAM;

mod init;
mod probe;
mod spin;

/// The time that real hardware needs for the boot of [`measure`].
const REFERENCE: Duration = Duration::from_millis(500);
/// Only a broken accelerator takes longer than this for that boot.
const PROOF_LIMIT: Duration = Duration::from_secs(5);
/// The slowest host that can still be measured, with room for the start of QEMU.
const MEASURE_LIMIT: Duration = Duration::from_secs(25);

/// How long a measurement holds: the load of a host changes.
const FRESH: Duration = Duration::from_mins(15);

/// An accelerator and why it was chosen.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// The accelerator to use.
    pub accelerator: Accelerator,
    /// One line for people: what was measured.
    pub evidence: String,
}

impl Proof {
    fn kvm(evidence: impl Into<String>) -> Self {
        Self { accelerator: Accelerator::Kvm, evidence: evidence.into() }
    }

    fn tcg(evidence: impl Into<String>) -> Self {
        Self { accelerator: Accelerator::Tcg, evidence: evidence.into() }
    }
}

/// A proof, with the host that it applies to.
#[derive(Debug, Deserialize, Serialize)]
struct Remembered {
    host: String,
    proof: Proof,
}

/// How long the boot of [`measure`] took, with the host that it was measured on.
#[derive(Debug, Deserialize, Serialize)]
struct Measured {
    host: String,
    millis: u64,
}

/// Finds the accelerator to use, or remembers it from the file `memory` of an earlier run.
///
/// With a `kernel`, KVM must also boot it. Being unable to remember is not an error.
pub async fn prove(memory: &Path, kernel: Option<&Path>) -> Proof {
    let Some(host) = host(kernel).await else { return find(kernel).await };
    if let Some(proof) = remembered(memory, &host) {
        return proof;
    }
    let proof = find(kernel).await;
    remember(memory, &Remembered { host, proof: proof.clone() });
    proof
}

async fn find(kernel: Option<&Path>) -> Proof {
    judge(spin::time(), Accelerator::Kvm, kernel).await
}

/// Tries the cheapest test first, the most expensive last.
///
/// Where there is no KVM, a test puts another accelerator in its place.
async fn judge(
    spun: Result<Duration, SpinError>,
    kvm: Accelerator,
    kernel: Option<&Path>,
) -> Proof {
    let spun = match spun {
        Ok(spun) if spun < spin::SLOW => spun,
        Ok(spun) => return Proof::tcg(too_slow(spun)),
        Err(error) => return Proof::tcg(error.to_string()),
    };
    let limit = if kvm == Accelerator::Kvm { PROOF_LIMIT } else { MEASURE_LIMIT };
    let booted = match kernel {
        Some(kernel) => probe::boot(kvm, kernel, limit).await,
        None => probe::firmware(kvm, limit).await,
    };
    let spun = format!("{} rounds of a loop took {:.1} ms", spin::ROUNDS, millis(spun));
    match (booted, kernel) {
        (Ok(took), Some(_)) => Proof::kvm(format!("{spun}, a kernel {:.0} ms", millis(took))),
        (Ok(took), None) => Proof::kvm(format!("{spun}, the firmware {:.0} ms", millis(took))),
        (Err(error), _) => Proof::tcg(format!("{spun}, but under KVM: {error}")),
    }
}

fn too_slow(spun: Duration) -> String {
    format!(
        "KVM is there but emulated: {} rounds of a loop took {:.0} ms, {} ms would be slow",
        spin::ROUNDS,
        millis(spun),
        spin::SLOW.as_millis()
    )
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Identifies this boot of the host, its processor, this QEMU and the kernel to boot, if any.
async fn host(kernel: Option<&Path>) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processors.lines().find(|line| line.starts_with("model name"));
    let processor = processor.and_then(|line| line.split_once(": ")).unwrap_or_default().1;
    let version = Command::new(PROGRAM).arg("--version").run().await.ok()?.text();
    let with = match kernel {
        None => "firmware".to_owned(),
        Some(kernel) => {
            let file = std::fs::metadata(kernel).ok()?;
            let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            format!("{} {} {}", kernel.display(), file.len(), changed.as_secs())
        }
    };
    Some(format!("{} {processor} {} {with}", boot.trim(), version.lines().next()?))
}

fn remembered(file: &Path, host: &str) -> Option<Proof> {
    let text = std::fs::read_to_string(file).ok()?;
    let remembered: Remembered = serde_json::from_str(&text).ok()?;
    (remembered.host == host).then_some(remembered.proof)
}

/// Remembers something; if the cache cannot be written, the next run finds it out again.
fn remember(file: &Path, what: &impl Serialize) {
    if let (Some(folder), Ok(text)) = (file.parent(), serde_json::to_string(what)) {
        drop(std::fs::create_dir_all(folder).and_then(|()| std::fs::write(file, text)));
    }
}

/// Measures how slow guests are: boots `kernel` until a program runs.
///
/// Without a kernel, or if it does not get that far, the usual factor is assumed. What was measured
/// on this boot of the host holds for [`FRESH`]; `file` remembers it.
pub async fn measure(file: &Path, accelerator: Accelerator, kernel: Option<&Path>) -> SpeedFactor {
    let Some(kernel) = kernel else { return usual(accelerator) };
    let host = host(Some(kernel)).await;
    if let Some(millis) = host.as_deref().and_then(|host| measured(file, host)) {
        return factor(Duration::from_millis(millis));
    }
    let Ok(took) = probe::boot(accelerator, kernel, MEASURE_LIMIT).await else {
        return usual(accelerator);
    };
    if let Some(host) = host {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        remember(file, &Measured { host, millis });
    }
    factor(took)
}

/// Returns what was measured lately on this host.
fn measured(file: &Path, host: &str) -> Option<u64> {
    let age = file.metadata().ok()?.modified().ok()?.elapsed().ok()?;
    let text = std::fs::read_to_string(file).ok()?;
    let measured: Measured = serde_json::from_str(&text).ok()?;
    (age < FRESH && measured.host == host).then_some(measured.millis)
}

fn factor(took: Duration) -> SpeedFactor {
    SpeedFactor::new(took.as_secs_f64() / REFERENCE.as_secs_f64())
}

fn usual(accelerator: Accelerator) -> SpeedFactor {
    match accelerator {
        Accelerator::Kvm => SpeedFactor::REAL,
        Accelerator::Tcg => SpeedFactor::EMULATED,
    }
}

/// Returns a readable kernel of this host, for [`prove`] and [`measure`].
pub fn host_kernel() -> Option<PathBuf> {
    let entries = std::fs::read_dir("/boot").ok()?.filter_map(Result::ok);
    let kernels = entries.map(|entry| entry.path()).filter(|path| {
        path.to_string_lossy().starts_with("/boot/vmlinuz") && std::fs::File::open(path).is_ok()
    });
    kernels.max()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the kernel that tests boot.
    fn kernel() -> PathBuf {
        let named = std::env::var_os("ANEMOS_TEST_KERNEL").map(PathBuf::from);
        named.or_else(host_kernel).expect("ANEMOS_TEST_KERNEL names no kernel, nor has /boot one")
    }

    #[tokio::test]
    async fn a_fast_loop_and_a_kernel_on_which_a_program_runs_prove_kvm() {
        let (fast, kernel) = (Duration::from_micros(100), kernel());
        let proof = judge(Ok(fast), Accelerator::Tcg, Some(&kernel)).await;
        assert_eq!(proof.accelerator, Accelerator::Kvm, "{}", proof.evidence);
        assert!(proof.evidence.contains("took 0.1 ms, a kernel "), "{}", proof.evidence);
    }

    #[tokio::test]
    async fn a_fast_loop_proves_nothing_if_no_kernel_comes_up() {
        let (fast, folder) = (Duration::from_micros(100), tempfile::tempdir().unwrap());
        let nothing = folder.path().join("vmlinuz");
        std::fs::write(&nothing, "no kernel").unwrap();
        let proof = judge(Ok(fast), Accelerator::Tcg, Some(&nothing)).await;
        assert_eq!(proof.accelerator, Accelerator::Tcg, "{}", proof.evidence);
        assert!(proof.evidence.contains("but under KVM: "), "{}", proof.evidence);
        let slow = judge(Ok(spin::SLOW), Accelerator::Tcg, Some(&nothing)).await;
        assert!(slow.evidence.starts_with("KVM is there but emulated"), "{}", slow.evidence);
    }

    #[test]
    fn a_proof_is_remembered_for_its_host_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("new/accelerator.json");
        assert_eq!(remembered(&file, "a"), None, "nothing was written");
        let proof = Proof::tcg("/dev/kvm is not there");
        remember(&file, &Remembered { host: "a".to_owned(), proof: proof.clone() });
        assert_eq!(remembered(&file, "a"), Some(proof));
        assert_eq!(remembered(&file, "b"), None);
        std::fs::write(&file, "{").expect("a torn file");
        assert_eq!(remembered(&file, "a"), None, "the file is torn");
    }

    #[test]
    fn a_measurement_holds_for_its_host_and_a_while() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("speed.json");
        assert_eq!(measured(&file, "a"), None, "nothing was written");
        remember(&file, &Measured { host: "a".to_owned(), millis: 2300 });
        assert_eq!(measured(&file, "a"), Some(2300));
        assert_eq!(measured(&file, "b"), None);
        let old = std::time::SystemTime::now() - FRESH;
        std::fs::File::options().append(true).open(&file).expect("it").set_modified(old).expect("");
        assert_eq!(measured(&file, "a"), None, "it is too old");
    }

    #[test]
    fn the_factor_is_the_ratio_to_real_hardware() {
        for (millis, want) in [(100, 1.0), (500, 1.0), (2500, 5.0), (60_000, 40.0)] {
            let got = factor(Duration::from_millis(millis)).get();
            assert!((got - want).abs() < 1e-9, "{millis} ms became {got}");
        }
        assert_eq!(usual(Accelerator::Tcg), SpeedFactor::EMULATED);
        assert_eq!(usual(Accelerator::Kvm), SpeedFactor::REAL);
    }

    #[test]
    fn an_emulated_kvm_is_told_with_both_numbers() {
        assert_eq!(
            too_slow(Duration::from_micros(66_400)),
            "KVM is there but emulated: 100000 rounds of a loop took 66 ms, \
             10 ms would be slow"
        );
    }
}
