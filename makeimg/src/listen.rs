//! Reads a program's output until the program has ended, even if others still hold the output open.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::process::Child;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use crate::step::Watch;

/// How many lines of a program's messages an error quotes.
const TAIL_LINES: usize = 12;
/// How often a silent program is checked for whether it has ended.
const TURN: Duration = Duration::from_millis(100);
/// How long it must be silent, after a program has ended, until its output counts as complete.
const SILENCE: Duration = Duration::from_secs(1);
/// A chunk that is read at once, which is also the capacity of a pipe (pipe(7)).
const CHUNK: usize = 1 << 16;
/// The most chunks that can be on their way when a program ends.
///
/// These are three for each of two pipes: one in the pipe, one in the thread that reads it, one
/// that was handed over. More can only come from what it has left behind.
const ON_THEIR_WAY: usize = 6;

/// What was read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Source {
    Messages,
    Output,
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The output, unless it is among the messages.
    pub(crate) output: Vec<u8>,
    tail: VecDeque<String>,
    /// The beginning of a line.
    line: Vec<u8>,
}

/// Passes lines of messages on until the program has ended, and collects its output meanwhile.
///
/// What the program leaves in the background may hold both open for as long as it likes.
pub(crate) fn listen(
    child: &mut Child,
    messages: impl Read + Send + 'static,
    output: Option<impl Read + Send + 'static>,
    watch: &mut dyn Watch,
) -> io::Result<Heard> {
    let (sender, receiver) = sync_channel(1);
    if let Some(output) = output {
        read(output, Source::Output, sender.clone());
    }
    read(messages, Source::Messages, sender);
    let (mut heard, mut ended, mut left) = (Heard::default(), false, ON_THEIR_WAY);
    loop {
        match receiver.recv_timeout(if ended { SILENCE } else { TURN }) {
            Ok((source, chunk)) => {
                let chunk: Vec<u8> = chunk?;
                left -= usize::from(ended);
                match source {
                    Source::Messages => heard.messages(&chunk, watch),
                    Source::Output => heard.output.extend(chunk),
                }
            }
            Err(RecvTimeoutError::Timeout) if !ended => {}
            Err(_) => break,
        }
        ended = ended || child.try_wait()?.is_some();
        if left == 0 {
            break;
        }
    }
    if !heard.line.is_empty() {
        heard.end_line(watch);
    }
    Ok(heard)
}

/// Reads to the end in a thread, which stays behind if the end does not come.
fn read(
    mut from: impl Read + Send + 'static,
    source: Source,
    sender: SyncSender<(Source, io::Result<Vec<u8>>)>,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        loop {
            let chunk = match from.read(&mut buffer) {
                Ok(0) => return,
                Ok(size) => Ok(buffer.get(..size).unwrap_or_default().to_vec()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = chunk.is_err();
            if sender.send((source, chunk)).is_err() || failed {
                return;
            }
        }
    });
}

impl Heard {
    fn messages(&mut self, chunk: &[u8], watch: &mut dyn Watch) {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend(part);
            if part.ends_with(b"\n") {
                self.end_line(watch);
            }
        }
    }

    fn end_line(&mut self, watch: &mut dyn Watch) {
        // Progress bars return to the beginning of their line, and only their last state matters.
        let text = String::from_utf8_lossy(&self.line);
        let text = text.trim_end().rsplit('\r').next().unwrap_or_default().to_owned();
        self.line.clear();
        watch.line(&text);
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(text);
    }

    /// Returns the last lines of the messages.
    pub(crate) fn tail(&mut self) -> String {
        telling(self.tail.make_contiguous()).join("\n").trim().to_owned()
    }
}

/// Returns the lines from the first that calls itself an error, or else all of them.
///
/// What apt(8), pacman(8) and apk(8) print before that is about what went well.
fn telling(lines: &[String]) -> &[String] {
    let is_error = |line: &String| {
        ["E: ", "Err:", "error: ", "ERROR: "].iter().any(|word| line.starts_with(word))
    };
    let first = lines.iter().position(is_error).unwrap_or_default();
    lines.get(first..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::telling;

    #[test]
    fn what_went_well_before_an_error_is_not_quoted() {
        for (said, want) in [
            ("Get:1\nE: no such package\nI: ends", "E: no such package\nI: ends"),
            ("Get:1\nErr:2\n  no key\nE: not signed", "Err:2\n  no key\nE: not signed"),
            (":: looking\nerror: no target: x", "error: no target: x"),
            ("fetch\nERROR: bad signature", "ERROR: bad signature"),
            ("one\ntwo", "one\ntwo"),
            ("", ""),
        ] {
            let lines: Vec<_> = said.lines().map(str::to_owned).collect();
            assert_eq!(telling(&lines).join("\n"), want, "{said:?}");
        }
    }
}
