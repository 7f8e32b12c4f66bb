//! Values of the configuration that are more than a word.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A file, on this machine or elsewhere.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub(crate) enum Location {
    Path(PathBuf),
    Url(String),
}

impl From<String> for Location {
    fn from(text: String) -> Self {
        if text.contains("://") { Self::Url(text) } else { Self::Path(text.into()) }
    }
}

impl Location {
    /// Returns the last part of its path.
    pub(crate) fn file_name(&self) -> String {
        match self {
            Self::Path(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            Self::Url(url) => {
                let shown = shown(url);
                let name = shown.trim_end_matches('/').rsplit('/').next();
                name.unwrap_or_default().to_owned()
            }
        }
    }
}

/// Renders a URL without secrets: user name and password before its host, and the query.
pub(crate) fn shown(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = plain.split_once("://").unwrap_or(("", plain));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    format!("{scheme}://{host}{path}")
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(formatter),
            Self::Url(url) => formatter.write_str(&shown(url)),
        }
    }
}

/// A SHA-256 in lower-case hexadecimal digits; written with the prefix `sha256:`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) struct Digest(String);

impl Digest {
    /// Returns the 64 digits.
    pub(crate) fn hex(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default().to_ascii_lowercase();
        if digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            Ok(Self(digits))
        } else {
            Err(format!("{text:?} is not a digest, expected \"sha256:\" and 64 hexadecimal digits"))
        }
    }
}

/// A public key of minisign: the second line of its file.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "String")]
pub(crate) struct PublicKey(pub(crate) minisign_verify::PublicKey);

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match minisign_verify::PublicKey::from_base64(&text) {
            Ok(key) => Ok(Self(key)),
            Err(_whatever) => Err(format!(
                "{text:?} is not a public key of minisign, the second line of its file"
            )),
        }
    }
}

/// The kernel of the deploy environment.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) enum KernelSource {
    /// The kernel that the running system was booted with.
    #[default]
    Running,
    File(PathBuf),
}

impl TryFrom<String> for KernelSource {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "running" => Ok(Self::Running),
            url if url.contains("://") => Err(format!(
                "{:?} is a URL, expected \"running\" or a path: kernels from elsewhere are \
                 not built in yet",
                shown(url)
            )),
            path => Ok(Self::File(path.into())),
        }
    }
}

/// The base initramfs.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub(crate) enum Base {
    /// Made from the running system's tools.
    #[default]
    BuiltIn,
    At(Location),
}

impl From<String> for Base {
    fn from(text: String) -> Self {
        if text == "built-in" { Self::BuiltIn } else { Self::At(text.into()) }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => formatter.write_str("built-in"),
            Self::At(location) => location.fmt(formatter),
        }
    }
}

/// Where authorised keys come from.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(from = "String")]
pub(crate) enum Keys {
    /// The keys that can log in to the running system as root.
    #[default]
    Inherit,
    None,
    File(PathBuf),
}

impl From<String> for Keys {
    fn from(text: String) -> Self {
        match text.as_str() {
            "inherit" => Self::Inherit,
            "none" => Self::None,
            path => Self::File(path.into()),
        }
    }
}

/// An address and the length of its prefix.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) struct Prefixed {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

impl TryFrom<String> for Prefixed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let (address, prefix) = (address.parse().ok()?, prefix.parse().ok()?);
            let longest = if matches!(address, IpAddr::V4(_)) { 32 } else { 128 };
            (prefix <= longest).then_some(Self { address, prefix })
        });
        parsed.ok_or_else(|| {
            format!("{text:?} is not an address with its prefix, expected e.g. \"192.0.2.10/24\"")
        })
    }
}

/// Which disk is overwritten.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Select {
    /// The disk below `/`.
    #[default]
    Root,
    By(Selector),
}

/// What a disk must have in order to match; kernel names (`sda`) do not count.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Selector {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) wwn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) table_id: Option<String>,
    /// Name of a link in `/dev/disk/by-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) by_id: Option<String>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.size.map(|size| size.to_string());
        let given = [
            ("serial", &self.serial),
            ("wwn", &self.wwn),
            ("table-id", &self.table_id),
            ("by-id", &self.by_id),
            ("size", &size),
        ];
        let given = given.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
        let given: Vec<_> = given.map(|(key, value)| format!("{key} {value}")).collect();
        formatter.write_str(&given.join(", "))
    }
}

impl<'de> Deserialize<'de> for Select {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SelectVisitor)
    }
}

struct SelectVisitor;

impl<'de> Visitor<'de> for SelectVisitor {
    type Value = Select;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("\"root\" or a table such as { serial = \"...\" }")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Select, E> {
        if text == "root" {
            return Ok(Select::Root);
        }
        Err(E::custom(format!(
            "{text:?} selects no disk, expected \"root\" or a table of serial, wwn, table-id, \
             by-id, size: kernel names such as sda may change from boot to boot"
        )))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Select, A::Error> {
        let selector = Selector::deserialize(MapAccessDeserializer::new(map))?;
        if selector == Selector::default() {
            return Err(serde::de::Error::custom(
                "the table selects no disk, expected a key in it",
            ));
        }
        Ok(Select::By(selector))
    }
}
