//! Finds out what boots after a deployment that did not come to its end.

use regex::Regex;

use super::fresh::NEW_SYSTEM;
use super::judge::Expectation;
use super::left::{Left, OLD_SYSTEM};
use super::run::Notes;
use crate::drive::error::DirectError;
use crate::evidence::STATUS;
use crate::ssh;
use crate::verdict::{Boots, Ending, Verdict};

/// Finds out what boots.
///
/// It is the old system if the deploy environment says so, or if a fault came before anything was
/// written; after a later one it is perhaps the new one.
pub(super) async fn returned(
    left: &Left<'_>,
    notes: &mut Notes,
    mut verdict: Verdict,
) -> Result<Verdict, DirectError> {
    let host = left.run.host;
    let start = host.at();
    let written = notes.struck.as_ref().is_some_and(|struck| struck.written > 0);
    let found = if written { whatever_boots(left).await? } else { None };
    let judged = match found {
        Some(found) => found,
        None => old_system_again(left).await?,
    };
    let (boots, judged) = match judged {
        (Boots::Nothing, judged) if judged.verdict == Ending::Broken && !written => {
            return Ok(judged);
        }
        judged => judged,
    };
    let back = boots == Boots::OldSystem;
    (verdict.boots, verdict.old_system_back) = (Some(boots), Some(back));
    if back {
        let told = judged.evidence.into_iter().filter(|line| line.starts_with(STATUS));
        verdict.evidence.extend(told);
        verdict.answers_after_secs = notes.struck.as_ref().map(|it| host.at() - it.at);
        verdict.reason += "; the old system is back";
    } else {
        verdict.reason += "; the old system did not come back: ";
        verdict.reason += &judged.reason;
        verdict.evidence.extend(judged.evidence);
    }
    notes.timed(host, "boot old system again", start);
    Ok(verdict)
}

/// Looks for the new system; `None` if it finds the old one instead.
async fn whatever_boots(left: &Left<'_>) -> Result<Option<(Boots, Verdict)>, DirectError> {
    let judged = left.boot(NEW_SYSTEM, left.wanted(None)).await?;
    let boots = Boots::of(&judged);
    Ok((boots != Boots::OldSystem).then_some((boots, judged)))
}

/// Checks whether the old system boots and answers.
async fn old_system_again(left: &Left<'_>) -> Result<(Boots, Verdict), DirectError> {
    let description = &left.run.rehearsal.fixture.description;
    let wanted = Expectation {
        old_identity: String::new(),
        old_root: None,
        login: description.login.clone(),
        expect: Regex::new(&regex::escape(&description.identity)).ok(),
        tcp: Some(ssh::PORT),
        ssh: false,
        speaks: true,
        hold: 0.0,
    };
    let judged = left.boot(OLD_SYSTEM, wanted).await?;
    let back = judged.verdict == Ending::Passed;
    Ok((if back { Boots::OldSystem } else { Boots::Nothing }, judged))
}
