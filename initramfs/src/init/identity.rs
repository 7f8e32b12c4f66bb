//! Gives the deploy environment the names of the running system, so that people and logs tell
//! one machine from another.

use std::fs;
use std::path::Path;

use super::report::Report;
use crate::deploy::Deploy;

/// Where machine-id(5) has it.
const MACHINE_ID: &str = "/etc/machine-id";

/// Sets host name and machine-id. A machine without names can be deployed all the same.
pub(super) fn take(report: &mut Report, deploy: &Deploy) {
    let hostname = &deploy.hostname;
    match nix::unistd::sethostname(hostname) {
        Ok(()) => report.line(&format!("this is the machine {hostname}")),
        Err(errno) => report.line(&format!("the host name {hostname} cannot be set: {errno}")),
    }
    let Some(id) = &deploy.machine_id else { return };
    if let Err(error) = write_machine_id(Path::new(MACHINE_ID), id) {
        report.line(&format!("{MACHINE_ID} cannot be written: {error}"));
    }
}

/// Writes a file of its own, where the base has a link to somewhere else too.
fn write_machine_id(path: &Path, id: &str) -> std::io::Result<()> {
    // Where there is none, there is nothing in the way; anything else, the writing tells.
    let _none_is_fine = fs::remove_file(path);
    fs::write(path, format!("{id}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_with_an_identity_or_a_link_for_one_gets_that_of_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("machine-id");
        for what in ["nothing", "a file", "a link to nowhere"] {
            match what {
                "a file" => fs::write(&path, "uninitialized\n").unwrap(),
                "a link to nowhere" => {
                    fs::remove_file(&path).unwrap();
                    std::os::unix::fs::symlink("/nowhere/machine-id", &path).unwrap();
                }
                _ => {}
            }
            write_machine_id(&path, "5f2c").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "5f2c\n", "{what}");
        }
    }
}
