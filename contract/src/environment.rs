//! The environment of `deploy` (a contract): names of its variables, and the `PATH` it starts with.

/// The prefix of all our variables; a payload cannot set such a variable.
pub const PREFIX: &str = "ANEMOS_";

/// Version of the `anemos` that prepared the deployment.
pub const VERSION: &str = "ANEMOS_VERSION";
/// Device of the selected disk, e.g. `/dev/nvme0n1`.
pub const DISK: &str = "ANEMOS_DISK";
/// Prefix of its partitions, e.g. `/dev/nvme0n1p`.
pub const DISK_PART: &str = "ANEMOS_DISK_PART";
/// Devices of the other disks that `deploy` may write to, separated by blanks.
pub const ALSO_WRITE: &str = "ANEMOS_ALSO_WRITE";
/// Platform firmware: a [`crate::firmware::Firmware::name`].
pub const FIRMWARE: &str = "ANEMOS_FIRMWARE";
/// Architecture of the machine, as in `uname -m`.
pub const ARCH: &str = "ANEMOS_ARCH";
/// Host name of the running system.
pub const HOSTNAME: &str = "ANEMOS_HOSTNAME";
/// Its machine-id(5); may be empty.
pub const MACHINE_ID: &str = "ANEMOS_MACHINE_ID";
/// Its serial console, e.g. `ttyS0,115200`; may be empty.
pub const CONSOLE: &str = "ANEMOS_CONSOLE";
/// An empty folder to mount the new root on.
pub const ROOT: &str = "ANEMOS_ROOT";
/// The folder with `network.json`, `resolv.conf` and configuration for each network manager.
pub const NETWORK: &str = "ANEMOS_NETWORK";
/// File with the public keys that may log in; may be empty.
pub const AUTHORIZED_KEYS: &str = "ANEMOS_AUTHORIZED_KEYS";
/// Folder with the SSH host keys of the running system; may be empty.
pub const HOST_KEYS: &str = "ANEMOS_HOST_KEYS";

/// The `PATH` of `deploy`, and of every program that runs in a new root.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
