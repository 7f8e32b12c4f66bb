//! Checks what the repository promises about itself.

mod circles;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

/// Lines of a Rust file, excluding tests, beyond which it has become two things.
const LONGEST_FILE: usize = 450;
/// Lines of a shell file.
const LONGEST_SHELL: usize = 80;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// Returns every file that is not hidden, built or evidence.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok) {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with('.') || ["target", "anemos-evidence"].contains(&&*name) {
                continue;
            }
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn texts() -> Vec<(String, String)> {
    let name = |path: &Path| path.strip_prefix(root()).unwrap_or(path).display().to_string();
    let read = |path: PathBuf| Some((name(&path), fs::read_to_string(path).ok()?));
    files().into_iter().filter_map(read).collect()
}

fn is(name: &str, extension: &str) -> bool {
    Path::new(name).extension().is_some_and(|found| found == extension)
}

fn folders_of(parent: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(parent)).into_iter().flatten().filter_map(Result::ok);
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn every_rust_file_begins_with_its_job() {
    for (name, text) in texts().iter().filter(|(name, _)| is(name, "rs")) {
        assert!(text.starts_with("//! "), "{name} begins with no `//!` sentence");
    }
}

#[test]
fn no_file_has_become_two_things() {
    for (name, text) in texts() {
        let lines = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(&text).lines().count();
        let limit = match name.as_str() {
            name if is(name, "rs") => LONGEST_FILE,
            _ if text.starts_with("#!/bin/sh") => LONGEST_SHELL,
            _ => continue,
        };
        assert!(lines <= limit, "{name} has {lines} lines, more than {limit}");
    }
}

#[test]
fn shell_is_for_payloads_and_fixtures_alone() {
    for (name, text) in texts() {
        let home = ["payloads/", "fixtures/", "scenarios/"].iter().any(|one| name.starts_with(one));
        assert!(home || !text.starts_with("#!/"), "{name} is a script outside of payloads");
    }
}

#[test]
fn every_payload_and_fixture_is_used_by_a_scenario() {
    let scenarios: String = texts()
        .into_iter()
        .filter(|(name, _)| name.starts_with("scenarios/") && is(name, "toml"))
        .map(|(_, text)| text)
        .collect();
    for payload in folders_of("payloads") {
        assert!(
            scenarios.contains(&format!("payloads/{payload}\"")),
            "no scenario deploys {payload}"
        );
    }
    for payload in folders_of("scenarios/payloads") {
        assert!(scenarios.contains(&format!("/{payload}\"")), "no scenario uses {payload}");
    }
    // The router goes with every topology, and debian-12 is what a scenario has by default.
    let others = ["debian-12", "router", "served", "topologies"];
    for fixture in folders_of("fixtures").iter().filter(|name| !others.contains(&name.as_str())) {
        let named = format!("fixture = \"{fixture}\"");
        assert!(scenarios.contains(&named), "no scenario boots {fixture}");
    }
    for served in folders_of("fixtures/served") {
        let named = format!("\"{served}\"");
        assert!(scenarios.contains(&named), "no scenario serves {served}");
    }
}

#[test]
fn every_topology_is_used_by_a_scenario_and_in_the_readme() {
    let scenarios: String = texts()
        .into_iter()
        .filter(|(name, _)| name.starts_with("scenarios/") && is(name, "toml"))
        .map(|(_, text)| text)
        .collect();
    let readme = fs::read_to_string(root().join("fixtures/README.md")).unwrap_or_default();
    for entry in fs::read_dir(root().join("fixtures/topologies")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().replace(".toml", "");
        assert!(scenarios.contains(&format!("topology = \"{name}\"")), "no scenario uses {name}");
        assert!(readme.contains(&format!("| `{name}` |")), "fixtures/README.md has no {name}");
    }
}

#[test]
fn every_folder_is_in_its_readme() {
    for (parent, readme) in [
        ("", "README.md"),
        ("scenarios", "scenarios/README.md"),
        ("payloads", "payloads/README.md"),
        ("fixtures", "fixtures/README.md"),
    ] {
        let text = fs::read_to_string(root().join(readme)).unwrap_or_default();
        for folder in folders_of(parent) {
            let hidden =
                folder.starts_with('.') || ["target", "anemos-evidence"].contains(&&*folder);
            assert!(hidden || text.contains(&format!("`{folder}`")), "{readme} has no `{folder}`");
        }
    }
}

#[test]
fn no_mirror_is_written_down() {
    // The tools' own defaults, the system's configuration or an option decide.
    let hosts = [["deb.", "debian.org"], ["archive.", "ubuntu.com"], ["static.", "crates.io"]];
    for (name, text) in texts() {
        for host in hosts.map(|parts| parts.concat()) {
            assert!(!text.contains(&host), "{name} names {host}");
        }
    }
}

#[test]
fn no_two_modules_of_a_crate_need_each_other() {
    for name in ["anemos", "contract", "harness", "initramfs", "makeimg"] {
        let source = format!("{name}/src/");
        let below =
            |(path, text): (String, String)| Some((path.strip_prefix(&source)?.to_owned(), text));
        let files =
            texts().into_iter().filter(|(path, _)| is(path, "rs")).filter_map(below).collect();
        if let Some(circle) = circles::shortest(&files) {
            panic!("{name}: a circle: {}", circle.join(", "));
        }
    }
}

#[test]
fn a_planted_circle_is_found_with_its_files() {
    let files = |extra: &[(&str, &str)]| {
        let sound = [
            ("lib.rs", "mod a; mod b; mod c;"),
            ("a.rs", "mod x; pub use x::Thing; fn f() { crate::b::g(); }"),
            ("a/x.rs", "use super::f; pub struct Thing; #[cfg(test)] mod tests { use crate::c; }"),
            ("b.rs", "/// See [`crate::a`].\npub fn g() -> &'static str { \"crate::a\" }"),
            ("c.rs", "use crate::{a::{self, Thing}};"),
        ];
        let all = sound.iter().chain(extra);
        all.map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect()
    };
    assert_eq!(circles::shortest(&files(&[])), None);
    for (path, text, want) in [
        (
            "b.rs",
            "fn g() { println!(\"{}\", crate::c::NAME) }",
            vec!["a.rs → b.rs", "b.rs → c.rs", "c.rs → a.rs"],
        ),
        ("b.rs", "use super::a;", vec!["a.rs → b.rs", "b.rs → a.rs"]),
        ("b.rs", "pub(crate) use crate::{d::{self, E as F}}; ", vec![]),
        ("a/y.rs", "use crate::c;", vec!["a/y.rs → c.rs", "c.rs → a.rs"]),
    ] {
        let want = (!want.is_empty()).then(|| want.into_iter().map(str::to_owned).collect());
        assert_eq!(circles::shortest(&files(&[(path, text)])), want, "{path}: {text}");
    }
}

/// The phrases of the list, as one expression.
#[expect(clippy::unwrap_used, reason = "helpers of a test may end it")]
static PHRASES: LazyLock<Regex> = LazyLock::new(|| {
    let list = include_str!("english.txt").lines().filter(|line| !line.starts_with('#'));
    Regex::new(&format!("(?i){}", list.collect::<Vec<_>>().join("|"))).unwrap()
});

/// Returns the lines of a text that hold a phrase of the list, with their numbers.
fn foreign_phrases(text: &str) -> Vec<String> {
    // A phrase of the list fits these, but they are good English.
    let right = ["is no longer", "is no more"];
    let odd = |line: &str| {
        PHRASES.find_iter(line).any(|found| !right.iter().any(|it| found.as_str().ends_with(it)))
    };
    let lines = text.lines().enumerate().filter(|(_, line)| odd(line));
    lines.map(|(index, line)| format!("{}: {}", index + 1, line.trim())).collect()
}

#[test]
fn texts_read_as_a_native_speaker_would_write_them() {
    for (name, text) in texts() {
        let ours = ["md", "rs", "toml"].iter().any(|one| is(&name, one)) || text.starts_with("#!");
        if !ours || name == "harness/tests/tidy/main.rs" {
            continue; // this file quotes the phrases
        }
        let found = foreign_phrases(&text);
        assert!(found.is_empty(), "{name}: write this in other words:\n{}", found.join("\n"));
    }
}

#[test]
fn a_phrase_of_the_list_is_found_and_its_right_uses_are_not() {
    for (text, want) in [
        ("It is no folder.", vec!["1: It is no folder."]),
        ("It is no longer there.\nThis is no more than that.", vec![]),
        ("a\n  Whoever came of it\n", vec!["2: Whoever came of it"]),
        ("Write to wherever it shall be.", vec!["1: Write to wherever it shall be."]),
    ] {
        assert_eq!(foreign_phrases(text), want, "{text}");
    }
}
