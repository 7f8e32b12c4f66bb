//! Makes a disk image of the root folder, with one partition and without a loop device.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use super::filesystem::{self, Filesystem};
use super::grub;
use super::identity::{self, Identity};
use super::times::clamp;
use crate::alpine;
use crate::boot_files;
use crate::command::Command;
use crate::error::{Problem, file};
use crate::format::{PartitionTable, Raw, Size};
use crate::fstab;
use crate::project::Project;
use crate::root::{self, Root};
use crate::step::Watch;
use crate::tools;

const SECTOR: u64 = 512;
/// Partitions begin at a multiple of this number of sectors: 1 MiB.
const ALIGNMENT: u64 = 2048;
/// The largest disk whose sectors a DOS partition table can number, with 32 bits.
const LARGEST_MSDOS: u64 = SECTOR << 32;
/// Sectors of the copy of a GPT at the end of the disk.
const GPT_END: u64 = 33;

/// Refuses what cannot be made here.
pub(super) fn check(project: &Project, raw: &Raw) -> Result<(), Problem> {
    if raw.table == PartitionTable::Msdos && raw.size.0 > LARGEST_MSDOS {
        let reason = format!("a partition table msdos has no numbers for {}", raw.size);
        return Err(Problem::refused(reason, "use gpt in the format"));
    }
    if alpine::has_kernel(project) {
        alpine::check(&project.target, &raw.filesystem)?;
    }
    tools::require("sfdisk", "format raw")?;
    filesystem::check(&raw.filesystem)
}

/// Writes the image.
pub(super) fn make(
    project: &Project,
    raw: &Raw,
    (folder, result): (&Path, &Path),
    epoch: Option<i64>,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let root = Root::open(folder).map_err(file("opening the root folder"))?;
    boot_files::check(project, &root, &[])?;
    let identity = identity::draw(project, epoch)?;
    let boot = grub::prepare(project, raw, &root, &identity, watch)?;
    if filesystem::has_uuid(&raw.filesystem) {
        let (uuid, kind) = (&identity.filesystem, &raw.filesystem);
        fstab::write(&root, &format!("UUID={uuid} / {kind} defaults 0 1\n"))?;
    }
    clamp(folder, epoch)?;
    let first = match (raw.table, &boot) {
        (PartitionTable::Gpt, Some(_)) => 2 * ALIGNMENT,
        _ => ALIGNMENT,
    };
    let end = match raw.table {
        PartitionTable::Msdos => raw.size.0 / SECTOR,
        PartitionTable::Gpt => (raw.size.0 / SECTOR).saturating_sub(GPT_END),
    };
    let sectors = end.saturating_sub(first) / 8 * 8;
    let filesystem = Filesystem {
        kind: &raw.filesystem,
        uuid: &identity.filesystem,
        offset: first * SECTOR,
        bytes: sectors * SECTOR,
    };
    let taken = room(folder, filesystem.bytes)?;
    let image = File::create(result).and_then(|image| image.set_len(raw.size.0));
    image.map_err(file("making the image"))?;
    let script = result.with_extension("sfdisk");
    fs::write(&script, table(raw.table, &identity, boot.is_some(), (first, sectors)))
        .map_err(file("writing the partition table down"))?;
    let sfdisk = Command::new(tools::require("sfdisk", "format raw")?);
    sfdisk
        .args(["--quiet", "--no-reread", "--no-tell-kernel"])
        .arg(result)
        .input(&script)
        .run(watch)?;
    let about =
        format!("putting {taken} of files into a file system of {}", Size(filesystem.bytes));
    filesystem.make(folder, result, epoch, watch).map_err(|problem| problem.about(about))?;
    let Some(boot) = boot else { return Ok(()) };
    let image = OpenOptions::new().write(true).open(result);
    image.and_then(|image| boot.write(&image, raw.table)).map_err(file("writing GRUB"))
}

/// Refuses an image that is too small for the root folder, before a tool does so less clearly.
fn room(folder: &Path, bytes: u64) -> Result<Size, Problem> {
    let taken = root::taken(folder).map_err(file("measuring the root folder"))?;
    if taken <= bytes {
        return Ok(Size(taken));
    }
    let reason =
        format!("{} of files are too much for a file system of {}", Size(taken), Size(bytes));
    Err(Problem::refused(reason, "make SIZE of the format larger"))
}

/// Returns the input for sfdisk(8).
fn table(
    kind: PartitionTable,
    identity: &Identity,
    boot: bool,
    (first, sectors): (u64, u64),
) -> String {
    let label = kind.label();
    match kind {
        PartitionTable::Msdos => {
            let id = identity.disk_id();
            format!(
                "label: {label}\nlabel-id: 0x{id}\nunit: sectors\n\
                 start={first}, size={sectors}, type=83, bootable\n"
            )
        }
        PartitionTable::Gpt => {
            let bios = format!(
                "start={ALIGNMENT}, size={ALIGNMENT}, type=21686148-6449-6E6F-744E-656564454649\n"
            );
            let bios = if boot { bios } else { String::new() };
            format!(
                "label: {label}\nlabel-id: {}\nunit: sectors\n{bios}\
                 start={first}, size={sectors}, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid={}\n",
                identity.disk, identity.partition
            )
        }
    }
}
