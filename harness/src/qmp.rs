//! Speaks QMP with QEMU, and passes on its events.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use qapi::futures::{QapiService, QmpStreamTokio};
use qapi::qmp::QmpCommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{
    AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader, DuplexStream, WriteHalf,
};
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

/// Holds a command or an answer on its way; larger ones pass in pieces.
const PIPE_LEN: usize = 64 * 1024;

/// The commanding side of a QMP connection.
///
/// `qapi` only sees commands and answers. Events are taken out before, because it gives up the
/// connection at an event that it does not know, and a newer QEMU has some.
pub(crate) struct Qmp {
    service: QapiService<QmpStreamTokio<WriteHalf<DuplexStream>>>,
    pumps: JoinSet<()>,
}

impl std::fmt::Debug for Qmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Qmp").field("pumps", &self.pumps).finish_non_exhaustive()
    }
}

impl Qmp {
    /// Negotiates; every line of both directions goes to `log`, every event to `events`.
    pub(crate) async fn open(
        stream: UnixStream,
        log: File,
        events: UnboundedSender<Value>,
    ) -> io::Result<Self> {
        let (from_qemu, to_qemu) = stream.into_split();
        let (near, far) = tokio::io::duplex(PIPE_LEN);
        let (from_us, to_us) = tokio::io::split(near);
        let log = Log(Arc::new(Mutex::new(log)));
        let mut pumps = JoinSet::new();
        pumps.spawn(pump(from_qemu, to_us, log.clone(), Some(events)));
        pumps.spawn(pump(from_us, to_qemu, log, None));
        let stream = QmpStreamTokio::open(far).await?.negotiate().await?;
        let (service, answers) = stream.into_parts();
        pumps.spawn(answers.into_future());
        Ok(Self { service, pumps })
    }

    /// Executes a command.
    pub(crate) async fn execute<C: QmpCommand>(
        &self,
        command: C,
    ) -> Result<C::Ok, qapi::ExecuteError> {
        self.service.execute(command).await
    }
}

/// Passes lines on until one side closes; events are diverted on the way.
async fn pump(
    from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    log: Log,
    events: Option<UnboundedSender<Value>>,
) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.line(&line);
        let event = events.as_ref().and_then(|events| Some((events, event(&line)?)));
        match event {
            // Nobody listens any more: the guest is being dropped.
            Some((events, event)) => drop(events.send(event)),
            None if to.write_all(format!("{line}\n").as_bytes()).await.is_err() => return,
            None => {}
        }
    }
    // Otherwise a caller would wait forever for the answer of a QEMU that was killed.
    drop(to.shutdown().await);
}

fn event(line: &str) -> Option<Value> {
    serde_json::from_str(line).ok().filter(|message: &Value| message.get("event").is_some())
}

#[derive(Clone, Debug)]
struct Log(Arc<Mutex<File>>);

impl Log {
    fn line(&self, line: &str) {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk costs evidence, but does not end the run.
        drop(writeln!(file, "{line}"));
    }
}

/// The command `query-blockstats`; we read what every version of QEMU answers.
#[derive(Debug, Serialize)]
pub(crate) struct QueryBlockstats {}

/// Counters of one disk.
#[derive(Debug, Deserialize)]
pub(crate) struct BlockStats {
    #[serde(rename = "node-name")]
    pub(crate) node_name: Option<String>,
    pub(crate) stats: Counters,
}

/// Bytes since the machine was made.
#[derive(Debug, Deserialize)]
pub(crate) struct Counters {
    pub(crate) rd_bytes: u64,
    pub(crate) wr_bytes: u64,
}

impl QmpCommand for QueryBlockstats {}

impl qapi::Command for QueryBlockstats {
    type Ok = Vec<BlockStats>;
    const NAME: &'static str = "query-blockstats";
    const ALLOW_OOB: bool = false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_with_an_event_are_events() {
        for (line, want) in [
            (r#"{"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}}"#, true),
            (r#"{"event": "NOT_YET_INVENTED", "data": 7}"#, true),
            (r#"{"return": {"event": "STOP"}, "id": 1}"#, false),
            (r#"{"QMP": {"version": {}, "capabilities": []}}"#, false),
            ("no JSON", false),
        ] {
            assert_eq!(event(line).is_some(), want, "{line}");
        }
    }

    #[test]
    fn counters_of_any_version_are_read() {
        let answer = r#"[{"device": "", "node-name": "system", "qdev": "x", "stats":
            {"rd_bytes": 512, "wr_bytes": 0, "not_yet_invented": []}}]"#;
        let stats: Vec<BlockStats> = serde_json::from_str(answer).expect("an answer");
        assert_eq!(stats[0].node_name.as_deref(), Some("system"));
        assert_eq!((stats[0].stats.rd_bytes, stats[0].stats.wr_bytes), (512, 0));
    }
}
