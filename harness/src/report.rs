//! The results of a suite, for people and for programs.

use crate::scenario::run::Outcome;
use crate::verdict::Ending;

pub mod html;
pub mod junit;

/// Renders one line for a scenario, or more if its claim is not true.
pub fn render(outcome: &Outcome) -> String {
    let Outcome { name, claim, verdict, differences, seconds, evidence } = outcome;
    let mut lines = vec![format!("{:<7} {seconds:>6.1}s  {name}", verdict.to_string())];
    if *verdict != Ending::Passed {
        lines.push(format!("  claim: {claim}"));
        lines.extend(differences.iter().map(|line| format!("  {line}")));
        lines.push(format!("  evidence: {}", evidence.display()));
    }
    lines.join("\n")
}

/// Renders the end: how long each took, what differed, and how many ended in which way.
pub fn summary(outcomes: &[Outcome], seconds: f64) -> String {
    let mut lines = vec![String::new()];
    lines.extend(outcomes.iter().map(|outcome| {
        let Outcome { name, verdict, seconds, differences, .. } = outcome;
        let why = differences.first().map_or_else(String::new, |line| format!(": {line}"));
        format!("{:<7} {seconds:>6.1}s  {name}{why}", verdict.to_string())
    }));
    lines.push(format!("{} in {seconds:.0} s", counts(outcomes)));
    lines.join("\n")
}

/// Counts how many ended in which way.
fn counts(outcomes: &[Outcome]) -> String {
    counts_of(&outcomes.iter().map(|outcome| outcome.verdict).collect::<Vec<_>>())
}

fn counts_of(endings: &[Ending]) -> String {
    let count = |wanted| endings.iter().filter(|ending| **ending == wanted).count();
    let (passed, failed) = (count(Ending::Passed), count(Ending::Failed));
    let (skipped, broken) = (count(Ending::Skipped), count(Ending::Broken));
    format!("{passed} passed, {failed} failed, {broken} broken, {skipped} skipped")
}

/// Returns whether some claim was tried, and every one that was is true.
pub fn is_good(outcomes: &[Outcome]) -> bool {
    let is = |ending| move |outcome: &Outcome| outcome.verdict == ending;
    let good = |outcome| is(Ending::Passed)(outcome) || is(Ending::Skipped)(outcome);
    outcomes.iter().all(good) && outcomes.iter().any(is(Ending::Passed))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn outcomes() -> Vec<Outcome> {
        let outcome = |name: &str, verdict, differences: &[&str]| Outcome {
            name: name.into(),
            claim: "It is <so>.".into(),
            verdict,
            differences: differences.iter().map(|line| (*line).to_owned()).collect(),
            seconds: 12.34,
            evidence: "e".into(),
        };
        vec![
            outcome("boot/minimal", Ending::Passed, &[]),
            outcome("failure/hangs", Ending::Failed, &["exit code is 0, not 1"]),
        ]
    }

    #[test]
    fn a_claim_that_is_not_true_says_why_and_where_to_look() {
        let text: Vec<_> = outcomes().iter().map(render).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        passed    12.3s  boot/minimal
        failed    12.3s  failure/hangs
          claim: It is <so>.
          exit code is 0, not 1
          evidence: e
        ");
        insta::assert_snapshot!(summary(&outcomes(), 25.0), @r"
        passed    12.3s  boot/minimal
        failed    12.3s  failure/hangs: exit code is 0, not 1
        1 passed, 1 failed, 0 broken, 0 skipped in 25 s
        ");
    }

    #[test]
    fn a_suite_without_scenarios_is_not_good() {
        assert!(!is_good(&[]));
        assert!(!is_good(&outcomes()));
        assert!(is_good(&outcomes()[..1]));
    }
}
