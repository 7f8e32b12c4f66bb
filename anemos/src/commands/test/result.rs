//! What a rehearsal leaves for people and programs, however it ends.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::Context as _;
use contract::payload::Description;
use harness::chain::Timed;
use harness::classify::Class;
use harness::evidence::{self, ABOUT, About, Evidence};
use harness::host::interrupt::Interrupted;
use harness::report::html::{self, Entry};
use harness::report::junit;
use harness::scenario::run::Outcome;
use harness::size::Size;
use harness::verdict::{Ending, PowerCut, Verdict};
use serde_json::Value;

use super::KeepArgs;
use crate::report;

/// The results of all rehearsals of a command, with the places where they go.
#[derive(Debug)]
pub(super) struct Results {
    keep: KeepArgs,
    /// Whether there may be several machines, so that JSON is a list.
    several: bool,
    /// What people call the payload.
    about: String,
    /// Its digest, once it is known.
    digest: String,
    /// The one that has begun and has not ended.
    trying: Option<Try>,
    done: Vec<Done>,
    began: Instant,
}

/// A rehearsal that has begun.
#[derive(Debug)]
struct Try {
    machine: String,
    evidence: Evidence,
    began: Instant,
}

/// A rehearsal that has ended.
#[derive(Debug)]
struct Done {
    machine: String,
    verdict: Verdict,
    times: Vec<Timed>,
    seconds: f64,
    /// Where its evidence is; a refusal before any guest may have none.
    folder: Option<PathBuf>,
}

impl Results {
    pub(super) fn new(keep: KeepArgs, several: bool, about: String) -> Self {
        let (trying, done, digest) = (None, Vec::new(), String::new());
        Self { keep, several, about, digest, trying, done, began: Instant::now() }
    }

    /// Notes what the payload calls itself, and its digest.
    pub(super) fn about(&mut self, about: &str, payload: &Description) {
        about.clone_into(&mut self.about);
        self.digest = format!("sha256:{}", payload.sha256);
    }

    /// Begins a rehearsal on this machine; the result of an earlier one in its folder is removed.
    pub(super) fn begin(&mut self, machine: String, folder: &Path) -> anyhow::Result<Evidence> {
        let evidence = Evidence::create(folder);
        let evidence = evidence.with_context(|| format!("making {}", folder.display()))?;
        let about = About {
            machine: machine.clone(),
            payload: self.about.clone(),
            digest: self.digest.clone(),
            version: env!("ANEMOS_BUILD").to_owned(),
            began: evidence::time(SystemTime::now()),
        };
        evidence.json(ABOUT, &about).context("writing about.json")?;
        self.trying = Some(Try { machine, evidence: evidence.clone(), began: Instant::now() });
        Ok(evidence)
    }

    /// Notes the result of the rehearsal that has begun, and writes it and its page.
    pub(super) fn end(&mut self, verdict: &Verdict, times: &[Timed]) -> anyhow::Result<()> {
        let Some(Try { machine, evidence, began }) = self.trying.take() else { return Ok(()) };
        evidence.verdict(verdict).context("writing verdict.json")?;
        evidence.stages(times).context("writing stages.json")?;
        let done = Done {
            machine,
            verdict: verdict.clone(),
            times: times.to_vec(),
            seconds: began.elapsed().as_secs_f64(),
            folder: Some(evidence.folder().to_owned()),
        };
        let (title, entry) = (format!("anemos test {}", self.about), done.entry(&self.about));
        self.done.push(done);
        html::write(evidence.folder(), &title, &[entry]).context("writing the page").map(drop)
    }

    /// Notes that the user ended the rehearsal that has begun; returns the exit code.
    ///
    /// Whatever was going on has ended with the run; the evidence so far is kept.
    pub(super) fn interrupted(&mut self, interrupted: Interrupted) -> anyhow::Result<u8> {
        let verdict = Verdict::broken(Class::Interrupted, interrupted.to_string(), Vec::new());
        self.leave(&verdict)?;
        let code = Interrupted::EXIT_CODE;
        report::step(&format!("{interrupted}: guests are ended, exit code {code}"));
        Ok(code)
    }

    /// Notes an error, before which no verdict could be reached.
    pub(super) fn not_tried(&mut self, error: &anyhow::Error) -> anyhow::Result<()> {
        let reason = report::reason(error);
        let mut verdict = if report::is_refusal(error) {
            Verdict::failed(Class::Refused, reason, Vec::new())
        } else {
            Verdict::broken(Class::NotTried, reason, Vec::new())
        };
        verdict.hint = report::hint(error).map(str::to_owned);
        self.leave(&verdict)
    }

    /// Notes how it all ended, in the folder of the evidence as far as there is one.
    fn leave(&mut self, verdict: &Verdict) -> anyhow::Result<()> {
        let began = self.trying.as_ref().map_or(self.began, |trying| trying.began);
        let seconds = began.elapsed().as_secs_f64();
        let name = match verdict.class {
            Some(Class::Interrupted) => "interrupted",
            Some(Class::Refused) => "refused",
            _ => "broken",
        };
        let times = vec![Timed { name: name.to_owned(), start: 0.0, seconds }];
        if self.trying.is_some() {
            return self.end(verdict, &times);
        }
        // A rehearsal that has ended keeps its verdict, whatever fails afterwards.
        if self.done.is_empty() {
            let (machine, verdict) = (String::new(), verdict.clone());
            self.done.push(Done { machine, verdict, times, seconds, folder: None });
        }
        Ok(())
    }

    /// Writes the files for programs that are wanted, and a page about all machines.
    pub(super) fn write(&self, folder: Option<&Path>) -> anyhow::Result<()> {
        if let (true, Some(folder)) = (self.several, folder.filter(|folder| folder.is_dir())) {
            let entries: Vec<_> = self.done.iter().map(|done| done.entry(&self.about)).collect();
            let title = format!("anemos test {}", self.about);
            html::write(folder, &title, &entries).context("writing the page")?;
        }
        if let Some(json) = &self.keep.json {
            let all = self.done.iter().map(Done::json).collect::<anyhow::Result<Vec<_>>>()?;
            match &all[..] {
                [one] if !self.several => json.put(one)?,
                all => json.put(all)?,
            }
        }
        let Some(path) = &self.keep.junit else { return Ok(()) };
        let outcomes: Vec<_> = self.done.iter().map(|done| done.outcome(&self.about)).collect();
        let text = junit::render("anemos test", &outcomes);
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }
}

impl Done {
    fn outcome(&self, about: &str) -> Outcome {
        let machine = if self.machine.is_empty() { "no machine" } else { &self.machine };
        let hint = self.verdict.hint.iter().map(|hint| format!("hint: {hint}"));
        Outcome {
            name: format!("{}/{machine}", about.replace('/', "-")),
            claim: self.verdict.reason.clone(),
            verdict: self.verdict.verdict,
            differences: self.verdict.evidence.iter().cloned().chain(hint).collect(),
            seconds: self.seconds,
            evidence: self.folder.clone().unwrap_or_default(),
        }
    }

    fn entry(&self, about: &str) -> Entry {
        Entry { claim: None, differences: Vec::new(), ..Entry::from(&self.outcome(about)) }
    }

    fn json(&self) -> anyhow::Result<Value> {
        let mut value = serde_json::to_value(&self.verdict).context("writing JSON")?;
        value["stages"] = serde_json::to_value(&self.times).context("writing JSON")?;
        value["seconds"] = self.seconds.into();
        if !self.machine.is_empty() {
            value["machine"] = self.machine.clone().into();
        }
        if let Some(folder) = &self.folder {
            value["folder"] = folder.display().to_string().into();
        }
        Ok(value)
    }
}

/// Renders the verdict for people.
pub(super) fn render(verdict: &Verdict, times: &[Timed], folder: &Path) -> String {
    let mut lines = vec![format!("verdict: {}", verdict.verdict)];
    lines.push(format!("reason: {}", verdict.reason));
    lines.extend(verdict.hint.iter().map(|hint| format!("hint: {hint}")));
    lines.extend(verdict.blame.map(|blame| format!("fault of: {}", blame.name())));
    if verdict.verdict != Ending::Passed {
        lines.extend(verdict.evidence.iter().map(|line| format!("  | {line}")));
    }
    lines.extend(verdict.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines.extend(power_cuts(verdict));
    lines.push(format!("evidence: {}", folder.display()));
    lines.push(format!("report: {}", folder.join(html::FILE).display()));
    if !times.is_empty() {
        lines.push("stages (start, name, time):".to_owned());
        lines.push(evidence::render_times(times).trim_end().to_owned());
    }
    lines.join("\n")
}

/// Renders a line for each power cut.
fn power_cuts(verdict: &Verdict) -> Vec<String> {
    let line = |cut: &PowerCut| {
        let (written, boots) = (Size::of_bytes(cut.written), cut.boots.name());
        format!("  {:>5}  {:>10}  {boots}", cut.flush, written.to_string())
    };
    let head =
        (!verdict.power_cuts.is_empty()).then(|| "power cuts (flush, written, boots):".to_owned());
    head.into_iter().chain(verdict.power_cuts.iter().map(line)).collect()
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use harness::verdict::Blame;

    use super::*;
    use crate::json::Json;
    use crate::report::Refused;

    #[test]
    fn a_verdict_shows_reason_fault_and_the_lines_that_tell_it() {
        let lines = vec!["ALERT!  UUID=1 does not exist.".to_owned()];
        let mut verdict = Verdict::failed(Class::InitramfsShell, "no root was found", lines);
        verdict.blame = Some(Blame::Payload);
        let times = [Timed { name: "deploy".to_owned(), start: 30.0, seconds: 4.2 }];
        insta::assert_snapshot!(render(&verdict, &times, Path::new("e")), @r"
        verdict: failed
        reason: no root was found
        fault of: the payload
          | ALERT!  UUID=1 does not exist.
        evidence: e
        report: e/report.html
        stages (start, name, time):
             30.0s  deploy      4.2s
        ");
    }

    /// Returns results whose files are in this folder, and their paths.
    fn results(folder: &Path, several: bool) -> (Results, PathBuf, PathBuf) {
        let (json, junit) = (folder.join("r.json"), folder.join("r.xml"));
        for path in [&json, &junit] {
            std::fs::write(path, "an old passed").unwrap();
        }
        let keep = KeepArgs {
            evidence: None,
            json: Some(Json::Written(json.clone())),
            junit: Some(junit.clone()),
            receipt: None,
            keep: false,
        };
        (Results::new(keep, several, "debian".to_owned()), json, junit)
    }

    #[test]
    fn every_way_to_end_is_in_every_file() {
        for (refused, verdict, class, element) in [
            (true, "failed", "refused", "<failure message=\"no disk\">hint: plug one in</failure>"),
            (false, "broken", "not-tried", "<error message=\"no QEMU\"></error>"),
        ] {
            for begun in [false, true] {
                let folder = tempfile::tempdir().unwrap();
                let (mut results, json, junit) = results(folder.path(), false);
                let evidence = folder.path().join("e");
                if begun {
                    results.begin("bios virtio-blk".to_owned(), &evidence).unwrap();
                }
                let error = if refused {
                    anyhow!(Refused::new("no disk", "plug one in"))
                } else {
                    anyhow!("no QEMU")
                };
                results.not_tried(&error).unwrap();
                results.write(None).unwrap();
                let text = std::fs::read_to_string(json).unwrap();
                let value: Value = serde_json::from_str(&text).unwrap();
                assert_eq!((&value["verdict"], &value["class"]), (&verdict.into(), &class.into()));
                assert!(value["seconds"].as_f64().unwrap() > 0.0);
                let text = std::fs::read_to_string(junit).unwrap();
                assert!(text.contains(element), "{text}");
                for name in ["verdict.json", "stages.json", html::FILE] {
                    assert_eq!(evidence.join(name).exists(), begun, "{name}");
                }
            }
        }
    }

    #[test]
    fn several_machines_are_a_list_and_a_case_each() {
        let folder = tempfile::tempdir().unwrap();
        let (mut results, json, junit) = results(folder.path(), true);
        for machine in ["bios-nvme", "uefi-nvme"] {
            results.begin(machine.to_owned(), &folder.path().join(machine)).unwrap();
            results.end(&Verdict::passed("it boots", vec![]), &[]).unwrap();
        }
        results.write(Some(folder.path())).unwrap();
        let text = std::fs::read_to_string(json).unwrap();
        let value: Vec<Value> = serde_json::from_str(&text).unwrap();
        let machines: Vec<_> = value.iter().map(|one| &one["machine"]).collect();
        assert_eq!(machines, ["bios-nvme", "uefi-nvme"]);
        let text = std::fs::read_to_string(junit).unwrap();
        assert!(text.contains("classname=\"debian\" name=\"uefi-nvme\""), "{text}");
        let page = std::fs::read_to_string(folder.path().join(html::FILE)).unwrap();
        assert!(page.contains("2 passed"), "{page}");
    }

    #[test]
    fn what_fails_after_a_verdict_does_not_take_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let (mut results, json, _junit) = results(folder.path(), false);
        results.begin(String::new(), &folder.path().join("e")).unwrap();
        results.end(&Verdict::passed("it boots", vec![]), &[]).unwrap();
        results.not_tried(&anyhow!("writing the receipt")).unwrap();
        results.write(None).unwrap();
        let value: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        assert_eq!(value["verdict"], "passed");
    }

    #[test]
    fn an_interrupted_run_says_so_with_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let (mut results, json, _junit) = results(folder.path(), false);
        results.begin(String::new(), &folder.path().join("e")).unwrap();
        assert_eq!(results.interrupted(Interrupted::Term).unwrap(), 130);
        results.write(None).unwrap();
        let value: Value = serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
        assert_eq!(value["reason"], "interrupted by SIGTERM");
        assert_eq!(value["stages"][0]["name"], "interrupted");
    }
}
