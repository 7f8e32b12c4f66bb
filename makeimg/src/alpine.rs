//! What Alpine systems need to boot, on machines and in disk images.

use std::path::Path;

use crate::error::{Problem, file};
use crate::project::{Project, Target};
use crate::root::Root;

/// Names of its kernel packages; other packages that begin like this are firmware, headers or PAM.
pub(crate) const KERNELS: &[&str] =
    &["linux-lts", "linux-virt", "linux-edge", "linux-stable", "linux-rpi"];

/// Returns the parameter that its initramfs needs to load the driver of the root file system.
pub(crate) fn root_parameter(target: &Target, filesystem: &str) -> Option<String> {
    (*target == Target::Alpine).then(|| format!("rootfstype={filesystem}"))
}

/// Refuses a root file system that its initramfs has no driver for.
pub(crate) fn check(target: &Target, filesystem: &str) -> Result<(), Problem> {
    if *target != Target::Alpine || filesystem.starts_with("ext") {
        return Ok(());
    }
    let reason = format!("the initramfs of Alpine does not mount {filesystem}");
    Err(Problem::refused(reason, "use ext4 in the format"))
}

/// Returns whether a kernel is to be installed, so that the system can boot.
pub(crate) fn has_kernel(project: &Project) -> bool {
    project.packages.iter().any(|package| KERNELS.contains(&package.as_str()))
}

/// Lets people log in at the serial console.
///
/// systemd does this by itself; the init of busybox needs a line for each terminal.
pub(crate) fn login_at(console: &str, root: &Root) -> Result<(), Problem> {
    let path = Path::new("etc/inittab");
    let own = root.read(path).map_err(file("reading /etc/inittab"))?;
    let Some(own) = own else { return Ok(()) };
    let Some(line) = getty(&String::from_utf8_lossy(&own), console) else { return Ok(()) };
    root.rewrite(path, &[&own[..], line.as_bytes()].concat()).map_err(file("writing /etc/inittab"))
}

/// Returns the line for a console such as `ttyS0,115200n8`, unless there is one or it is a screen.
fn getty(inittab: &str, console: &str) -> Option<String> {
    let (name, options) = console.split_once(',').unwrap_or((console, ""));
    let is_screen =
        name.strip_prefix("tty").is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    let has_line = inittab.lines().any(|line| line.split(':').next() == Some(name));
    if name.is_empty() || is_screen || has_line {
        return None;
    }
    let speed: String = options.chars().take_while(char::is_ascii_digit).collect();
    // Zero keeps whatever the kernel has set.
    let speed = if speed.is_empty() { "0" } else { &speed };
    Some(format!(
        "\n# The console of the machine\n{name}::respawn:/sbin/getty -L {speed} {name} vt100\n"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_console_gets_a_line_of_its_own() {
        for (inittab, console, want) in [
            (
                "tty1::respawn:/sbin/getty 38400 tty1\n",
                "ttyS0,115200n8",
                Some("-L 115200 ttyS0 vt100"),
            ),
            ("#ttyS0::respawn:/sbin/getty\n", "ttyS0", Some("-L 0 ttyS0 vt100")),
            ("ttyS0::respawn:/sbin/getty -L 9600 ttyS0\n", "ttyS0,115200", None),
            ("", "hvc0", Some("-L 0 hvc0 vt100")),
            ("", "tty0", None),
            ("", "", None),
        ] {
            let line = getty(inittab, console);
            assert_eq!(line.is_some(), want.is_some(), "{inittab} {console}");
            if let (Some(line), Some(want)) = (line, want) {
                assert!(line.ends_with(&format!("{want}\n")), "{line}");
            }
        }
    }
}
