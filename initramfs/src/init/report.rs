//! The messages of PID 1: one line per event on every console, in the log and in the kernel log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::sinks::{Console, Sink};
use super::timer::Timer;
use contract::paths;
use contract::stages::Stage;

/// Writes messages everywhere at once.
///
/// A sink that cannot be written is left out silently, because there is nobody else to tell.
#[derive(Debug)]
pub(super) struct Report {
    started: Instant,
    log: Option<Sink>,
    consoles: Vec<Console>,
    kernel_log: Option<File>,
    events: Option<File>,
    /// What was written while standard output was the only sink.
    early: Option<Vec<u8>>,
    /// The last stage that failed, with the reason.
    pub(super) failed: Option<(Stage, String)>,
    /// The timer that ends a stage that hangs.
    pub(super) timer: Timer,
}

/// A line of the event log.
#[derive(Serialize)]
struct Event<'a> {
    at_secs: f64,
    stage: Stage,
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    took_secs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Report {
    /// Starts on standard output, which the kernel has opened on its main console.
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            log: None,
            consoles: Vec::new(),
            kernel_log: None,
            events: None,
            early: Some(Vec::new()),
            failed: None,
            timer: Timer::default(),
        }
    }

    /// Returns a report that says nothing to anybody.
    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self { early: None, ..Self::start() }
    }

    /// Switches to the log and to all consoles of the kernel, which takes `/dev` and `/sys`.
    ///
    /// What was said before is repeated where it was not seen.
    pub(super) fn open_consoles(&mut self) {
        self.events = OpenOptions::new().append(true).create(true).open(paths::EVENTS).ok();
        self.kernel_log = OpenOptions::new().write(true).open("/dev/kmsg").ok();
        let early = self.early.take().unwrap_or_default();
        // The last one is /dev/console, where the early lines went.
        let names = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut names: Vec<_> = names.split_whitespace().collect();
        let main = names.pop();
        let console = |name: &str| Console::open(format!("/dev/{name}"));
        self.log = Sink::open(paths::LOG);
        self.consoles = names.into_iter().filter_map(console).collect();
        self.say(&early);
        self.consoles.extend(main.and_then(console));
    }

    /// Waits for a moment until the consoles have shown everything.
    pub(super) fn flush(&self) {
        const MOMENT: Duration = Duration::from_secs(2);
        for console in &self.consoles {
            console.flush(MOMENT);
        }
    }

    /// Says one line.
    pub(super) fn line(&mut self, text: &str) {
        let line = format!("anemos: {text}\n");
        self.early(line.as_bytes());
        self.say(line.as_bytes());
        if let Some(log) = &mut self.kernel_log {
            // Debug level: kept in the kernel log, but not printed a second time. One write is one
            // record, so the line is formatted first.
            let _unwritable = log.write_all(format!("<7>anemos: {text}").as_bytes());
        }
    }

    /// Reports why the deployment is over.
    pub(super) fn error(&mut self, error: &anyhow::Error) {
        self.line(&format!("error: {}", one_line(error)));
    }

    /// Passes on bytes of others, typically of `deploy`; a slow console leaves some out.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        self.early(bytes);
        self.keep(bytes);
        self.consoles.retain_mut(|console| console.pass_on(bytes));
    }

    fn early(&mut self, bytes: &[u8]) {
        if let Some(early) = &mut self.early {
            early.extend_from_slice(bytes);
            let _unwritable = io::stdout().lock().write_all(bytes);
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.keep(bytes);
        self.consoles.retain_mut(|console| console.say(bytes));
    }

    fn keep(&mut self, bytes: &[u8]) {
        if self.log.as_mut().is_some_and(|log| !log.write(bytes)) {
            self.log = None;
        }
    }

    /// Runs one stage, reporting when it begins and how it ended.
    pub(super) fn stage<T>(
        &mut self,
        stage: Stage,
        run: impl FnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        self.begin(stage);
        let result = run(self);
        // The time between two stages is part of the first one.
        if result.is_err() {
            self.timer.pause();
        }
        let took = began.elapsed().as_secs_f64();
        let error = result.as_ref().err().map(one_line);
        self.line(&match &error {
            None => format!("stage {stage} ended ok {took:.1}s"),
            Some(reason) => format!("stage {stage} ended failed {took:.1}s: {reason}"),
        });
        self.event(stage, "ended", Some(took), error.as_deref());
        self.failed = error.map(|error| (stage, error)).or(self.failed.take());
        result
    }

    /// Reports that a stage begins; the last one never ends here.
    pub(super) fn begin(&mut self, stage: Stage) {
        self.timer.begin(stage);
        self.line(&format!("stage {stage} begins"));
        self.event(stage, "begins", None, None);
    }

    fn event(
        &mut self,
        stage: Stage,
        what: &'static str,
        took_secs: Option<f64>,
        error: Option<&str>,
    ) {
        let at_secs = self.started.elapsed().as_secs_f64();
        let event = Event { at_secs, stage, what, took_secs, error };
        if let (Some(events), Ok(text)) = (&mut self.events, serde_json::to_string(&event)) {
            let _unwritable = writeln!(events, "{text}");
        }
    }
}

/// Formats the whole chain of an error on one line, as consoles and the harness want it.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
