//! Listens to a guest's ports, and reports what was heard.

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use super::files::Transcript;
use super::{Event, Observation, What};
use crate::console::Console;

/// A line that is not finished by then is shown as it is.
const PAUSE: Duration = Duration::from_millis(30);

/// Where observations go, each with its time.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    pub(super) started: Instant,
    pub(super) queue: UnboundedSender<Observation>,
}

impl Voice {
    pub(super) fn at(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn say(&self, what: What) {
        // Nobody listens any more: the guest is being dropped.
        drop(self.queue.send(Observation { at: self.at(), what }));
    }
}

/// Follows the serial console to its end.
pub(super) async fn serial(
    mut port: impl AsyncRead + Unpin,
    mut raw: File,
    mut log: Transcript,
    voice: Voice,
) {
    let mut console = Console::new();
    let mut shown = String::new();
    let mut buffer = [0; 4096];
    loop {
        let pending = console.pending();
        let len = if pending == shown {
            port.read(&mut buffer).await
        } else if let Ok(read) = tokio::time::timeout(PAUSE, port.read(&mut buffer)).await {
            read
        } else {
            shown.clone_from(&pending);
            voice.say(What::Pending(pending));
            continue;
        };
        // An error means the end as well: QEMU is gone.
        let bytes = buffer.get(..len.unwrap_or(0)).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        // A full disk costs evidence, but does not end the run.
        drop(raw.write_all(bytes));
        for line in console.push(bytes) {
            shown.clear();
            log.line(voice.at(), &line);
            if !line.is_empty() {
                voice.say(What::Line(line));
            }
        }
    }
    let rest = console.pending();
    if !rest.trim().is_empty() {
        log.line(voice.at(), &rest);
        voice.say(What::Line(rest.trim_end().to_owned()));
    }
}

/// Follows the firmware's debug port to its end.
pub(super) async fn firmware(mut port: impl AsyncRead + Unpin, mut log: Transcript, voice: Voice) {
    let mut console = Console::new();
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = port.read(&mut buffer).await {
        for line in console.push(buffer.get(..len).unwrap_or_default()) {
            log.line(voice.at(), &line);
            if !line.is_empty() {
                voice.say(What::Firmware(line));
            }
        }
    }
}

/// Passes on the events of QEMU.
pub(super) async fn events(mut messages: UnboundedReceiver<Value>, voice: Voice) {
    while let Some(message) = messages.recv().await {
        if let Some(event) = Event::parse(&message) {
            voice.say(What::Event(event));
        }
    }
}
