//! The unique IDs of a disk image and its parts.

use std::fs::File;
use std::io::Read;

use sha2::{Digest, Sha256};

use crate::error::{Problem, file};
use crate::project::Project;

/// The unique IDs of the image and its parts.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    /// The ID of the disk.
    pub(super) disk: String,
    /// The ID of the file system.
    pub(super) filesystem: String,
    /// The ID of the partition.
    pub(super) partition: String,
}

impl Identity {
    /// Returns the ID that a DOS partition table has for its disk.
    pub(super) fn disk_id(&self) -> &str {
        self.disk.get(..8).unwrap_or_default()
    }
}

/// Draws the IDs; with an `epoch`, they follow from that and the name of the image.
pub(super) fn draw(project: &Project, epoch: Option<i64>) -> Result<Identity, Problem> {
    let mut seed = vec![0; 32];
    match epoch {
        Some(epoch) => seed = format!("{} {epoch}", project.imgname).into_bytes(),
        None => File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut seed))
            .map_err(file("reading /dev/urandom"))?,
    }
    let uuid = |what: &str| {
        let digest = Sha256::new().chain_update(&seed).chain_update(what).finalize();
        let hex = format!("{digest:x}");
        // The digits that say: a random one, in the usual layout.
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
        let (version, variant) = (format!("4{}", part(12, 15)), format!("a{}", part(15, 18)));
        [part(0, 8), part(8, 12), &version, &variant, part(18, 30)].join("-")
    };
    Ok(Identity {
        disk: uuid("disk"),
        filesystem: uuid("filesystem"),
        partition: uuid("partition"),
    })
}
