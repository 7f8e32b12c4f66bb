//! The manifest and the canary, which show PID 1 whether the initramfs is complete.
//!
//! A kernel that cannot unpack all of an initramfs says so and continues to boot with what it has.
//! The manifest, our first member, lists the others with their sizes; the canary, our last, repeats
//! the digest of the manifest.

use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use contract::paths;

/// Our members between manifest and canary.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// In archive order.
    pub members: Vec<Member>,
}

/// A regular file of the appended archive.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Path from the root, without a leading slash.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

/// Why an initramfs cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The manifest is missing or not valid.
    #[error("reading {}", paths::MANIFEST)]
    Manifest(#[source] io::Error),
    /// A member is missing.
    #[error("member {name} is missing: the initramfs was not unpacked completely")]
    Missing {
        /// The member.
        name: String,
    },
    /// A member has another size.
    #[error("member {name} has {seen} bytes instead of {wanted}")]
    Size {
        /// The member.
        name: String,
        /// Its size here.
        seen: u64,
        /// Its size in the manifest.
        wanted: u64,
    },
    /// The canary does not belong to the manifest.
    #[error("the canary does not match the manifest")]
    Canary,
}

impl Manifest {
    /// Returns the bytes of the manifest member.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns the bytes of the canary that belongs to a manifest with these bytes.
    pub fn canary(bytes: &[u8]) -> String {
        format!("{:x}\n", Sha256::digest(bytes))
    }

    /// Checks what was unpacked below `root`, starting with the canary.
    pub fn check(root: &Path) -> Result<Self, Damage> {
        let bytes = fs::read(root.join(paths::MANIFEST)).map_err(Damage::Manifest)?;
        let manifest: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Damage::Manifest(io::Error::from(error)))?;
        for Member { name, size: wanted } in &manifest.members {
            match fs::symlink_metadata(root.join(name)) {
                Ok(metadata) if metadata.len() == *wanted => {}
                Ok(metadata) => {
                    let (name, seen) = (name.clone(), metadata.len());
                    return Err(Damage::Size { name, seen, wanted: *wanted });
                }
                Err(_) => return Err(Damage::Missing { name: name.clone() }),
            }
        }
        match fs::read_to_string(root.join(paths::CANARY)) {
            Ok(canary) if canary == Self::canary(&bytes) => Ok(manifest),
            Ok(_) => Err(Damage::Canary),
            Err(_) => Err(Damage::Missing { name: paths::CANARY.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(change: impl Fn(&Path)) -> String {
        let root = tempfile::tempdir().unwrap();
        let manifest =
            Manifest { members: vec![Member { name: "anemos/payload".into(), size: 3 }] };
        let bytes = manifest.to_bytes();
        fs::create_dir(root.path().join("anemos")).unwrap();
        fs::write(root.path().join("anemos/payload"), b"abc").unwrap();
        fs::write(root.path().join(paths::CANARY), Manifest::canary(&bytes)).unwrap();
        fs::write(root.path().join(paths::MANIFEST), bytes).unwrap();
        change(root.path());
        Manifest::check(root.path()).map_or_else(|damage| damage.to_string(), |_| "whole".into())
    }

    #[test]
    fn damage_is_named_by_its_member() {
        let remove =
            |name: &'static str| move |root: &Path| fs::remove_file(root.join(name)).unwrap();
        let write = |name: &'static str, bytes: &'static [u8]| {
            move |root: &Path| fs::write(root.join(name), bytes).unwrap()
        };
        for (case, seen, want) in [
            ("nothing", unpacked(|_| {}), "whole"),
            (
                "payload gone",
                unpacked(remove("anemos/payload")),
                "member anemos/payload is missing: the initramfs was not unpacked completely",
            ),
            (
                "payload cut",
                unpacked(write("anemos/payload", b"ab")),
                "member anemos/payload has 2 bytes instead of 3",
            ),
            ("manifest gone", unpacked(remove(paths::MANIFEST)), "reading anemos/manifest.json"),
            (
                "manifest cut",
                unpacked(write(paths::MANIFEST, b"{")),
                "reading anemos/manifest.json",
            ),
            (
                "canary gone",
                unpacked(remove(paths::CANARY)),
                "member anemos/canary is missing: the initramfs was not unpacked completely",
            ),
            (
                "canary of another manifest",
                unpacked(write(paths::CANARY, b"0\n")),
                "the canary does not match the manifest",
            ),
        ] {
            assert_eq!(seen, want, "{case}");
        }
    }
}
