//! What PID 1 says: one line per event on every console, in the log and in the kernel log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::timer::Timer;
use crate::paths;
use crate::stages::Stage;

/// Says things everywhere at once; a sink that cannot be written is left out silently,
/// because there is nobody else to tell.
#[derive(Debug)]
pub(super) struct Report {
    started: Instant,
    sinks: Vec<Sink>,
    kernel_log: Option<File>,
    events: Option<File>,
    /// What was said while standard output was the only sink.
    early: Option<Vec<u8>>,
    /// The last stage that failed, and why.
    pub(super) failed: Option<(Stage, String)>,
    /// What ends a stage that hangs.
    pub(super) timer: Timer,
}

/// A file that lines are appended to.
#[derive(Debug)]
struct Sink {
    path: PathBuf,
    file: File,
}

impl Sink {
    fn open(path: impl Into<PathBuf>) -> Option<Self> {
        use std::os::unix::fs::OpenOptionsExt;
        let (path, flags) = (path.into(), nix::fcntl::OFlag::O_NOCTTY.bits());
        let mut options = OpenOptions::new();
        // A console that is not there is not to be made.
        options.append(true).create(path.as_os_str() == paths::LOG).custom_flags(flags);
        let file = options.open(&path).ok()?;
        Some(Self { path, file })
    }

    /// Writes bytes; true when that was possible. A console hangs up all that have it open when the
    /// shell on it ends (`vhangup(2)`), so it is opened anew then.
    fn write(&mut self, bytes: &[u8]) -> bool {
        if self.file.write_all(bytes).is_ok() {
            return true;
        }
        let again = Self::open(std::mem::take(&mut self.path));
        again.is_some_and(|mut again| {
            let written = again.file.write_all(bytes).is_ok();
            *self = again;
            written
        })
    }
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
            sinks: Vec::new(),
            kernel_log: None,
            events: None,
            early: Some(Vec::new()),
            failed: None,
            timer: Timer::default(),
        }
    }

    /// Says nothing to anybody.
    #[cfg(test)]
    pub(super) fn silent() -> Self {
        Self { early: None, ..Self::start() }
    }

    /// Goes over to the log and to all consoles of the kernel (`/dev`, `/sys` are needed).
    /// What was said before is repeated where it was not seen.
    pub(super) fn open_consoles(&mut self) {
        self.events = OpenOptions::new().append(true).create(true).open(paths::EVENTS).ok();
        self.kernel_log = OpenOptions::new().write(true).open("/dev/kmsg").ok();
        let early = self.early.take().unwrap_or_default();
        // The last one is /dev/console, where the early lines went.
        let names = std::fs::read_to_string("/sys/class/tty/console/active").unwrap_or_default();
        let mut consoles: Vec<_> = names.split_whitespace().collect();
        let main = consoles.pop();
        let console = |name: &str| Sink::open(format!("/dev/{name}"));
        let mut sinks: Vec<_> = Sink::open(paths::LOG).into_iter().collect();
        sinks.extend(consoles.into_iter().filter_map(console));
        sinks.retain_mut(|sink| sink.write(&early));
        sinks.extend(main.and_then(console));
        self.sinks = sinks;
    }

    /// Says one line.
    pub(super) fn line(&mut self, text: &str) {
        self.output(format!("anemos: {text}\n").as_bytes());
        if let Some(log) = &mut self.kernel_log {
            // Debug level: kept in the kernel log, but not printed a second time. One write is
            // one record, so the line is made first.
            let _unwritable = log.write_all(format!("<7>anemos: {text}").as_bytes());
        }
    }

    /// Says why the deployment is over.
    pub(super) fn error(&mut self, error: &anyhow::Error) {
        self.line(&format!("error: {}", one_line(error)));
    }

    /// Passes on bytes of somebody else's, typically of `deploy`.
    pub(super) fn output(&mut self, bytes: &[u8]) {
        if let Some(early) = &mut self.early {
            early.extend_from_slice(bytes);
            let _unwritable = io::stdout().lock().write_all(bytes);
        }
        self.sinks.retain_mut(|sink| sink.write(bytes));
    }

    /// Runs one stage and says when it begins and how it ended.
    pub(super) fn stage<T>(
        &mut self,
        stage: Stage,
        run: impl FnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let began = Instant::now();
        self.begin(stage);
        let result = run(self);
        self.timer.pause();
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

    /// Says that a stage begins; the last one never ends here.
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

/// The whole chain of an error on one line, as consoles and the harness want it.
pub(super) fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}
