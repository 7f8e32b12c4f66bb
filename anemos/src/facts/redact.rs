//! Redacts facts for others to see, by replacing names, addresses and identities.
//!
//! Relations are kept: equal values stay equal, and addresses stay in the same prefixes together.
//! Each run draws another key, so nothing can be looked up in the output of another run.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use contract::payload::hexadecimal;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Bits at the beginning of an address that are kept: they show what kind of address it is.
const KEPT_BITS: [usize; 2] = [8, 16];
/// Bytes of a MAC address that are kept: they show who made the card.
const KEPT_BYTES: usize = 3;
/// Keys of texts that identify a machine or a disk.
const IDENTITIES: [&str; 11] = [
    "hostname",
    "machine-id",
    "serial",
    "wwn",
    "table-id",
    "ends",
    "guid",
    "label",
    "comment",
    "model",
    "search",
];

/// How the unique identifier of a disk begins (`/sys/block/*/device/wwid`).
const NAMING_KINDS: [&str; 3] = ["naa.", "eui.", "t10."];
/// Kernel parameters without a value that identify nobody.
const FLAGS: [&str; 8] =
    ["ro", "rw", "quiet", "splash", "nosplash", "nomodeset", "debug", "single"];
/// Prefix of a card's name that contains its MAC address (systemd.net-naming-scheme(7)).
const NAMED_BY_MAC: &str = "enx";

/// Replaces values by others.
pub(crate) struct Redaction {
    key: [u8; 32],
    /// Identities, also if they are a part of something else, such as a name in `by-id`.
    known: BTreeMap<String, String>,
}

impl Redaction {
    /// Derives values from a key of 32 bytes.
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self { key, known: BTreeMap::new() }
    }

    /// Redacts facts, or any part of them.
    pub(crate) fn redact(mut self, mut facts: Value) -> Value {
        self.collect(&facts, false);
        self.walk(&mut facts);
        facts
    }

    /// Finds the identities, also in a list below such a key.
    fn collect(&mut self, value: &Value, identity: bool) {
        match value {
            Value::String(text) if identity && !text.is_empty() => {
                let other = self.name(text);
                self.known.insert(text.clone(), other.clone());
                // udev names disks like this, without the prefix that sysfs has.
                for kind in NAMING_KINDS {
                    if let (Some(bare), Some(other)) =
                        (text.strip_prefix(kind), other.get(kind.len()..))
                    {
                        self.known.insert(bare.to_owned(), other.to_owned());
                    }
                }
                // The device mapper names volumes like this.
                self.known.insert(text.replace('-', "--"), other.replace('-', "--"));
            }
            Value::Array(values) => values.iter().for_each(|value| self.collect(value, identity)),
            Value::Object(map) => {
                for (key, value) in map {
                    self.collect(value, IDENTITIES.contains(&key.as_str()));
                }
            }
            _ => {}
        }
    }

    fn walk(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.walk(value)),
            Value::Object(map) => {
                let prefix = map.get("prefix").and_then(Value::as_u64);
                for (key, value) in map {
                    match value {
                        Value::String(text) if prefix.is_some() && is_network(text, prefix) => {
                            let other = text.parse().map(|it| first(self.address(it), prefix));
                            *text = other.map_or_else(|_| self.text(text), |it| it.to_string());
                        }
                        // Its parameters may contain addresses and identities of any form.
                        Value::String(text) if key == "command-line" => *text = parameters(text),
                        value => self.walk(value),
                    }
                }
            }
            _ => {}
        }
    }

    fn text(&self, text: &str) -> String {
        if let Some(other) = self.whole(text) {
            return other;
        }
        // Replace the longest first, because one may be a part of another.
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        let text = known.into_iter().fold(text.to_owned(), |text, (name, other)| {
            if name.len() >= 6 {
                text.replace(name, other)
            } else {
                replace_word(&text, name, other)
            }
        });
        // Addresses and names of cards in sentences.
        let words = text.split_inclusive([' ', '/']).map(|part| {
            let word = part.trim_end_matches([' ', '/']);
            let rest = part.get(word.len()..).unwrap_or_default();
            self.whole(word).map_or_else(|| part.to_owned(), |other| other + rest)
        });
        words.collect()
    }

    /// Returns what replaces a whole address, name or identity.
    fn whole(&self, text: &str) -> Option<String> {
        if let Ok(address) = text.parse() {
            return Some(self.address(address).to_string());
        }
        let by_mac = || {
            let (digits, number) = text.strip_prefix(NAMED_BY_MAC)?.split_at_checked(12)?;
            let pairs: Vec<_> = (0..6).filter_map(|at| digits.get(2 * at..2 * at + 2)).collect();
            let mac = self.mac(&pairs.join(":"))?.replace(':', "");
            Some(format!("{NAMED_BY_MAC}{mac}{number}"))
        };
        self.mac(text).or_else(by_mac).or_else(|| self.known.get(text).cloned())
    }

    fn digest(&self, what: &str, bytes: &[u8]) -> [u8; 32] {
        let digest = Sha256::new().chain_update(self.key).chain_update(what).chain_update(bytes);
        digest.finalize().into()
    }

    /// Replaces each character but separators by a digit, so that values with a form keep it.
    fn name(&self, text: &str) -> String {
        let digest = self.digest("name", text.as_bytes());
        let digits = hexadecimal(&digest);
        let mut digits = digits.chars().cycle();
        let form = |old: char| match old {
            '-' | '.' | ':' => old,
            _ => digits.next().unwrap_or('0'),
        };
        text.chars().map(form).collect()
    }

    fn mac(&self, text: &str) -> Option<String> {
        let bytes: Option<Vec<u8>> = text
            .split(':')
            .map(|byte| u8::from_str_radix(byte, 16).ok().filter(|_| byte.len() == 2))
            .collect();
        let mut bytes = bytes.filter(|bytes| bytes.len() == 6)?;
        let digest = self.digest("mac", &bytes);
        for (byte, other) in bytes.iter_mut().zip(digest).skip(KEPT_BYTES) {
            *byte = other;
        }
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":"))
    }

    fn address(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(four) if four.is_unspecified() || four.is_loopback() => address,
            IpAddr::V4(four) => Ipv4Addr::from(self.bits(four.octets(), KEPT_BITS[0])).into(),
            IpAddr::V6(six) if six.is_unspecified() || six.is_loopback() => address,
            // It is that of a router; longer ones contain a MAC address.
            IpAddr::V6(six) if six.is_unicast_link_local() && six.octets()[8] == 0 => address,
            IpAddr::V6(six) => Ipv6Addr::from(self.bits(six.octets(), KEPT_BITS[1])).into(),
        }
    }

    /// Replaces bits so that prefixes are kept.
    ///
    /// Whether a bit is flipped depends only on the bits before it (Xu and others,
    /// "Prefix-Preserving IP Address Anonymization", 2002).
    fn bits<const N: usize>(&self, old: [u8; N], kept: usize) -> [u8; N] {
        let mut new = old;
        for bit in kept..N * 8 {
            let mut before = old;
            before[bit / 8] &= !(0xff >> (bit % 8));
            before[bit / 8 + 1..].fill(0);
            let number = u8::try_from(bit).unwrap_or(u8::MAX);
            let turned = self.digest("address", &[&[number], &before[..]].concat())[0] & 1;
            new[bit / 8] ^= turned << (7 - bit % 8);
        }
        new
    }
}

/// Returns whether a text is the first address of a prefix, and not an address in it.
fn is_network(text: &str, prefix: Option<u64>) -> bool {
    let whole = |address: &IpAddr| if address.is_ipv4() { 32 } else { 128 };
    let parsed: Option<IpAddr> = text.parse().ok();
    parsed.is_some_and(|it| prefix < Some(whole(&it)) && first(it, prefix) == it)
}

/// Returns the first address of a prefix.
fn first(address: IpAddr, prefix: Option<u64>) -> IpAddr {
    let length = prefix.and_then(|it| u32::try_from(it).ok()).unwrap_or(u32::MAX);
    match address {
        IpAddr::V4(four) => {
            let host = u32::MAX.checked_shr(length).unwrap_or_default();
            Ipv4Addr::from_bits(four.to_bits() & !host).into()
        }
        IpAddr::V6(six) => {
            let host = u128::MAX.checked_shr(length).unwrap_or_default();
            Ipv6Addr::from_bits(six.to_bits() & !host).into()
        }
    }
}

/// Replaces a short name only if it is a word of its own.
fn replace_word(text: &str, name: &str, other: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(name) {
        let (before, found) = rest.split_at(at);
        let after = found.get(name.len()..).unwrap_or_default();
        replaced += before;
        let joins = |one: Option<char>| one.is_some_and(char::is_alphanumeric);
        let part = joins(replaced.chars().last()) || joins(after.chars().next());
        replaced += if part { name } else { other };
        rest = after;
    }
    replaced + rest
}

/// Returns the parameters without their values, except for those that name consoles.
///
/// A parameter without a name may be the rest of a value, or be meant for the first program.
fn parameters(text: &str) -> String {
    let word = |word: &str| match word.split_once('=') {
        Some((name, _)) if !word.starts_with("console=") => format!("{name}=redacted"),
        None if !FLAGS.contains(&word) => "redacted".to_owned(),
        _ => word.to_owned(),
    };
    text.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;
    use serde_json::json;

    use super::*;

    fn common_bits(one: Ipv4Addr, two: Ipv4Addr) -> u32 {
        (one.to_bits() ^ two.to_bits()).leading_zeros()
    }

    proptest! {
        #[test]
        fn addresses_stay_as_near_to_each_other_as_they_were(one: u32, two: u32) {
            let redaction = Redaction::new([7; 32]);
            let other = |bits: u32| match redaction.address(Ipv4Addr::from_bits(bits).into()) {
                IpAddr::V4(four) => four,
                IpAddr::V6(_) => unreachable!("families stay"),
            };
            prop_assume!(one >> 24 != 127 && two >> 24 != 127 && one != 0 && two != 0);
            let was = common_bits(Ipv4Addr::from_bits(one), Ipv4Addr::from_bits(two));
            prop_assert_eq!(common_bits(other(one), other(two)), was);
        }
    }

    #[test]
    fn nothing_that_tells_who_it_is_stays() {
        let facts = json!({
            "hostname": "db1.example.org",
            "disks": [{ "identity": { "serial": "S4EVNX0N", "wwn": "naa.5000c500a1b2c3d4" },
                        "by-id": ["nvme-SAMSUNG_S4EVNX0N", "wwn-0x5000c500a1b2c3d4"] }],
            "volumes": [{ "name": "db1.example.org--vg-root" }],
            "kernel": { "command-line": "root=UUID=0a1b ro console=ttyS0,115200 token=geheim \
                        note=\"in zwei Worten\" -- allein" },
            "not-captured": ["every next hop but the first of the route to 198.51.0.0/16",
                             "link enx0a1122334455"],
            "network": {
                "links": [{ "name": "ens3", "mac": "52:54:00:12:34:56",
                            "addresses": [{ "address": "203.0.113.77", "prefix": 32 }] }],
                "routes": [{ "destination": "0.0.0.0", "prefix": 0, "gateway": "172.31.1.1" },
                           { "link": "enx0a1122334455.42", "destination": "10.99.0.0", "prefix": 16 },
                           { "destination": "::", "prefix": 0, "gateway": "fe80::1" }],
                "search": ["lan.example.org"],
            },
        });
        let redacted = Redaction::new([7; 32]).redact(facts).to_string();
        for secret in [
            "db1",
            "S4EVNX0N",
            "0a1b",
            "geheim",
            "12:34:56",
            "203.0.113",
            "172.31",
            "lan.example",
            "5000c500",
            "Worten",
            "allein",
            "198.51",
            "22334455",
            "10.99",
        ] {
            assert!(!redacted.contains(secret), "{secret} in {redacted}");
        }
        let network = Regex::new(r#""destination":"10\.\d+\.0\.0""#).unwrap();
        assert!(network.is_match(&redacted), "{redacted}");
        for kept in
            ["ens3", "enx0a1122", "/16", "52:54:00", "fe80::1", "0.0.0.0", "console=ttyS0,115200"]
        {
            assert!(redacted.contains(kept), "{kept} not in {redacted}");
        }
    }
}
