//! What came of a suite, for people and for programs.

use crate::scenario::run::Outcome;
use crate::verdict::Ending;

pub mod junit;

/// One line for a scenario, more when its claim is not true.
pub fn render(outcome: &Outcome) -> String {
    let Outcome { name, claim, verdict, differences, seconds, evidence } = outcome;
    let mut lines = vec![format!("{verdict:<7} {seconds:>6.1}s  {name}")];
    if *verdict != Ending::Passed {
        lines.push(format!("  claim: {claim}"));
        lines.extend(differences.iter().map(|line| format!("  {line}")));
        lines.push(format!("  evidence: {}", evidence.display()));
    }
    lines.join("\n")
}

/// The last line: how many ended how.
pub fn summary(outcomes: &[Outcome]) -> String {
    let count = |ending| outcomes.iter().filter(|outcome| outcome.verdict == ending).count();
    let (passed, failed) = (count(Ending::Passed), count(Ending::Failed));
    format!("{passed} passed, {failed} failed, {} broken", count(Ending::Broken))
}

/// Whether every claim is true, and there was one.
pub fn is_good(outcomes: &[Outcome]) -> bool {
    !outcomes.is_empty() && outcomes.iter().all(|outcome| outcome.verdict == Ending::Passed)
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
        assert_eq!(summary(&outcomes()), "1 passed, 1 failed, 0 broken");
    }

    #[test]
    fn a_suite_without_scenarios_is_not_good() {
        assert!(!is_good(&[]));
        assert!(!is_good(&outcomes()));
        assert!(is_good(&outcomes()[..1]));
    }
}
