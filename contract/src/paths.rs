//! Places inside the deploy environment, known to both the generator and PID 1.

/// PID 1.
pub const INIT: &str = "init";
/// Everything of ours; a base initramfs must not use this folder.
pub const FOLDER: &str = "anemos";
/// Names, sizes and digests of our members; the first member of the appended archive.
pub const MANIFEST: &str = "anemos/manifest.json";
/// The deploy description.
pub const DEPLOY: &str = "anemos/deploy.json";
/// The payload, still packed.
pub const PAYLOAD: &str = "anemos/payload";
/// Public keys that may log in, one per line.
pub const AUTHORIZED_KEYS: &str = "anemos/authorized_keys";
/// SSH host keys of the running system.
pub const HOST_KEYS: &str = "anemos/host-keys";
/// Where a rescue looks for an SSH server: programs of the base.
pub const SSH_SERVERS: [&str; 3] = ["/usr/sbin/sshd", "/usr/bin/sshd", "/usr/local/sbin/sshd"];
/// The last member: a half-unpacked initramfs never has it.
pub const CANARY: &str = "anemos/canary";

/// Where the payload is unpacked to, and the working directory of `deploy`.
pub const WORK: &str = "/anemos/work";
/// The empty folder on which `deploy` mounts the new root.
pub const NEW_ROOT: &str = "/anemos/root";
/// Network files for the new system.
pub const NETWORK: &str = "/anemos/network";
/// What makeimg has fetched for its check, kept until it installs.
pub const MAKEIMG_CACHE: &str = "/anemos/makeimg";
/// The log, as people read it.
pub const LOG: &str = "/anemos/log";
/// The same as one JSON object per line.
pub const EVENTS: &str = "/anemos/events.jsonl";
/// The result of the deployment, for `anemos status`.
pub const STATE: &str = "/anemos/state.json";
/// Creating this file in a rescue requests another run of the payload.
pub const RETRY: &str = "/anemos/retry";
