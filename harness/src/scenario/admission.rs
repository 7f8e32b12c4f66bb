//! Decides when the next scenario may start: as soon as a core of the host is idle.
//!
//! A guest that holds, or waits for the network or a timer, leaves its processors idle; meanwhile,
//! another one may have the core.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use procfs::{Current, Meminfo};
use tokio::sync::Mutex;

use crate::load;

/// Time between two looks at the processors.
const PERIOD: Duration = Duration::from_secs(1);
/// A scenario counts as busy as it was during this many seconds on average.
const WINDOW: usize = 4;
/// Part of a core that must be free.
const FREE: f64 = 0.7;
/// Memory of the host that must be available for another guest, in bytes.
///
/// It is enough for QEMU with the largest guest of the suite that does not say it is larger.
const MEMORY: u64 = 2 << 30;
/// Scenarios that may run per core; with more, guests wait for each other's disks.
const PER_CORE: usize = 2;

/// The scenarios that are running, with how busy they are.
#[derive(Debug)]
pub struct Admission {
    cores: usize,
    door: Mutex<()>,
    running: RefCell<BTreeMap<u64, Running>>,
    next: RefCell<u64>,
}

/// A scenario that may run; it leaves when this is dropped.
#[derive(Debug)]
pub struct Admitted<'a> {
    admission: &'a Admission,
    number: u64,
}

/// The process of a scenario.
#[derive(Debug, Default)]
struct Running {
    pid: Option<i32>,
    /// When it was looked at, and the time on processors that it had wanted by then; latest last.
    looks: Vec<(Instant, Duration)>,
}

impl Admission {
    /// Lets as many busy scenarios run at a time as there are `cores`.
    pub fn new(cores: usize) -> Self {
        let (door, running, next) = (Mutex::new(()), RefCell::default(), RefCell::default());
        Self { cores: cores.max(1), door, running, next }
    }

    /// How many scenarios may be asked to enter at the same time.
    pub fn most(&self) -> usize {
        if self.cores == 1 { 1 } else { self.cores * PER_CORE }
    }

    /// Waits until there is a core for another scenario; who asked first enters first.
    pub async fn enter(&self) -> Admitted<'_> {
        let _turn = self.door.lock().await;
        loop {
            self.look(Instant::now());
            let loads: Vec<f64> = self.running.borrow().values().map(Running::load).collect();
            if is_free(self.cores, &loads, available()) {
                break;
            }
            tokio::time::sleep(PERIOD).await;
        }
        let number = *self.next.borrow();
        *self.next.borrow_mut() += 1;
        self.running.borrow_mut().insert(number, Running::default());
        Admitted { admission: self, number }
    }

    fn look(&self, now: Instant) {
        for running in self.running.borrow_mut().values_mut() {
            if let Some(wanted) = running.pid.and_then(load::wanted) {
                // Nobody looks while nobody waits; what is older says nothing about now.
                running.looks.retain(|(at, _)| now.duration_since(*at) < PERIOD * 8);
                running.looks.push((now, wanted));
                let old = running.looks.len().saturating_sub(WINDOW + 1);
                running.looks.drain(..old);
            }
        }
    }
}

impl Admitted<'_> {
    /// Notes which process the scenario is.
    pub fn is(&self, pid: Option<u32>) {
        if let Some(running) = self.admission.running.borrow_mut().get_mut(&self.number) {
            running.pid = pid.and_then(|pid| i32::try_from(pid).ok());
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.admission.running.borrow_mut().remove(&self.number);
    }
}

impl Running {
    /// How many cores it would keep busy if it had them; one as long as too little is known.
    fn load(&self) -> f64 {
        match self.looks.as_slice() {
            [(since, before), .., (until, after)] if self.looks.len() > WINDOW => {
                let wanted = after.saturating_sub(*before).as_secs_f64();
                wanted / until.duration_since(*since).as_secs_f64().max(f64::EPSILON)
            }
            _ => 1.0,
        }
    }
}

/// Returns whether another scenario may start beside those with these loads.
fn is_free(cores: usize, loads: &[f64], available: Option<u64>) -> bool {
    if loads.is_empty() {
        return true;
    }
    let memory = available.is_none_or(|available| available >= MEMORY);
    #[expect(clippy::cast_precision_loss, reason = "no host has so many cores")]
    let idle = cores as f64 - loads.iter().sum::<f64>();
    loads.len() < cores * PER_CORE && memory && cores > 1 && idle >= FREE
}

/// Returns the memory that programs may take without swapping.
///
/// That is `MemAvailable` of `proc_meminfo(5)`.
fn available() -> Option<u64> {
    Meminfo::current().ok()?.mem_available
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_one_starts_beside_those_that_only_wait() {
        let plenty = Some(8 << 30);
        for (cores, loads, available, want) in [
            (2, vec![], Some(0), true),
            (2, vec![1.0], plenty, true),
            (2, vec![1.0, 1.0], plenty, false),
            (2, vec![1.0, 0.1], plenty, true),
            (2, vec![1.0, 0.4], plenty, false),
            (2, vec![1.0, 0.1], Some(1 << 30), false),
            (2, vec![1.0, 0.1], None, true),
            (2, vec![0.05; 4], plenty, false),
            (1, vec![0.05], plenty, false),
            (4, vec![1.0, 1.0, 1.0, 0.2], plenty, true),
        ] {
            assert_eq!(is_free(cores, &loads, available), want, "{cores} {loads:?} {available:?}");
        }
    }

    #[test]
    fn what_has_just_begun_counts_as_busy() {
        let now = Instant::now();
        let look = |second: u64, used: u64| {
            (now + Duration::from_secs(second), Duration::from_millis(used))
        };
        let mut running = Running::default();
        assert!((running.load() - 1.0).abs() < 0.001);
        running.looks = (0..=4).map(|second| look(second, 50 * second)).collect();
        assert!((running.load() - 0.05).abs() < 0.001);
        running.looks.truncate(3);
        assert!((running.load() - 1.0).abs() < 0.001);
    }
}
