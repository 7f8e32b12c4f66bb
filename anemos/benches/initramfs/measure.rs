//! Measures time and peak memory of one command, with all processes that it starts.
//!
//! The kernel keeps one peak for all children of a process, so every command gets its own parent
//! process: this binary again.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use nix::sys::resource::{UsageWho, getrusage};

/// The argument that makes this binary such a parent.
pub(crate) const FLAG: &str = "--measure";

/// The result of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    /// Memory of its largest process, in bytes.
    pub(crate) peak: u64,
    /// Size of its output, in bytes.
    pub(crate) written: u64,
}

/// Runs a shell script through a process that measures it; it writes `out` in its folder.
pub(crate) fn script(
    script: &str,
    folder: &Path,
    environment: &[(&str, &str)],
) -> anyhow::Result<Sample> {
    let out = folder.join("out");
    if out.exists() {
        std::fs::remove_file(&out).context("removing what the run before made")?;
    }
    // What is still being written for the previous run would count as this one's.
    nix::unistd::sync();
    let this = std::env::current_exe().context("finding this binary")?;
    let output = command(&this)
        .args([FLAG, "sh", "-ec", script])
        .current_dir(folder)
        .envs(environment.iter().copied())
        .env("LC_ALL", "C")
        .output()
        .context("running this binary")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().last().unwrap_or("it said nothing");
    ensure!(output.status.success(), "{}: {last}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.lines().last().unwrap_or_default().split(' ');
    let seconds = words.next().unwrap_or_default().parse().context("reading the time")?;
    let peak = words.next().unwrap_or_default().parse().context("reading the memory")?;
    let written = std::fs::metadata(out).context("looking for what it made")?.len();
    Ok(Sample { seconds, peak, written })
}

/// Runs a command, then prints its seconds and its peak memory in bytes.
#[expect(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) fn child(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let (program, arguments) = arguments.split_first().context("nothing to measure")?;
    let start = Instant::now();
    let status = command(Path::new(program)).args(arguments).status().context("running it")?;
    let seconds = start.elapsed().as_secs_f64();
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking for its usage")?;
    println!("\n{seconds} {}", usage.max_rss() * 1024);
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the sample with the median time, but with the largest peak of all.
pub(crate) fn median(samples: &[Sample]) -> Sample {
    let mut sorted = samples.to_vec();
    sorted.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    let peak = samples.iter().map(|sample| sample.peak).max().unwrap_or(0);
    let empty = Sample { seconds: f64::NAN, peak, written: 0 };
    Sample { peak, ..sorted.get(sorted.len() / 2).copied().unwrap_or(empty) }
}

#[expect(clippy::disallowed_methods, reason = "this is the benchmark's one wrapper")]
pub(crate) fn command(program: &Path) -> Command {
    Command::new(program)
}
