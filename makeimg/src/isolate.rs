//! Runs a build where it can leave nothing behind, without the need to be root.
//!
//! The caller starts its own program once more by [`isolated`], in a mount and a PID namespace that
//! end with it, and for everybody but root in a user namespace, where the build is root.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;

use crate::command::{Command, CommandError};
use crate::error::{MakeError, Problem};
use crate::step::{Step, Watch};
use crate::{path, tools};

/// Keeps the program from being PID 1 of the namespace.
///
/// A program that is also an init would take itself for the init, and signals without a handler
/// would not end it.
const FIRST: &str = r#""$@"; exit $?"#;

/// Arguments of setpriv(1).
const DIE: [&str; 2] = ["--pdeathsig", "KILL"];
const ROOT: &[&str] = &["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
const USER: &[&str] = &["--user", "--map-root-user", "--map-auto"];

/// Runs `program` in namespaces of its own, on our input and output, to its end.
pub fn isolated(
    program: &Path,
    arguments: &[OsString],
    watch: &mut dyn Watch,
) -> Result<ExitStatus, MakeError> {
    let mut run = || {
        let namespaces = namespaces(watch)?;
        // If we are killed, nothing continues behind our back.
        let command = if dies_with_us(watch) {
            Command::new("setpriv").args(DIE).arg("unshare")
        } else {
            Command::new("unshare")
        };
        let command = command.args(&namespaces).args(["sh", "-c", FIRST, "sh"]);
        Ok(command.arg(program).args(arguments).attach()?)
    };
    run().map_err(|problem| MakeError { step: Step::Evaluate, problem })
}

/// Returns whether setpriv(1) can make the build die with us; that of busybox cannot.
fn dies_with_us(watch: &mut dyn Watch) -> bool {
    let there = path::find("setpriv").is_some();
    // Its message about an unknown option is of no use.
    let tried = || Command::new("sh").args(["-c", "exec setpriv \"$@\" true 2>/dev/null", "sh"]);
    there && tried().args(DIE).run(watch).is_ok()
}

/// Returns the namespaces that we need, after checking that we can get them.
fn namespaces(watch: &mut dyn Watch) -> Result<Vec<&'static str>, Problem> {
    tools::require("unshare", "every build")?;
    let root = nix::unistd::geteuid().is_root();
    let mut namespaces = Vec::new();
    if !root {
        tools::require("newuidmap", "a build by somebody who is not root")?;
        namespaces.extend(USER);
    }
    namespaces.extend(ROOT);
    match Command::new("unshare").args(&namespaces).arg("true").run(watch) {
        Ok(()) => Ok(namespaces),
        Err(CommandError::Status { tail, .. }) => {
            let reason = format!("no namespaces can be made for the build: {tail}");
            let hint = if root {
                "run it where mounting is allowed, not in a container that is not privileged"
            } else {
                "give this user subordinate IDs in /etc/subuid and /etc/subgid (usermod \
                 --add-subuids 100000-165535 --add-subgids 100000-165535 NAME), see that the \
                 kernel allows user namespaces, or be root"
            };
            Err(Problem::refused(reason, hint))
        }
        Err(error) => Err(error.into()),
    }
}

/// Returns whether we are in a user namespace, where root is not root of the machine.
pub(crate) fn in_user_namespace() -> bool {
    // Without procfs, nothing could be mounted either.
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
}
