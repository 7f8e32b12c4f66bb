//! Reads how long processes have used the host's processors, or waited for one.

use std::time::Duration;

use procfs::ProcResult;
use procfs::process::Process;

/// Returns for how long a process, its threads and all that it has started have used processors
/// (`/proc/PID/stat`, `proc_pid_stat(5)`), or waited for one; ended children count once they were
/// waited for, by what they used.
///
/// Nothing if the process is gone.
pub fn wanted(pid: i32) -> Option<Duration> {
    let process = Process::new(pid).ok()?;
    let stat = process.stat().ok()?;
    let waited_for = u64::try_from(stat.cutime + stat.cstime).unwrap_or_default();
    let ticks = stat.utime + stat.stime + waited_for;
    let own = Duration::from_millis(ticks * 1000 / procfs::ticks_per_second());
    // A child may end meanwhile: then the next look counts it here.
    let below = children(&process).unwrap_or_default().into_iter().filter_map(wanted);
    Some(own + Duration::from_nanos(starved_nanos(pid)) + below.sum())
}

/// Returns for how long a process was ready to run and had to wait for a processor, in nanoseconds
/// (`/proc/PID/task/TID/schedstat`, `Documentation/scheduler/sched-stats.rst`).
///
/// Zero if the kernel does not count it, or the process is gone.
pub fn starved_nanos(pid: i32) -> u64 {
    let waited = |process: Process| -> ProcResult<u64> {
        let tasks = process.tasks()?.flatten();
        // QEMU's emulated processors are a thread each: the one that waited longest counts.
        Ok(tasks.filter_map(|task| Some(task.schedstat().ok()?.run_delay)).max().unwrap_or(0))
    };
    Process::new(pid).and_then(waited).unwrap_or(0)
}

fn children(process: &Process) -> ProcResult<Vec<i32>> {
    let mut children = Vec::new();
    for task in process.tasks()? {
        let found = task?.children()?;
        children.extend(found.into_iter().filter_map(|pid| i32::try_from(pid).ok()));
    }
    Ok(children)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;

    #[tokio::test]
    async fn work_of_a_child_counts_and_a_pid_of_nobody_is_nothing() {
        let own = i32::try_from(std::process::id()).unwrap();
        let before = wanted(own).unwrap();
        let script = "i=0; while [ $i -lt 300000 ]; do i=$((i + 1)); done";
        Command::new("sh").args(["-c", script]).run().await.unwrap();
        assert!(wanted(own).unwrap() > before, "the child used no time");
        assert_eq!(wanted(i32::MAX), None);
        assert_eq!(starved_nanos(i32::MAX), 0);
    }
}
