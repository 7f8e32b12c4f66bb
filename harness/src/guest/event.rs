//! Reads the events of QEMU.

use serde_json::Value;

use super::Event;

impl Event {
    /// Reads one QMP message; one without a name is not an event.
    pub(crate) fn parse(message: &Value) -> Option<Self> {
        let name = message.get("event")?.as_str()?;
        let field = |key: &str| {
            let value = message.get("data").and_then(|data| data.get(key));
            value.and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        Some(match name {
            "RESET" => Self::Reset,
            "SHUTDOWN" => Self::Shutdown { reason: field("reason") },
            "STOP" => Self::Stop,
            "RESUME" => Self::Resume,
            "WATCHDOG" => Self::Watchdog,
            "GUEST_PANICKED" => Self::GuestPanicked,
            "BLOCK_IO_ERROR" => {
                Self::BlockIoError { disk: field("node-name"), operation: field("operation") }
            }
            "MIGRATION" => Self::Migration { status: field("status") },
            other => Self::Other(other.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_with_what_explains_them() {
        let shutdown = |reason: &str| Event::Shutdown { reason: reason.to_owned() };
        for (message, want) in [
            (r#"{"event": "RESET", "data": {"guest": true}}"#, Some(Event::Reset)),
            (
                r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#,
                Some(shutdown("guest-reset")),
            ),
            (r#"{"event": "SHUTDOWN"}"#, Some(shutdown(""))),
            (r#"{"event": "STOP"}"#, Some(Event::Stop)),
            (r#"{"event": "RESUME"}"#, Some(Event::Resume)),
            (r#"{"event": "GUEST_PANICKED", "data": {}}"#, Some(Event::GuestPanicked)),
            (
                r#"{"event": "BLOCK_IO_ERROR", "data": {"device": "", "node-name": "system",
                    "operation": "write", "action": "report", "reason": "Input/output error"}}"#,
                Some(Event::BlockIoError {
                    disk: "system".to_owned(),
                    operation: "write".to_owned(),
                }),
            ),
            (
                r#"{"event": "MIGRATION", "data": {"status": "completed"}}"#,
                Some(Event::Migration { status: "completed".to_owned() }),
            ),
            (r#"{"event": "RTC_CHANGE"}"#, Some(Event::Other("RTC_CHANGE".to_owned()))),
            (r#"{"return": {}}"#, None),
        ] {
            let message: Value = serde_json::from_str(message).expect("JSON");
            assert_eq!(Event::parse(&message), want, "{message}");
        }
    }
}
