//! Sets the resource limits that systemd sets for what it starts.

use nix::sys::resource::{Resource, setrlimit};

use super::report::Report;

/// Open files: the usual limit, and the limit up to which programs may raise it.
///
/// See systemd-system.conf(5), `DefaultLimitNOFILE=`. The kernel's own 4096 are too few for package
/// managers. All other limits are the kernel's, which systemd leaves alone too; no core is dumped.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// Sets the limits of PID 1, which all other processes inherit (getrlimit(2)).
pub(super) fn set(report: &mut Report) {
    let (soft, hard) = OPEN_FILES;
    if let Err(errno) = setrlimit(Resource::RLIMIT_NOFILE, soft, hard) {
        report.line(&format!("the limit of open files stays as it is: {errno}"));
    }
}
