//! Renders a suite as `JUnit` XML, which CI systems read.

use crate::scenario::run::Outcome;
use crate::verdict::Ending;

/// Renders a suite with this name.
pub fn render(suite: &str, outcomes: &[Outcome]) -> String {
    let count = |ending| outcomes.iter().filter(|outcome| outcome.verdict == ending).count();
    let (failures, errors) = (count(Ending::Failed), count(Ending::Broken));
    let skipped = count(Ending::Skipped);
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.seconds).sum();
    let cases: Vec<_> = outcomes.iter().map(case).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{suite}\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\" \
         time=\"{seconds:.1}\">\n{}</testsuite>\n</testsuites>\n",
        outcomes.len(),
        cases.concat()
    )
}

fn case(outcome: &Outcome) -> String {
    let (folder, name) = outcome.name.rsplit_once('/').unwrap_or(("", &outcome.name));
    let (folder, name) = (escape(folder), escape(name));
    let head = format!(
        "  <testcase classname=\"{folder}\" name=\"{name}\" time=\"{:.1}\"",
        outcome.seconds
    );
    let element = match outcome.verdict {
        Ending::Passed => return format!("{head}/>\n"),
        Ending::Failed => "failure",
        Ending::Skipped => "skipped",
        Ending::Broken => "error",
    };
    let (claim, lines) = (escape(&outcome.claim), escape(&outcome.differences.join("\n")));
    let evidence = escape(&outcome.evidence.display().to_string());
    format!(
        "{head}>\n    <{element} message=\"{claim}\">{lines}</{element}>\n    \
         <system-out>evidence: {evidence}</system-out>\n  </testcase>\n"
    )
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    // XML has no other control characters, not even escaped.
    let known = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.replace('"', "&quot;").chars().filter(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::outcomes;

    #[test]
    fn what_xml_cannot_hold_is_left_out() {
        assert_eq!(escape("a\u{1b}[31m\u{0}\n\tb"), "a[31m\n\tb");
    }

    #[test]
    fn claims_and_differences_are_escaped() {
        insta::assert_snapshot!(render("anemos conformance", &outcomes()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites>
        <testsuite name="anemos conformance" tests="2" failures="1" errors="0" skipped="0" time="24.7">
          <testcase classname="boot" name="minimal" time="12.3"/>
          <testcase classname="failure" name="hangs" time="12.3">
            <failure message="It is &lt;so&gt;.">exit code is 0, not 1</failure>
            <system-out>evidence: e</system-out>
          </testcase>
        </testsuite>
        </testsuites>
        "#);
    }
}
