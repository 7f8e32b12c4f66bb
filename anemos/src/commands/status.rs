//! Command `anemos status`: shows the result of a deployment, in a rescue and in the old system.

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use contract::attempt::Attempt;
use contract::attempt::Mode;
use contract::paths;
use contract::stages::{Outcome, Stage};

use crate::report::{self, Refused};
use crate::{facts, last_attempt, plan};

/// How many lines of the log are shown.
const LINES: usize = 15;

/// The command line of `anemos status`.
const EXAMPLES: &str = "\
Examples:
  anemos status          show how the last deployment or rehearsal ended
  anemos status --json   the same for a program";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Print the report as JSON
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
            return Err(Refused::new(reason, hint).into());
        };
        if in_rescue {
            let log = fs::read(paths::LOG).unwrap_or_default();
            attempt.log = String::from_utf8_lossy(&log).lines().map(str::to_owned).collect();
        }
        if self.json {
            report::result(&serde_json::to_string_pretty(&attempt).context("writing JSON")?);
        } else {
            // In the old system, the disk is unchanged, and its name may be different.
            let disk = if in_rescue { disk(&attempt)? } else { Vec::new() };
            report::result(&render(&attempt, &disk));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Describes what is on the disk now.
fn disk(attempt: &Attempt) -> anyhow::Result<Vec<String>> {
    let name = attempt.disk.as_deref().and_then(|device| device.strip_prefix("/dev/"));
    let disks = facts::disks_here()?;
    let found = disks.iter().find(|disk| Some(disk.candidate.name.as_str()) == name);
    Ok(found.map(plan::render::content).unwrap_or_default())
}

fn render(attempt: &Attempt, disk: &[String]) -> String {
    let (outcome, next) = match attempt.mode {
        Mode::Deployment => deployment(attempt),
        Mode::Rehearsal => rehearsal(attempt),
    };
    let mut lines = vec![format!("outcome  {outcome}")];
    if let (Some(error), Mode::Deployment) = (&attempt.error, attempt.mode) {
        lines.push(format!("failed   {}{error}", in_stage(attempt.stage)));
    }
    list(&mut lines, "proved", &attempt.proved);
    lines.push(format!("payload  {}", attempt.payload));
    lines.push(format!("began    {} s ago", age(attempt.began)));
    lines.extend(attempt.disk.iter().map(|device| format!("disk     {device}")));
    list(&mut lines, "", disk);
    let log = attempt.log.get(attempt.log.len().saturating_sub(LINES)..).unwrap_or_default();
    list(&mut lines, "log", log);
    lines.push(format!("next     {next}"));
    lines.join("\n") + "\n"
}

/// Appends lines, the first of them with a heading.
fn list(lines: &mut Vec<String>, heading: &str, texts: &[String]) {
    for (index, text) in texts.iter().enumerate() {
        let heading = if index == 0 { heading } else { "" };
        lines.push(format!("{heading:<9}{text}"));
    }
}

/// Returns the result of a deployment, and what to do about it.
fn deployment(attempt: &Attempt) -> (String, &'static str) {
    let (outcome, next) = match (attempt.outcome, attempt.stage) {
        (Some(Outcome::Deployed), _) => ("deployed: the payload is on the disk", "nothing"),
        (Some(Outcome::Returned), _) => (
            "returned: nothing was written to the old system, which was booted again",
            "mend what failed, `anemos reset` if a boot entry was used, `anemos deploy` again",
        ),
        (Some(Outcome::Rescue), _) => (
            "rescue: the disk was written, and the payload is not whole on it",
            "`anemos retry` runs the payload again; /anemos/work is where it lies",
        ),
        (None, Some(stage)) => return (cut_off(stage), LOOK),
        (None, None) => (
            "unknown: the deploy environment left no report, so it was never entered, or reset \
             before it could: a hang, a panic, a lack of power",
            LOOK,
        ),
    };
    (outcome.to_owned(), next)
}

/// Returns where it failed, to put before the reason; empty if it failed between two stages.
fn in_stage(stage: Option<Stage>) -> String {
    stage.map(|stage| format!("stage {stage}: ")).unwrap_or_default()
}

/// What to do about an attempt about which little is known.
const LOOK: &str = "look at the console of the machine during another attempt";

fn cut_off(stage: Stage) -> String {
    format!(
        "cut off in stage {stage}, before anything was written: a hang, a panic, a lack of power"
    )
}

/// Returns the result of a rehearsal, and what to do about it.
fn rehearsal(attempt: &Attempt) -> (String, &'static str) {
    let passed = "rehearsal passed: a deployment comes to `deploy` on this machine; nothing but \
                  this report was written";
    let Attempt { outcome, stage, error, .. } = attempt;
    match (outcome, stage, error) {
        (Some(_), None, None) => (
            passed.to_owned(),
            "`anemos reset` if a boot entry was used, `anemos deploy` to overwrite the disk",
        ),
        (Some(_), stage, error) => {
            let (stage, error) = (in_stage(*stage), error.as_deref());
            (
                format!("rehearsal failed: {stage}{}", error.unwrap_or("for no reason given")),
                "mend what failed, `anemos reset` if a boot entry was used, rehearse again",
            )
        }
        (None, Some(stage), _) => (format!("rehearsal {}", cut_off(*stage)), LOOK),
        (None, None, _) => (
            "rehearsal unknown: the deploy environment left no report, so it was never entered, \
             did not find the disk, or was reset before: a hang, a panic, a lack of power"
                .to_owned(),
            LOOK,
        ),
    }
}

/// Returns the seconds since then; 0 if the clock shows an earlier time.
fn age(began: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    now.saturating_sub(began)
}

#[cfg(test)]
mod tests {
    use super::{Attempt, Mode, Outcome, Stage, render};

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
            // In the far future, so that it has not begun yet.
            began: u64::MAX,
            outcome: Some(Outcome::Rescue),
            stage: Some(Stage::Deploy),
            error: Some("`deploy` ended with status 7".to_owned()),
            mode: Mode::Deployment,
            proved: Vec::new(),
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

    #[test]
    fn a_rehearsal_is_told_with_what_it_proved() {
        let attempt = Attempt {
            mode: Mode::Rehearsal,
            payload: "debian.tar.zst".to_owned(),
            disk: Some("/dev/vda".to_owned()),
            began: u64::MAX,
            outcome: Some(Outcome::Returned),
            proved: ["modules: 3 of 4", "disk: /dev/vda by serial number S1"]
                .map(str::to_owned)
                .into(),
            log: vec!["anemos: rehearsal passed: modules, disk".to_owned()],
            ..Attempt::default()
        };
        insta::assert_snapshot!(render(&attempt, &[]), @"
        outcome  rehearsal passed: a deployment comes to `deploy` on this machine; nothing but this report was written
        proved   modules: 3 of 4
                 disk: /dev/vda by serial number S1
        payload  debian.tar.zst
        began    0 s ago
        disk     /dev/vda
        log      anemos: rehearsal passed: modules, disk
        next     `anemos reset` if a boot entry was used, `anemos deploy` to overwrite the disk
        ");
    }

    #[test]
    fn a_rehearsal_that_did_not_pass_says_where_it_ended() {
        let rehearsal = |outcome, stage, error: Option<&str>| Attempt {
            mode: Mode::Rehearsal,
            outcome,
            stage,
            error: error.map(str::to_owned),
            ..Attempt::default()
        };
        let returned = Some(Outcome::Returned);
        for (attempt, want) in [
            (
                rehearsal(returned, Some(Stage::Network), Some("link eth0 has no carrier")),
                "outcome  rehearsal failed: stage network: link eth0 has no carrier\n",
            ),
            (rehearsal(returned, None, Some("PID 1 panicked")), "outcome  rehearsal failed: PID 1"),
            (
                rehearsal(None, Some(Stage::Unpack), None),
                "outcome  rehearsal cut off in stage unpack",
            ),
            (rehearsal(None, None, None), "outcome  rehearsal unknown: "),
        ] {
            let said = render(&attempt, &[]);
            assert!(said.starts_with(want), "{said}");
        }
    }
}
