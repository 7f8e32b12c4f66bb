//! Converts values from and to the words that stand for them in files.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::toml_mistake;

/// Returns the word that stands for a value in files.
pub(super) fn name<T: Serialize>(value: T) -> String {
    toml::Value::try_from(value)
        .map_or_else(|_| String::new(), |name| name.as_str().unwrap_or_default().to_owned())
}

/// Parses a word that stands for a value in files.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value = toml::Value::from(text);
    value.try_into().map_err(|error: toml::de::Error| toml_mistake::in_word(&error))
}

#[cfg(test)]
mod tests {
    use harness::machine::setup::Bus;

    use super::*;

    #[test]
    fn names_of_buses_are_read_and_written_alike() {
        for text in ["virtio-blk", "virtio-scsi", "nvme", "sata"] {
            assert_eq!(word::<Bus>(text).map(name).as_deref(), Ok(text));
        }
        assert!(word::<Bus>("ide").unwrap_err().contains("unknown variant `ide`"));
    }
}
