//! Renders the results of runs as one page, which needs no network and no script.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::chain::Timed;
use crate::evidence::{ABOUT, About};
use crate::scenario::run::Outcome;
use crate::size::Size;
use crate::verdict::{Ending, Verdict};

const STYLE: &str = include_str!("html/style.css");
/// Lines of a transcript that are shown; the file has all of them.
const SHOWN: usize = 400;
/// The same if everything was as it should be, so that a page of hundreds of runs stays small.
const SHOWN_IF_PASSED: usize = 40;
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
                header {
                    h1 { (title) }
                    p.counts { (super::counts_of(&endings)) }
                }
                main {
                    table.runs {
                        caption { "What was run; failures come first" }
                        thead { tr {
                            th scope="col" { "verdict" }
                            th scope="col" { "time" }
                            th scope="col" { "name" }
                            th scope="col" { "claim" }
                        } }
                        tbody { @for entry in sorted(entries) { (row(entry)) } }
                    }
                    @for entry in sorted(entries) { (section(folder, entry)) }
                }
            }
        }
    }
}

/// Sorts the entries, with those that differ from their expectation first.
fn sorted(entries: &[Entry]) -> Vec<&Entry> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|entry| match entry.ending {
        Ending::Failed => 0,
        Ending::Broken => 1,
        Ending::Skipped => 2,
        Ending::Passed => 3,
    });
    entries
}

fn row(entry: &Entry) -> Markup {
    let ending = entry.ending.to_string();
    html! {
        tr {
            td { span class={ "badge " (ending) } { (ending) } }
            td.number { (format!("{:.1} s", entry.seconds)) }
            td { a href={ "#" (anchor(&entry.name)) } { (entry.name) } }
            td.claim { (entry.claim.as_deref().unwrap_or_default()) }
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
    let about: Option<About> = read(&entry.evidence.join(ABOUT));
    let ending = entry.ending.to_string();
    let fine = entry.ending == Ending::Passed;
    html! {
        details.entry id=(anchor(&entry.name)) open[!fine] {
            summary { h2 { span class={ "badge " (ending) } { (ending) } " " (entry.name) } }
            @if let Some(claim) = &entry.claim { p.claim { (claim) } }
            @if !entry.differences.is_empty() {
                ul.differences { @for line in &entry.differences { li { (line) } } }
            }
            @if let Some(verdict) = &verdict { (judged(verdict)) }
            @if let Some(about) = &about { (told(about)) }
            (timeline(&times))
            @for guest in guests(&entry.evidence) { (shown(folder, &guest, fine)) }
            (commands(&entry.evidence))
            @if entry.evidence.is_dir() {
                p { "evidence: " a href=(relative(folder, &entry.evidence)) {
                    code { (entry.evidence.display()) }
                } }
            }
        }
    }
}

/// Shows what was rehearsed, on which machine, with which `anemos`, and when.
fn told(about: &About) -> Markup {
    html! {
        dl {
            dt { "machine" } dd { (about.machine) }
            dt { "payload" } dd { (about.payload) " " code { (about.digest) } }
            dt { "anemos" } dd { (about.version) }
            dt { "began" } dd { (about.began) }
        }
    }
}

/// Returns the path from the page, as an address.
fn relative(folder: &Path, path: &Path) -> String {
    let path = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
    let path = path.replace('%', "%25").replace('#', "%23").replace('?', "%3F");
    if path.is_empty() { ".".to_owned() } else { path }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn judged(verdict: &Verdict) -> Markup {
    let fine = verdict.verdict == Ending::Passed;
    html! {
        p.reason { b { "rehearsal " (verdict.verdict) ": " } (verdict.reason) }
        @if let Some(hint) = &verdict.hint { p { "hint: " (hint) } }
        @if let Some(blame) = verdict.blame { p { "fault of: " (blame.name()) } }
        @for warning in &verdict.warnings { p.warning { "warning: " (warning) } }
        @if !verdict.evidence.is_empty() {
            pre.shows.healthy[fine] tabindex="0" { @for line in &verdict.evidence { (line) "\n" } }
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
            caption { "What boots after a power cut" }
            thead { tr { th { "at flush" } th { "written" } th { "boots" } th { "why" } } }
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

fn shown(folder: &Path, transcript: &Path, fine: bool) -> Markup {
    let text = fs::read(transcript).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let most = if fine { SHOWN_IF_PASSED } else { SHOWN };
    let skipped = lines.len().saturating_sub(most);
    let name = transcript.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let name = name.trim_end_matches(".console.log").to_owned();
    let picture = transcript.with_file_name(format!("{name}.screen.png"));
    html! {
        details.guest {
            summary { (name) " · " (lines.len()) " lines on its serial console" }
            @if picture.exists() {
                figure {
                    img loading="lazy" src=(relative(folder, &picture))
                        alt={ "screen of " (name) " at its end" };
                    figcaption { "its screen at the end" }
                }
            }
            p { a href=(relative(folder, transcript)) {
                @if skipped > 0 { "the first " (skipped) " lines" } @else { "the transcript" }
            } }
            div.transcript tabindex="0" {
                pre { @for line in &lines[skipped..] { (line_of(line, fine)) } }
            }
        }
    }
}

/// Renders a line, marking its time, and our lines among the kernel's.
///
/// If all is fine, a word such as panic is one of many that a healthy system may say.
fn line_of(line: &str, fine: bool) -> Markup {
    let (time, text) = line.trim_start().split_once(' ').unwrap_or(("", line));
    let class = match text {
        text if text.contains("Kernel panic") || text.contains("ALERT!") => "bad",
        text if text.starts_with("---") => "fault",
        text if text.starts_with("anemos: error") => "bad",
        text if text.starts_with("anemos: ") => "ours",
        _ => "",
    };
    let class = if fine && class == "bad" { "" } else { class };
    let time = format!("{time:>9} ");
    html! {
        span.time { (time) }
        @if class.is_empty() { (text) } @else { span class=(class) { (text) } }
        "\n"
    }
}

fn commands(evidence: &Path) -> Markup {
    // Only a scenario leaves its command; a person knows what was typed.
    let command = fs::read_to_string(evidence.join("command.txt")).unwrap_or_default();
    html! {
        @if !command.is_empty() { p { "repeat it:" } pre tabindex="0" { (command) } }
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
        let about = About {
            machine: "debian-12 bios nvme".into(),
            payload: "debian".into(),
            digest: "sha256:1".into(),
            version: "0.1.0".into(),
            began: "2026-01-01T00:00:00Z".into(),
        };
        fs::write(evidence.join(ABOUT), serde_json::to_string(&about).unwrap()).unwrap();
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
            "href=\"boot/no-root/new-system/new-system.console.log\"",
            "<dt>payload</dt><dd>debian <code>sha256:1</code></dd>",
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

    #[test]
    fn failures_come_first_and_what_is_fine_is_not_red() {
        let folder = tempfile::tempdir().unwrap();
        let failed = entry(folder.path());
        let skipped = Entry { ending: Ending::Skipped, name: "s".into(), ..failed.clone() };
        let passed = Entry { ending: Ending::Passed, name: "p".into(), ..failed.clone() };
        let text = page(folder.path(), "t", &[passed.clone(), skipped, failed]).into_string();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what} is not in {text}"));
        assert!(at("href=\"#boot-no-root\"") < at("href=\"#s\""));
        assert!(at("href=\"#s\"") < at("href=\"#p\""));
        let text = page(folder.path(), "t", &[passed]).into_string();
        assert!(!text.contains("class=\"bad\""));
    }

    /// Returns the relative luminance of `#rrggbb` or `#rgb` (WCAG 2.1).
    fn luminance(color: &str) -> f64 {
        let digits = color.trim_start_matches('#');
        let wide: String = match digits.len() {
            3 => digits.chars().flat_map(|digit| [digit, digit]).collect(),
            _ => digits.to_owned(),
        };
        let part = |at: usize| {
            let value = f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()) / 255.0;
            if value <= 0.03928 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(0) + 0.7152 * part(2) + 0.0722 * part(4)
    }

    #[test]
    fn every_color_of_text_is_readable_on_its_ground_in_both_schemes() {
        let schemes: Vec<_> = STYLE.split("prefers-color-scheme").take(2).collect();
        for scheme in schemes {
            let color = |name: &str| {
                let rest = scheme.split_once(&format!("--{name}: ")).expect("a color").1;
                luminance(rest.split([';', ' ', '}']).next().unwrap())
            };
            for (text, ground) in [
                ("ink", "paper"),
                ("ink", "soft"),
                ("dim", "paper"),
                ("dim", "soft"),
                ("good", "soft"),
                ("bad", "soft"),
                ("odd", "soft"),
                ("bar", "paper"),
                ("good", "paper"),
                ("bad", "paper"),
                ("odd", "paper"),
            ] {
                let (one, other) = (color(text), color(ground));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= 4.5, "{text} on {ground}: {contrast:.2}");
            }
        }
    }
}
