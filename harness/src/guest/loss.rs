//! Loses packets on their way to a guest, by passing them through our process.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::{Guest, GuestError};
use crate::file::FileError;

/// One in this many packets is lost.
const ONE_OF: u64 = 100;
/// The filter that takes packets out of QEMU and puts them back.
const FILTER: &str = "loss";

/// `chardev-add` and `object-add`, whose answers say nothing.
#[derive(Debug, Serialize)]
struct AddChardev {
    id: &'static str,
    backend: Value,
}

#[derive(Debug, Serialize)]
struct AddObject(BTreeMap<&'static str, &'static str>);

impl qapi::qmp::QmpCommand for AddChardev {}

impl qapi::Command for AddChardev {
    type Ok = Value;
    const NAME: &'static str = "chardev-add";
    const ALLOW_OOB: bool = false;
}

impl qapi::qmp::QmpCommand for AddObject {}

impl qapi::Command for AddObject {
    type Ok = Value;
    const NAME: &'static str = "object-add";
    const ALLOW_OOB: bool = false;
}

impl Guest {
    /// Loses packets to the guest from now on.
    pub(super) async fn lose_packets(&mut self) -> Result<(), GuestError> {
        let out = self.wire("loss-out").await?;
        let back = self.wire("loss-in").await?;
        self.tasks.spawn(async {
            // It ends with QEMU.
            drop(pass(out, back).await);
        });
        let filter = BTreeMap::from([
            ("qom-type", "filter-redirector"),
            ("id", FILTER),
            ("netdev", "net"),
            ("queue", "tx"),
            ("outdev", "loss-out"),
            ("indev", "loss-in"),
        ]);
        self.ask("lose packets", AddObject(filter)).await
    }

    /// Makes QEMU connect to us by a character device.
    async fn wire(&mut self, id: &'static str) -> Result<UnixStream, GuestError> {
        let path = self.run.path().join(id);
        let listener = UnixListener::bind(&path).map_err(FileError::at("listening on", &path))?;
        let address = json!({ "type": "unix", "data": { "path": path } });
        let backend = json!({ "type": "socket", "data": { "addr": address, "server": false } });
        self.ask("add a wire", AddChardev { id, backend }).await?;
        let (stream, _) = listener.accept().await.map_err(FileError::at("accepting on", &path))?;
        Ok(stream)
    }
}

/// Passes packets on, each after its length (32 bits, big endian), without some of them.
async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
) -> io::Result<()> {
    for number in 1_u64.. {
        let len = from.read_u32().await?;
        let mut packet = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        from.read_exact(&mut packet).await?;
        if number.is_multiple_of(ONE_OF) {
            continue;
        }
        to.write_u32(len).await?;
        to.write_all(&packet).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_packet_of_a_hundred_is_lost() {
        let packets: Vec<u8> = (1..=120).flat_map(|number| [0, 0, 0, 1, number]).collect();
        let mut passed = Vec::new();
        let end = pass(packets.as_slice(), &mut passed).await.unwrap_err();
        assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        let numbers: Vec<u8> = passed.chunks(5).map(|packet| packet[4]).collect();
        assert_eq!(numbers, (1..=120).filter(|&number| number != 100).collect::<Vec<u8>>());
    }
}
