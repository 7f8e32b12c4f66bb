//! The parts of a network that cannot be recreated elsewhere.

use std::fmt;

use contract::network::capture::LOST_DEFAULT;
use serde::{Deserialize, Serialize};

/// A part of a network that cannot be recreated elsewhere.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(from = "String", into = "String")]
pub(crate) enum NotCaptured {
    /// The default route over this link: a way out of the machine.
    DefaultRoute { over: String },
    /// Anything else, such as a tunnel, as a description.
    Other(String),
}

impl From<String> for NotCaptured {
    fn from(text: String) -> Self {
        match text.strip_prefix(LOST_DEFAULT) {
            Some(over) => Self::DefaultRoute { over: over.to_owned() },
            None => Self::Other(text),
        }
    }
}

impl From<NotCaptured> for String {
    fn from(what: NotCaptured) -> Self {
        what.to_string()
    }
}

impl fmt::Display for NotCaptured {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultRoute { over } => write!(formatter, "{LOST_DEFAULT}{over}"),
            Self::Other(text) => formatter.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_keep_the_words_and_tell_a_default_route_by_them() {
        let route = NotCaptured::DefaultRoute { over: "team0".to_owned() };
        let link = NotCaptured::Other("link wg0".to_owned());
        for (text, want) in [("the default route over team0", route), ("link wg0", link)] {
            let read: NotCaptured = serde_json::from_value(text.into()).unwrap();
            assert_eq!(read, want, "{text}");
            assert_eq!(serde_json::to_value(read).unwrap(), text);
        }
    }
}
