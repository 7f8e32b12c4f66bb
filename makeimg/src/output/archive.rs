//! Makes an archive of the root folder.

use std::path::Path;

use super::times::clamp;
use crate::command::Command;
use crate::error::Problem;
use crate::step::Watch;
use crate::tools;

/// The file name extensions by which GNU tar chooses a compression, with the programs it calls.
const KNOWN: &[(&str, &str)] = &[
    ("gz", "gzip"),
    ("bz2", "bzip2"),
    ("xz", "xz"),
    ("zst", "zstd"),
    ("lz", "lzip"),
    ("lzma", "xz"),
    ("lzo", "lzop"),
    ("Z", "compress"),
];

/// Refuses a compression that tar(1) does not know, because tar would silently not compress.
pub(super) fn check(compression: &str) -> Result<(), Problem> {
    tools::require("tar", "format tar")?;
    let known = KNOWN.iter().find(|(suffix, _)| *suffix == compression);
    let Some((_, program)) = known else {
        let suffixes: Vec<&str> = KNOWN.iter().map(|(suffix, _)| *suffix).collect();
        let reason = format!("format tar: {compression:?} is not a compression that tar(1) knows");
        return Err(Problem::refused(reason, format!("take one of {}", suffixes.join(", "))));
    };
    tools::require(program, "this compression").map(drop)
}

/// Writes the archive: sorted, with numeric owners, times no later than `epoch`.
pub(super) fn make(
    root: &Path,
    result: &Path,
    compression: &str,
    epoch: Option<i64>,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    clamp(root, epoch)?;
    let program = KNOWN.iter().find(|(suffix, _)| *suffix == compression);
    let program = program.map_or("gzip", |(_, program)| program);
    let program = if compression == "lzma" { "xz --format=lzma" } else { program };
    let command = Command::new("tar").arg("--create").arg("--file").arg(result);
    let command =
        command.arg("--directory").arg(root).arg(format!("--use-compress-program={program}"));
    command
        .args(["--sort=name", "--numeric-owner", "--format=posix", "--one-file-system"])
        .args(["--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime"])
        .args(["--xattrs", "--xattrs-include=security.capability", "."])
        .run(watch)?;
    Ok(())
}
