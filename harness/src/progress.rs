//! Shows on stderr what a run is doing: a live line on a terminal, else a line per step.

use std::cell::RefCell;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

/// Where steps are shown.
#[derive(Debug)]
pub struct Progress {
    kind: Kind,
    began: Instant,
    now: RefCell<Option<(String, Instant)>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Live,
    Plain,
    Silent,
}

impl Progress {
    /// Chooses the form by what stderr is.
    pub fn new() -> Self {
        Self::of(if io::stderr().is_terminal() { Kind::Live } else { Kind::Plain })
    }

    /// Returns a progress that shows nothing.
    pub fn silent() -> Self {
        Self::of(Kind::Silent)
    }

    fn of(kind: Kind) -> Self {
        Self { kind, began: Instant::now(), now: RefCell::new(None) }
    }

    /// Begins a step, which ends the previous one.
    pub fn step(&self, what: impl Into<String>) {
        let what = what.into();
        if self.now.borrow().as_ref().is_some_and(|(now, _)| *now == what) {
            return;
        }
        self.finish();
        if self.kind == Kind::Plain {
            self.say(&format!("{} {what}\n", self.clock()));
        }
        *self.now.borrow_mut() = Some((what, Instant::now()));
        self.tick();
    }

    /// Prints something that is not a step.
    pub fn note(&self, text: &str) {
        match self.kind {
            Kind::Live => self.say(&format!("\r\x1b[K{} {text}\n", self.clock())),
            Kind::Plain => self.say(&format!("{} {text}\n", self.clock())),
            Kind::Silent => {}
        }
        self.tick();
    }

    /// Updates the live line.
    pub fn tick(&self) {
        let now = self.now.borrow();
        if let (Kind::Live, Some((what, since))) = (self.kind, now.as_ref()) {
            let took = since.elapsed().as_secs();
            // Without wrapping (DECAWM), because a wrapped line could not be written over.
            self.say(&format!("\r\x1b[K\x1b[?7l{} {what} {took}s\x1b[?7h", self.clock()));
        }
    }

    /// Ends the last step.
    pub fn finish(&self) {
        if let (Kind::Live, Some((what, since))) = (self.kind, self.now.borrow_mut().take()) {
            let took = since.elapsed().as_secs_f64();
            self.say(&format!("\r\x1b[K{} {what} {took:.1}s\n", self.clock()));
        }
    }

    fn clock(&self) -> String {
        let secs = self.began.elapsed().as_secs();
        format!("[{:02}:{:02}]", secs / 60, secs % 60)
    }

    /// Prints text; if that fails (stderr is closed), nothing changes about the run.
    #[expect(clippy::unused_self, reason = "only a progress says something")]
    fn say(&self, text: &str) {
        drop(io::stderr().write_all(text.as_bytes()));
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
