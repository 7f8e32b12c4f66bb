//! Does one step of a build, and reports it with its time.

use std::time::Instant;

use crate::error::{MakeError, Problem};
use crate::step::{Step, Watch};

/// Does one step, and reports it with its time.
pub(crate) fn step<T>(
    watch: &mut dyn Watch,
    step: Step,
    work: impl FnOnce(&mut dyn Watch) -> Result<T, Problem>,
) -> Result<T, MakeError> {
    watch.begins(step);
    let begun = Instant::now();
    let done = work(watch);
    let failure = done.as_ref().err().map(Problem::describe);
    watch.ended(step, begun.elapsed(), failure.as_deref());
    done.map_err(|problem| MakeError { step, problem })
}
