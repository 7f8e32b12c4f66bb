//! Command `anemos status`: tells what came of a deployment, in a rescue and in the old system.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use initramfs::attempt::Attempt;
use initramfs::paths;
use initramfs::stages::Outcome;

use crate::report::{self, Refusal};
use crate::{facts, last_attempt, plan};

/// Lines of the log that are shown.
const LINES: usize = 15;

/// The command line of `anemos status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let here = last_attempt::read_at(Path::new(paths::STATE))?;
        let in_rescue = here.is_some();
        let Some(mut attempt) = here.map_or_else(last_attempt::read, |it| Ok(Some(it)))? else {
            let reason = "nothing is known of a deployment here";
            let hint = "`anemos deploy` begins one, and leaves a report where it returns";
            return Err(Refusal::new(reason, hint).into());
        };
        if in_rescue {
            let log = fs::read_to_string(paths::LOG).unwrap_or_default();
            attempt.log = log.lines().map(str::to_owned).collect();
        }
        if self.json {
            report::result(&serde_json::to_string_pretty(&attempt).context("writing JSON")?);
        } else {
            // In the old system the disk is what it was, and its name may be another.
            let disk = if in_rescue { disk(&attempt)? } else { Vec::new() };
            report::result(&render(&attempt, &disk));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What lies on the disk now.
fn disk(attempt: &Attempt) -> anyhow::Result<Vec<String>> {
    let name = attempt.disk.as_deref().and_then(|device| device.strip_prefix("/dev/"));
    let disks = facts::disks_here()?;
    let found = disks.iter().find(|disk| Some(disk.candidate.name.as_str()) == name);
    Ok(found.map(plan::content).unwrap_or_default())
}

fn render(attempt: &Attempt, disk: &[String]) -> String {
    let cut_off = attempt.stage.map(|stage| {
        format!("cut off in stage {stage}, before anything was written: a hang, a panic, a lack of power")
    });
    let (outcome, next) = match attempt.outcome {
        Some(Outcome::Deployed) => ("deployed: the payload is on the disk", "nothing"),
        Some(Outcome::Returned) => (
            "returned: nothing was written to the old system, which was booted again",
            "mend what failed, `anemos reset` if a boot entry was used, `anemos deploy` again",
        ),
        Some(Outcome::Rescue) => (
            "rescue: the disk was written, and the payload is not whole on it",
            "`anemos retry` runs the payload again; /anemos/work is where it lies",
        ),
        None if cut_off.is_some() => (
            cut_off.as_deref().unwrap_or_default(),
            "look at the console of the machine during another attempt",
        ),
        None => (
            "unknown: the deploy environment left no report, so it was never entered, or reset \
             before it could: a hang, a panic, a lack of power",
            "look at the console of the machine during another attempt",
        ),
    };
    let mut lines = vec![format!("outcome  {outcome}")];
    if let (Some(stage), Some(error)) = (attempt.stage, &attempt.error) {
        lines.push(format!("failed   stage {stage}: {error}"));
    }
    lines.push(format!("payload  {}", attempt.payload));
    lines.push(format!("began    {} s ago", age(attempt.began)));
    lines.extend(attempt.disk.iter().map(|device| format!("disk     {device}")));
    lines.extend(disk.iter().map(|line| format!("         {line}")));
    let log = attempt.log.get(attempt.log.len().saturating_sub(LINES)..).unwrap_or_default();
    for (index, line) in log.iter().enumerate() {
        let heading = if index == 0 { "log" } else { "" };
        lines.push(format!("{heading:<9}{line}"));
    }
    lines.push(format!("next     {next}"));
    lines.join("\n") + "\n"
}

/// Seconds since then; 0 where the clock says that it is still to come.
fn age(began: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    now.saturating_sub(began)
}

#[cfg(test)]
mod tests {
    use initramfs::stages::Stage;

    use super::{Attempt, Outcome, render};

    #[test]
    fn a_machine_that_was_reset_in_the_middle_tells_where() {
        let attempt = Attempt { stage: Some(Stage::Network), ..Attempt::default() };
        let first = render(&attempt, &[]).lines().next().unwrap_or_default().to_owned();
        assert_eq!(
            first,
            "outcome  cut off in stage network, before anything was written: a hang, a panic, a lack \
             of power"
        );
        let never = render(&Attempt::default(), &[]);
        assert!(never.starts_with("outcome  unknown: "), "{never}");
    }

    #[test]
    fn a_rescue_is_told_with_what_can_be_done() {
        let attempt = Attempt {
            version: "0.1.0".to_owned(),
            payload: "debian.tar.zst".to_owned(),
            disk: Some("/dev/vda".to_owned()),
            // In the far future, so that it did not begin yet.
            began: u64::MAX,
            outcome: Some(Outcome::Rescue),
            stage: Some(Stage::Deploy),
            error: Some("`deploy` ended with status 7".to_owned()),
            log: vec!["no space left".to_owned(), "anemos: verdict rescue".to_owned()],
        };
        let disk = ["  vda1 partition, 1 MiB".to_owned()];
        insta::assert_snapshot!(render(&attempt, &disk), @r"
        outcome  rescue: the disk was written, and the payload is not whole on it
        failed   stage deploy: `deploy` ended with status 7
        payload  debian.tar.zst
        began    0 s ago
        disk     /dev/vda
                   vda1 partition, 1 MiB
        log      no space left
                 anemos: verdict rescue
        next     `anemos retry` runs the payload again; /anemos/work is where it lies
        ");
    }
}
