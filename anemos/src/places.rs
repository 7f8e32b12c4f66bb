//! Files of ours on the running system.

/// What a deployment keeps here; closed to everybody but root, as the final initramfs holds keys.
pub(crate) const STAGED: &str = "/var/lib/anemos/staged";
/// There as long as something outside of the folder is changed.
pub(crate) const UNDO_LOG: &str = "/var/lib/anemos/staged/undo.json";
/// Held by who stages something or takes it back; it ends with the process.
pub(crate) const LOCK: &str = "/run/anemos.lock";
/// The report of the last attempt. Readable for root alone: a log may tell more than it should.
pub(crate) const LAST_ATTEMPT: &str = "/var/lib/anemos/last-attempt";
/// The one of the attempt before, until this one has ended.
pub(crate) const PREVIOUS_ATTEMPT: &str = "/var/lib/anemos/last-attempt.previous";
