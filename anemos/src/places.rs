//! Paths of our files on the running system.

/// What a deployment stages here; closed to everybody but root, as the final initramfs has keys.
pub(crate) const STAGED: &str = "/var/lib/anemos/staged";
/// Exists as long as something outside that folder is changed.
pub(crate) const UNDO_LOG: &str = "/var/lib/anemos/staged/undo.json";
/// Locked by the process that stages something or undoes it; the lock ends with the process.
pub(crate) const LOCK: &str = "/run/anemos.lock";
/// The report of the last attempt; only root can read it, because a log may contain secrets.
pub(crate) const LAST_ATTEMPT: &str = "/var/lib/anemos/last-attempt";
/// The report of the attempt before, until this one has ended.
pub(crate) const PREVIOUS_ATTEMPT: &str = "/var/lib/anemos/last-attempt.previous";
