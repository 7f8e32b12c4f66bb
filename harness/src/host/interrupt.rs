//! Runs a whole run on one thread, and ends it properly when the user asks for that.

use std::io;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

/// The signal that ended a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("interrupted by {}", self.name())]
pub enum Interrupted {
    /// Ctrl-C.
    Int,
    /// `kill`, and what a service manager sends.
    Term,
    /// The terminal is gone.
    Hup,
}

impl Interrupted {
    /// The exit code of an interrupted run, the same for all signals.
    pub const EXIT_CODE: u8 = 130;

    fn name(self) -> &'static str {
        match self {
            Self::Int => "SIGINT",
            Self::Term => "SIGTERM",
            Self::Hup => "SIGHUP",
        }
    }
}

/// Runs `work` to its end, or drops it at the first signal, with its guests and files.
///
/// Everything runs on the calling thread, because the kernel ends the children of a thread with it.
pub fn run<T>(work: impl Future<Output = T>) -> io::Result<Result<T, Interrupted>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let mut int = signal(SignalKind::interrupt())?;
        let mut term = signal(SignalKind::terminate())?;
        let mut hup = signal(SignalKind::hangup())?;
        Ok(tokio::select! {
            done = work => Ok(done),
            _ = int.recv() => Err(Interrupted::Int),
            _ = term.recv() => Err(Interrupted::Term),
            _ = hup.recv() => Err(Interrupted::Hup),
        })
    });
    // Somebody else may hold the lock that a thread waits for.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use nix::sys::signal::{Signal, raise};

    use super::*;

    /// Notes that it was dropped, as a guest or a folder would be removed.
    struct Guard(Rc<Cell<bool>>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[test]
    fn a_signal_ends_the_work_and_removes_what_it_held() {
        let gone = Rc::new(Cell::new(false));
        let guard = Guard(Rc::clone(&gone));
        let work = async move {
            let _guard = guard;
            raise(Signal::SIGTERM).unwrap();
            std::future::pending::<()>().await;
        };
        assert_eq!(run(work).unwrap(), Err(Interrupted::Term));
        assert!(gone.get(), "the work still holds something");
        assert_eq!(Interrupted::Term.to_string(), "interrupted by SIGTERM");
    }
}
