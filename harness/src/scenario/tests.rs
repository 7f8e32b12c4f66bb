//! What scenario files mean, and which mistakes in them are rejected.

use super::*;
use crate::classify::Class;
use crate::verdict::{Ending, Verdict};

const TEXT: &str = r#"
claim = "A payload that fails before it writes leads back to the old system."
payload = "payloads/fails-before-writing"
arguments = ["--memory", "1G"]
config = "[failure]\ntimeout = 20\n"

[expect]
exit = 1
verdict = "failed"
class = "returned"
reason = "stage deploy failed: status 7"
outcome = "returned"
old-system-back = true
"#;

fn came() -> Came {
    let mut verdict = Verdict::failed(Class::Returned, "stage deploy failed: status 7", vec![]);
    verdict.outcome = Some("returned".into());
    verdict.old_system_back = Some(true);
    Came { exit: Some(1), verdict: Some(verdict), seconds: 1.0, ..Came::default() }
}

#[test]
fn what_is_as_it_must_be_has_no_differences() {
    assert_eq!(Scenario::parse(TEXT).unwrap().expect.differences(&came()), [""; 0]);
}

#[test]
fn every_expectation_can_fail() {
    let expect = Scenario::parse(TEXT).unwrap().expect;
    let case = |change: fn(&mut Came, &mut Verdict)| {
        let mut came = came();
        let mut verdict = came.verdict.clone().unwrap();
        change(&mut came, &mut verdict);
        came.verdict = Some(verdict);
        expect.differences(&came)
    };
    assert_eq!(case(|came, _| came.exit = Some(0)), ["exit code is 0, not 1"]);
    assert_eq!(case(|came, _| came.exit = None), ["exit code is none, not 1"]);
    assert_eq!(
        case(|_, verdict| verdict.verdict = Ending::Passed),
        ["verdict is passed, not failed"]
    );
    assert_eq!(
        case(|_, verdict| verdict.class = Some(Class::Rescue)),
        ["class is rescue, not returned"]
    );
    assert_eq!(
        case(|_, verdict| verdict.reason = "no".into()),
        [r#"reason is "no", not as a whole /stage deploy failed: status 7/"#]
    );
    assert_eq!(case(|_, verdict| verdict.outcome = None), ["outcome is none, not returned"]);
    assert_eq!(
        case(|_, verdict| verdict.old_system_back = Some(false)),
        ["old system back is false, not true"]
    );
}

#[test]
fn what_the_old_system_says_of_a_rehearsal_is_compared_line_by_line() {
    let mut came = came();
    if let Some(verdict) = &mut came.verdict {
        verdict.evidence.push("status: outcome  rehearsal passed: so".into());
        verdict.evidence.push("another line that says failed".into());
    }
    for (wanted, want) in [
        ("status = ['^outcome +rehearsal passed']", vec![]),
        ("status = ['failed']", vec!["no line of anemos status says /failed/"]),
    ] {
        let expect = Scenario::parse(&format!("{TEXT}{wanted}\n")).unwrap().expect;
        assert_eq!(expect.differences(&came), want, "{wanted}");
    }
}

#[test]
fn an_empty_list_of_warnings_allows_none() {
    let mut came = came();
    if let Some(verdict) = &mut came.verdict {
        verdict.warnings.push("the table is old".into());
    }
    let differences = |wanted: &str| {
        Scenario::parse(&format!("{TEXT}{wanted}\n")).unwrap().expect.differences(&came)
    };
    for (wanted, want) in [
        ("", vec![]),
        ("warnings = ['old']", vec![]),
        ("warnings = ['new']", vec!["no warning says /new/"]),
        ("warnings = []", vec!["there is a warning: the table is old"]),
    ] {
        assert_eq!(differences(wanted), want, "{wanted}");
    }
}

#[test]
fn a_refusal_without_verdict_is_read_from_stderr() {
    let text = "claim = 'c'\npayload = 'p'\n[expect]\nexit = 3\nreason = 'no deploy in it'\nwithin-secs = 1";
    let expect = Scenario::parse(text).unwrap().expect;
    let stderr = "error: no deploy in it\nhint: add one\n".to_owned();
    let mut came = Came { exit: Some(3), stderr, ..Came::default() };
    assert_eq!(expect.differences(&came), [""; 0]);
    came.seconds = 1.5;
    assert_eq!(expect.differences(&came), ["it took 1.5 s, more than 1 s"]);
}

#[test]
fn an_unknown_key_and_a_bad_expression_are_named() {
    for (from, to, want) in
        [("exit = 1", "exit = 1\nexti = 2", "exti"), ("status 7", "status (7", "unclosed group")]
    {
        let error = Scenario::parse(&TEXT.replace(from, to)).unwrap_err();
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn every_scenario_of_the_repository_is_understood() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let scenarios = read_all(&root).unwrap_or_else(|error| panic!("{error}"));
    for scenario in &scenarios {
        let payload = scenario.payload.as_ref().expect("ours name one");
        let payload = scenario.folder.join(payload);
        let overlay = scenario.overlay.as_ref().map(|overlay| scenario.folder.join(overlay));
        for path in overlay.iter().chain([&payload]) {
            assert!(path.exists(), "{}: {} is missing", scenario.name, path.display());
        }
        assert!(scenario.claim.ends_with('.'), "{}: no sentence", scenario.name);
    }
    assert!(!scenarios.is_empty(), "there is no scenario");
}
