//! The steps of a build, as a watcher sees them.

use std::fmt;
use std::time::Duration;

/// A step; steps are done in this order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Step {
    /// A shell reads IMGBUILD.
    Evaluate,
    /// The place for the root folder is made; for the format custom, `setup` makes it.
    Prepare,
    /// The distribution's tool installs packages.
    Bootstrap,
    /// Input files are copied.
    Files,
    /// Patches are applied.
    Patches,
    /// Templates are rendered.
    Templates,
    /// Secrets are placed, then modes and owners are set.
    Secrets,
    /// `provision` runs in the image.
    Provision,
    /// The result is packed and gets its name.
    Finish,
    /// `cleanup` runs, whether the others succeeded or not.
    Cleanup,
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Evaluate => "evaluate",
            Self::Prepare => "prepare",
            Self::Bootstrap => "bootstrap",
            Self::Files => "files",
            Self::Patches => "patches",
            Self::Templates => "templates",
            Self::Secrets => "secrets",
            Self::Provision => "provision",
            Self::Finish => "finish",
            Self::Cleanup => "cleanup",
        })
    }
}

/// Gets reports on a build.
pub trait Watch {
    /// A step begins.
    fn begins(&mut self, step: Step);
    /// A step has ended after `took`; if it failed, `failure` says why.
    fn ended(&mut self, step: Step, took: Duration, failure: Option<&str>);
    /// A program of this step, or the step itself, has printed a line.
    fn line(&mut self, line: &str);
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Keeps all lines.
    #[derive(Default)]
    pub(crate) struct Said(pub(crate) Vec<String>);

    impl Watch for Said {
        fn begins(&mut self, _step: Step) {}
        fn ended(&mut self, _step: Step, _took: Duration, _failure: Option<&str>) {}
        fn line(&mut self, line: &str) {
            self.0.push(line.to_owned());
        }
    }
}
