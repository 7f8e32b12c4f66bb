//! Measures generating the final initramfs, side by side with other ways to make one.
//!
//! Every round runs every way once, so that all of them see the machine in the same state; medians
//! are compared.

mod inputs;
mod measure;

use std::process::ExitCode;

use anyhow::Context as _;

use crate::inputs::Inputs;
use crate::measure::{Sample, median};

const ROUNDS: usize = 5;

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    if arguments.first().is_some_and(|first| first == measure::FLAG) {
        return measure::child(arguments.get(1..).unwrap_or_default());
    }
    // Without the flag of `cargo bench` this is `cargo test --all-targets`, which cannot take the
    // time.
    if arguments.iter().any(|argument| argument == "--bench") {
        run()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A way to make an initramfs, and how slow it may be compared with ours.
struct Way {
    name: &'static str,
    script: &'static str,
    /// The upper limit for our time divided by its time.
    aim: f64,
}

/// Ours; the scripts run in the folder of the inputs.
const ANEMOS: &str = r#""$ANEMOS" build -c anemos.toml payload.tar.zst -o out 2> log"#;
const MEMORY_AIM: u64 = 64 << 20;

const WAYS: [Way; 3] = [
    Way { name: "(a) cat of the same bytes", script: "cat final > out", aim: 1.5 },
    Way {
        name: "(b) unzstd, cpio append, zstd",
        script: "zstd -qdc base.cpio.zst > work.cpio
            find payload | sort | cpio --quiet -o -H newc -A -F work.cpio
            zstd -qf work.cpio -o out",
        aim: 1.0 / 3.0,
    },
    Way {
        name: "(c) mkinitramfs",
        // Its path of modules is fixed, so they are put there for this process only.
        script: r#"unshare --map-root-user --mount sh -ec '
            mount -t overlay -o "lowerdir=$PWD/kernel/lib:/usr/lib" overlay /usr/lib
            mount --bind kernel/boot /boot
            exec mkinitramfs -o out "$1"' sh "$VERSION""#,
        aim: 1.0 / 15.0,
    },
];

fn run() -> anyhow::Result<()> {
    let inputs = Inputs::make().context("making the inputs")?;
    inputs.script(ANEMOS).and_then(|_| inputs.keep_output("final"))?;
    let mut ours = Vec::new();
    let mut theirs: Vec<anyhow::Result<Vec<Sample>>> = WAYS.iter().map(|_| Ok(vec![])).collect();
    for round in 1..=ROUNDS {
        print(&format!("round {round} of {ROUNDS}"));
        ours.push(inputs.script(ANEMOS)?);
        for (way, samples) in WAYS.iter().zip(&mut theirs) {
            // If one cannot be run here, the others are measured nevertheless.
            if let Ok(list) = samples {
                match inputs.script(way.script) {
                    Ok(sample) => list.push(sample),
                    Err(error) => *samples = Err(error),
                }
            }
        }
    }
    report(median(&ours), &theirs);
    Ok(())
}

fn report(ours: Sample, theirs: &[anyhow::Result<Vec<Sample>>]) {
    const MIB: u64 = 1 << 20;
    let row = |name: &str, sample: Sample, rest: &str| {
        print(&format!(
            "{name:<30} {:>9.3} {:>10} {:>11}   {rest}",
            sample.seconds,
            sample.written / MIB,
            sample.peak.div_ceil(MIB),
        ));
    };
    print(&format!(
        "{:<30} {:>9} {:>10} {:>11}   anemos against it",
        "medians", "seconds", "MiB out", "peak MiB"
    ));
    let memory = format!("memory: aim 64 MiB, {}", met(ours.peak < MEMORY_AIM));
    row("anemos build", ours, &memory);
    for (way, samples) in WAYS.iter().zip(theirs) {
        match samples {
            Ok(samples) => {
                let theirs = median(samples);
                let ratio = ours.seconds / theirs.seconds;
                let rest = format!("{ratio:.3} (aim {:.3}, {})", way.aim, met(ratio <= way.aim));
                row(way.name, theirs, &rest);
            }
            Err(error) => print(&format!("{:<30} not measured: {error:#}", way.name)),
        }
    }
}

fn met(is: bool) -> &'static str {
    if is { "met" } else { "missed" }
}

#[expect(clippy::print_stdout, reason = "the one place that prints the table")]
fn print(line: &str) {
    println!("{line}");
}
