//! The programs that every rehearsal needs, which are looked for before anything is started.

use std::env;
use std::path::PathBuf;

use harness::command;

use crate::report::Missing;

/// Each program, with the package of Debian that has it.
const NEEDED: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("qemu-img", "qemu-utils"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("setpriv", "util-linux"),
    ("sfdisk", "fdisk"),
    ("debugfs", "e2fsprogs"),
];

/// Names every program that this host lacks.
pub(super) fn check() -> Result<(), Missing> {
    let folders: Vec<_> = env::split_paths(&command::search_path()).collect();
    let lacks = |(program, _): &&(&'static str, &'static str)| {
        !folders.iter().any(|folder: &PathBuf| folder.join(program).is_file())
    };
    let lacking: Vec<_> = NEEDED.iter().filter(lacks).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = lacking.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Err(Missing {
        programs: lacking.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", "),
        hint: format!("on Debian: apt install {}", packages.join(" ")),
    })
}
