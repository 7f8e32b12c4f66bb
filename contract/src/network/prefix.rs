//! Ranges of addresses.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// A range of addresses.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prefix {
    /// Its first address.
    pub address: IpAddr,
    /// Its length in bits.
    pub prefix: u8,
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix)
    }
}

/// Returns whether an address lies in a prefix.
pub(super) fn covers(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let (one, two, width) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(two)) => (one.to_bits().into(), two.to_bits().into(), 32),
        (IpAddr::V6(one), IpAddr::V6(two)) => (one.to_bits(), two.to_bits(), 128),
        _ => return false,
    };
    let differing: u128 = one ^ two;
    let host_bits = u32::from(width - prefix.min(width));
    differing.checked_shr(host_bits).unwrap_or_default() == 0
}
