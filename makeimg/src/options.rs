//! What the caller of a build may choose.

use std::path::PathBuf;

/// How to build, besides what IMGBUILD says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The folder that holds IMGBUILD.
    pub folder: PathBuf,
    /// Folders with input files, later ones win; if empty, `files` beside IMGBUILD if it exists.
    pub inputs: Vec<PathBuf>,
    /// Replaces the variable `format`.
    pub format: Option<String>,
    /// The folder for the result; if absent, the current one.
    pub output: Option<PathBuf>,
    /// Leave the half-built root folder when the build fails.
    pub keep: bool,
    /// A package mirror: an address, or lines of an apt source list.
    pub mirror: Option<String>,
    /// An HTTP proxy for the tools that fetch packages.
    pub proxy: Option<String>,
    /// A keyring to verify Debian packages with.
    pub keyring: Option<PathBuf>,
    /// A folder that keeps what a check has fetched, for the installation that follows.
    pub cache: Option<PathBuf>,
}
