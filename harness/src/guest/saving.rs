//! Saves the state of a machine to a file, from which another one can continue.

use std::path::Path;
use std::time::Duration;

use qapi::qmp::{MigrationCapability, MigrationCapabilityStatus};

use super::{Event, Guest, GuestError, Observation, Waited, What};
use crate::budget::Budget;
use crate::machine::args::{reader, writer};

/// How long a stream may take; it takes seconds, unless the host's disk hangs.
const PATIENCE: Duration = Duration::from_mins(2);
/// A limit in bytes per second that no file could reach; QEMU's own is meant for networks.
const BANDWIDTH: u64 = 100 << 30;

impl Guest {
    /// Stops the machine, and writes its state to `state`; it stays stopped afterwards.
    ///
    /// By then its disks are written out, and can be copied until it continues.
    pub async fn save(&mut self, state: &Path) -> Result<(), GuestError> {
        self.qmp.execute(qapi::qmp::stop {}).await.map_err(GuestError::qmp("stop the machine"))?;
        self.tell_migration().await?;
        let parameters: qapi::qmp::MigrateSetParameters =
            serde_json::from_value(serde_json::json!({ "max-bandwidth": BANDWIDTH })).map_err(
                |error| GuestError::Qmp { command: "set the bandwidth", reason: error.to_string() },
            )?;
        let set = qapi::qmp::migrate_set_parameters(parameters);
        self.qmp.execute(set).await.map_err(GuestError::qmp("set the bandwidth"))?;
        let migrate: qapi::qmp::migrate =
            serde_json::from_value(serde_json::json!({ "uri": writer(state) })).map_err(
                |error| GuestError::Qmp { command: "save the machine", reason: error.to_string() },
            )?;
        self.qmp.execute(migrate).await.map_err(GuestError::qmp("save the machine"))?;
        self.migrated("save the machine").await
    }

    /// Reads the state that [`Guest::save`] wrote into a machine that was made for it.
    pub(super) async fn restore(&mut self, state: &Path) -> Result<(), GuestError> {
        self.tell_migration().await?;
        let incoming = qapi::qmp::migrate_incoming {
            uri: Some(reader(state)),
            channels: None,
            exit_on_error: None,
        };
        self.qmp.execute(incoming).await.map_err(GuestError::qmp("restore the machine"))?;
        self.migrated("restore the machine").await
    }

    /// Requests events of a migration, which QEMU does not send unasked.
    async fn tell_migration(&self) -> Result<(), GuestError> {
        let capability =
            MigrationCapabilityStatus { capability: MigrationCapability::events, state: true };
        let command = qapi::qmp::migrate_set_capabilities { capabilities: vec![capability] };
        self.qmp.execute(command).await.map_err(GuestError::qmp("tell of the migration"))?;
        Ok(())
    }

    async fn migrated(&mut self, command: &'static str) -> Result<(), GuestError> {
        let ended = |seen: &Observation| match &seen.what {
            What::Event(Event::Migration { status }) => match status.as_str() {
                "completed" => Some(Ok(())),
                "failed" | "cancelled" => Some(Err(status.clone())),
                _ => None,
            },
            _ => None,
        };
        let reason = match self.wait(Budget::new("the state", PATIENCE, PATIENCE), ended).await {
            Waited::Met(Ok(())) => return Ok(()),
            Waited::Met(Err(status)) => status,
            Waited::GaveUp(gave_up) => gave_up.to_string(),
            Waited::Ended(ended) => ended.stderr,
        };
        Err(GuestError::Qmp { command, reason })
    }
}
