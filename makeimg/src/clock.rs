//! `SOURCE_DATE_EPOCH`: the time of a reproducible result.

use crate::error::Problem;
use crate::project::Project;

/// The variable that sets it.
pub(crate) const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// Returns the time in seconds since 1970, if one is set.
pub(crate) fn epoch(project: &Project) -> Result<Option<i64>, Problem> {
    let Some(text) = project.exported(VARIABLE) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => Err(Problem::refused(
            format!("{VARIABLE} is {text:?}, no number of seconds"),
            "set it to seconds since 1970, or unset it",
        )),
    }
}
