//! Renders the results of runs as one page, which needs no network and no script.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chain::Timed;
use crate::scenario::run::Outcome;
use crate::size::Size;
use crate::verdict::{Ending, Verdict};

const STYLE: &str = include_str!("html/style.css");
/// Lines of a transcript that are shown; the file has all of them.
const SHOWN: usize = 400;
/// Name of the page in the folder of the evidence.
pub const FILE: &str = "report.html";

/// One rehearsal, with the place of its evidence.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its claim, if it is a scenario.
    pub claim: Option<String>,
    /// How it ended, seen as a scenario or as a rehearsal.
    pub ending: Ending,
    /// What differed from the expectation.
    pub differences: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// Folder of the evidence.
    pub evidence: PathBuf,
}

impl From<&Outcome> for Entry {
    fn from(outcome: &Outcome) -> Self {
        Self {
            name: outcome.name.clone(),
            claim: Some(outcome.claim.clone()),
            ending: outcome.verdict,
            differences: outcome.differences.clone(),
            seconds: outcome.seconds,
            evidence: outcome.evidence.clone(),
        }
    }
}

/// Writes the page of several runs beside their evidence; returns its path.
pub fn write(folder: &Path, title: &str, entries: &[Entry]) -> io::Result<PathBuf> {
    let path = folder.join(FILE);
    fs::write(&path, page(folder, title, entries).into_string())?;
    Ok(path)
}

fn page(folder: &Path, title: &str, entries: &[Entry]) -> Markup {
    let endings: Vec<_> = entries.iter().map(|entry| entry.ending).collect();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { (title) }
                p.counts { (super::counts_of(&endings)) }
                table {
                    thead { tr { th { "verdict" } th { "time" } th { "name" } th { "claim" } } }
                    tbody { @for entry in entries { (row(entry)) } }
                }
                @for entry in sorted(entries) { (section(folder, entry)) }
            }
        }
    }
}

/// Sorts the entries, with those that differ from their expectation first.
fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|entry| entry.ending == Ending::Passed);
    entries
}

fn row(entry: &Entry) -> Markup {
    let ending = entry.ending.to_string();
    html! {
        tr {
            td { span class={ "badge " (ending) } { (ending) } }
            td.number { (format!("{:.1} s", entry.seconds)) }
            td { a href={ "#" (anchor(&entry.name)) } { (entry.name) } }
            td { (entry.claim.as_deref().unwrap_or_default()) }
        }
    }
}

fn anchor(name: &str) -> String {
    name.replace(['/', ' '], "-")
}

fn section(folder: &Path, entry: &Entry) -> Markup {
    // What is missing or cannot be read has nothing to show; the page says what there is.
    let verdict: Option<Verdict> = read(&entry.evidence.join("verdict.json"));
    let times: Vec<Timed> = read(&entry.evidence.join("stages.json")).unwrap_or_default();
    let ending = entry.ending.to_string();
    html! {
        details.entry id=(anchor(&entry.name)) open[entry.ending != Ending::Passed] {
            summary { span class={ "badge " (ending) } { (ending) } " " (entry.name) }
            @if let Some(claim) = &entry.claim { p.claim { (claim) } }
            @if !entry.differences.is_empty() {
                ul.differences { @for line in &entry.differences { li { (line) } } }
            }
            @if let Some(verdict) = &verdict { (judged(verdict)) }
            (timeline(&times))
            @for guest in guests(&entry.evidence) { (shown(folder, &guest)) }
            (commands(&entry.evidence))
            p { "evidence: " code { (entry.evidence.display()) } }
        }
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn judged(verdict: &Verdict) -> Markup {
    html! {
        p.reason { b { "rehearsal " (verdict.verdict) ": " } (verdict.reason) }
        @if let Some(hint) = &verdict.hint { p { "hint: " (hint) } }
        @if let Some(blame) = verdict.blame { p { "fault of: " (blame.name()) } }
        @for warning in &verdict.warnings { p { "warning: " (warning) } }
        @if !verdict.evidence.is_empty() {
            pre.shows { @for line in &verdict.evidence { (line) "\n" } }
        }
        @if !verdict.power_cuts.is_empty() { (power_cuts(verdict)) }
        @if !verdict.added.is_empty() {
            details {
                summary { "what the harness added to the machine" }
                ul { @for line in &verdict.added { li { (line) } } }
            }
        }
    }
}

fn power_cuts(verdict: &Verdict) -> Markup {
    html! {
        table {
            thead { tr { th { "power cut at flush" } th { "written" } th { "boots" } th { "why" } } }
            tbody {
                @for cut in &verdict.power_cuts {
                    tr {
                        td.number { (cut.flush) }
                        td.number { (Size::of_bytes(cut.written)) }
                        td { (cut.boots.name()) }
                        td { (cut.reason) }
                    }
                }
            }
        }
    }
}

fn timeline(times: &[Timed]) -> Markup {
    let end = times.iter().map(|timed| timed.start + timed.seconds).fold(0.1, f64::max);
    let percent = |seconds: f64| format!("{:.2}%", 100.0 * seconds / end);
    html! {
        @if !times.is_empty() {
            div.timeline {
                @for Timed { name, start, seconds } in times {
                    span.name { (name) }
                    span.track {
                        span.bar style={ "margin-left:" (percent(*start)) ";width:" (percent(*seconds)) } {}
                    }
                    span.number { (format!("{seconds:.1} s")) }
                }
            }
        }
    }
}

/// Returns the transcripts below a folder, in the order in which the guests started.
fn guests(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    collect(folder, &mut found);
    found.sort_by_key(|path| fs::metadata(path).and_then(|file| file.modified()).ok());
    found
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, into);
        } else if path.to_string_lossy().ends_with(".console.log") {
            into.push(path);
        }
    }
}

fn shown(folder: &Path, transcript: &Path) -> Markup {
    let text = fs::read(transcript).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let skipped = lines.len().saturating_sub(SHOWN);
    let name = transcript.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.trim_end_matches(".console.log").to_owned();
    let picture = transcript.with_file_name(format!("{name}.screen.png"));
    let relative = |path: &Path| {
        path.strip_prefix(folder).unwrap_or(path).to_string_lossy().replace('#', "%23")
    };
    html! {
        details.guest {
            summary { (name) " · " (lines.len()) " lines on its serial console" }
            @if picture.exists() {
                figure {
                    img src=(relative(&picture)) alt={ "screen of " (name) " at its end" };
                    figcaption { "its screen at the end" }
                }
            }
            @if skipped > 0 {
                p { a href=(relative(transcript)) { "the first " (skipped) " lines" } }
            }
            pre.transcript { @for line in &lines[skipped..] { (line_of(line)) } }
        }
    }
}

/// Renders a line, marking its time, and our lines among the kernel's.
fn line_of(line: &str) -> Markup {
    let (time, text) = line.trim_start().split_once(' ').unwrap_or(("", line));
    let class = match text {
        text if text.contains("Kernel panic") || text.contains("ALERT!") => "bad",
        text if text.starts_with("---") => "fault",
        text if text.starts_with("anemos: error") => "bad",
        text if text.starts_with("anemos: ") => "ours",
        _ => "",
    };
    html! { span.time { (format!("{time:>9} ")) } span class=(class) { (text) } "\n" }
}

fn commands(evidence: &Path) -> Markup {
    // Only a scenario leaves its command; a person knows what was typed.
    let command = fs::read_to_string(evidence.join("command.txt")).unwrap_or_default();
    html! {
        @if !command.is_empty() { p { "repeat it:" } pre { (command) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::Class;

    fn entry(folder: &Path) -> Entry {
        let evidence = folder.join("boot/no-root");
        let guest = evidence.join("new-system");
        fs::create_dir_all(&guest).unwrap();
        let lines = vec!["ALERT!  <root> is gone".to_owned()];
        let verdict = Verdict::failed(Class::InitramfsShell, "no root & no shell", lines);
        fs::write(evidence.join("verdict.json"), serde_json::to_string(&verdict).unwrap()).unwrap();
        let times = [Timed { name: "deploy".into(), start: 1.0, seconds: 3.0 }];
        fs::write(evidence.join("stages.json"), serde_json::to_string(&times).unwrap()).unwrap();
        fs::write(guest.join("new-system.console.log"), "   1.5 ALERT!  <root>\n").unwrap();
        fs::write(guest.join("new-system.screen.png"), "PNG").unwrap();
        Entry {
            name: "boot/no-root".into(),
            claim: Some("It <fails>.".into()),
            ending: Ending::Failed,
            differences: vec!["exit code is 0, not 1".into()],
            seconds: 4.0,
            evidence,
        }
    }

    #[test]
    fn a_page_shows_reason_timeline_transcript_and_screen_and_escapes_them() {
        let folder = tempfile::tempdir().unwrap();
        let entry = entry(folder.path());
        let text = page(folder.path(), "anemos", &[entry]).into_string();
        for want in [
            "no root &amp; no shell",
            "ALERT!  &lt;root&gt; is gone",
            "It &lt;fails&gt;.",
            "margin-left:25.00%;width:75.00%",
            "<span class=\"bad\">ALERT!  &lt;root&gt;</span>",
            "src=\"boot/no-root/new-system/new-system.screen.png\"",
            "exit code is 0, not 1",
        ] {
            assert!(text.contains(want), "{want} is not in {text}");
        }
        assert!(!text.contains("http"), "the page needs a network");
    }

    #[test]
    fn a_run_without_evidence_is_on_the_page_too() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("nothing");
        let entry = Entry { evidence: missing, ..entry(folder.path()) };
        assert!(page(folder.path(), "t", &[entry]).into_string().contains("boot/no-root"));
    }
}
