//! Tells the compiler which commit is built, for `anemos --version`.

use std::path::Path;

fn main() {
    // Without git, or outside of a checkout, the version stands alone.
    let commit = git(&["log", "-1", "--format= (%h %cs)"]).unwrap_or_default();
    println!("cargo::rustc-env=ANEMOS_BUILD={}{commit}", env!("CARGO_PKG_VERSION"));
    // Every commit, checkout and reset adds a line to this log (gitrepository-layout(5)).
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists());
    println!("cargo::rerun-if-changed={}", log.as_deref().unwrap_or("build.rs"));
}

/// Returns what git prints, or nothing if there is none of it.
#[expect(clippy::disallowed_methods, reason = "the wrapper belongs to what is being built")]
fn git(arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned()).filter(|text| !text.is_empty())
}
