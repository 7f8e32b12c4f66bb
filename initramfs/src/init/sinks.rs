//! The sinks for messages of PID 1: the log, and consoles, which it never waits for.
//!
//! A console may accept no byte for hours: somebody has pressed Ctrl-S, or flow control waits for
//! what is not there. Each has a thread of its own, and only that one blocks then.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use contract::paths;

/// Chunks that may wait for a console; those of a payload have at most 4 KiB.
const WAITING: usize = 16;
/// How long a line of PID 1 waits for room before the console counts as blocked.
const LINE: Duration = Duration::from_secs(2);
/// How long the output of a payload may wait for room in total.
///
/// It is less than a `deploy` may be late.
const PAYLOAD: Duration = Duration::from_secs(30);
/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct Sink {
    path: PathBuf,
    file: File,
}

impl Sink {
    pub(super) fn open(path: impl Into<PathBuf>) -> Option<Self> {
        let path = path.into();
        let mut options = OpenOptions::new();
        // A console that does not exist must not be created.
        let is_log = path.as_os_str() == paths::LOG;
        options.append(true).create(is_log).custom_flags(OFlag::O_NOCTTY.bits());
        let file = options.open(&path).ok()?;
        Some(Self { path, file })
    }

    /// Writes bytes; returns whether that was possible.
    ///
    /// When the shell on a console ends, the console hangs up everyone who has it open
    /// (`vhangup(2)`), so it is opened anew then.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
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

/// A console with the thread that writes to it.
#[derive(Debug)]
pub(super) struct Console {
    queue: Arc<Queue>,
    /// Bytes left out since it last accepted some.
    left_out: usize,
    /// How long the output of a payload may still be waited for.
    patience: Duration,
    /// Whether the last line of PID 1 waited in vain.
    stands: bool,
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: VecDeque<Vec<u8>>,
    /// Whether another chunk is being written.
    busy: bool,
    /// Whether the console no longer exists.
    gone: bool,
}

impl Queue {
    /// Locks the state; nothing that may panic is done while it is locked.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while a condition holds, but no longer than the limit.
    fn wait(&self, limit: Duration, holds: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let waited = self.changed.wait_timeout_while(self.lock(), limit, |state| holds(state));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Writes what arrives until the console is gone.
    fn show(&self, mut sink: Sink) {
        loop {
            let nothing = |state: &mut State| state.chunks.is_empty();
            let state = self.changed.wait_while(self.lock(), nothing);
            let mut state = state.unwrap_or_else(PoisonError::into_inner);
            let Some(chunk) = state.chunks.pop_front() else { continue };
            state.busy = true;
            drop(state);
            self.changed.notify_all();
            let is_there = sink.write(&chunk);
            let mut state = self.lock();
            (state.busy, state.gone) = (false, !is_there);
            drop(state);
            self.changed.notify_all();
            if !is_there {
                return;
            }
        }
    }
}

impl Console {
    /// Opens a console; `None` if that is not possible.
    pub(super) fn open(path: impl AsRef<Path>) -> Option<Self> {
        let sink = Sink::open(path.as_ref())?;
        let queue = Arc::<Queue>::default();
        let same = Arc::clone(&queue);
        thread::Builder::new().spawn(move || same.show(sink)).ok()?;
        Some(Self { queue, left_out: 0, patience: PAYLOAD, stands: false })
    }

    /// Writes a line of PID 1; returns false if the console no longer exists.
    pub(super) fn say(&mut self, bytes: &[u8]) -> bool {
        let limit = if self.stands { Duration::ZERO } else { LINE };
        let left_out = self.left_out;
        let is_there = self.put(bytes, limit);
        self.stands = self.left_out > left_out;
        is_there
    }

    /// Passes on output of a payload; returns false if the console no longer exists.
    pub(super) fn pass_on(&mut self, bytes: &[u8]) -> bool {
        let began = Instant::now();
        let limit = if self.stands { Duration::ZERO } else { self.patience };
        let is_there = self.put(bytes, limit);
        self.patience = self.patience.saturating_sub(began.elapsed());
        is_there
    }

    /// Waits until everything is shown.
    pub(super) fn flush(&self, limit: Duration) {
        let _late =
            self.queue.wait(limit, |state| !state.gone && (state.busy || !state.chunks.is_empty()));
    }

    fn put(&mut self, bytes: &[u8], limit: Duration) -> bool {
        let full = |state: &State| !state.gone && state.chunks.len() >= WAITING;
        let mut state = self.queue.wait(limit, full);
        if full(&state) {
            self.left_out += bytes.len();
            return true;
        }
        if self.left_out > 0 {
            let (left_out, log) = (self.left_out, paths::LOG);
            let note = format!("\nanemos: {left_out} bytes are left out here; {log} has all\n");
            state.chunks.push_back(note.into_bytes());
            self.left_out = 0;
        }
        state.chunks.push_back(bytes.to_vec());
        let is_there = !state.gone;
        drop(state);
        self.queue.changed.notify_all();
        is_there
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    /// A console that is read only on demand: a pipe that holds 64 KiB (`pipe(7)`).
    fn console(place: &Path) -> (Console, File) {
        let path = place.join("console");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        // For both reading and writing, so that neither open waits for the other end.
        let reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        (Console::open(&path).unwrap(), reader)
    }

    #[test]
    fn nobody_waits_for_a_console_that_stands_still_and_what_it_lacks_is_said() {
        let place = tempfile::tempdir().unwrap();
        let (mut console, mut reader) = console(place.path());
        console.patience = Duration::from_secs(1);
        for _ in 0..1000 {
            assert!(console.pass_on(&[b'.'; 4096]));
        }
        assert!(console.say(b"stage deploy ended\n"));
        assert!(console.stands);
        assert!(console.say(b"stage settle begins\n"));
        let mut shown = vec![0; 60 << 10];
        reader.read_exact(&mut shown).unwrap();
        console.stands = false;
        assert!(console.say(b"verdict deployed\n"));
        let mut rest = Vec::new();
        while !rest.ends_with(b"verdict deployed\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            rest.extend(byte);
        }
        console.flush(LINE);
        let rest = String::from_utf8(rest).unwrap();
        assert!(rest.contains(" bytes are left out here; "), "{rest}");
    }

    #[test]
    fn what_is_shown_at_once_is_complete() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("console");
        let text = |number: usize| format!("line {number}\n");
        File::create(&path).unwrap();
        let mut console = Console::open(&path).unwrap();
        for number in 0..10_000 {
            assert!(console.pass_on(text(number).as_bytes()));
        }
        console.flush(Duration::from_mins(1));
        let want: String = (0..10_000).map(text).collect();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), want);
    }
}
