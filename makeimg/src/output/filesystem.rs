//! Makes a file system that contains the root folder, at an offset in the image.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::command::Command;
use crate::error::{Problem, file};
use crate::format::EXT4_FEATURES;
use crate::isolate;
use crate::step::{Step, Watch};
use crate::tools;

/// A file system, and where it is in the image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filesystem<'a> {
    pub(super) kind: &'a str,
    pub(super) uuid: &'a str,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Times that mke2fs takes from the root folder or that are always new, so that we set them.
const TIMES: [&str; 3] = ["atime", "ctime", "crtime"];

fn is_ext(filesystem: &str) -> bool {
    ["ext2", "ext3", "ext4"].contains(&filesystem)
}

/// Returns whether we give it a UUID, which `/etc/fstab` can then name.
pub(super) fn has_uuid(filesystem: &str) -> bool {
    is_ext(filesystem) || ["btrfs", "xfs"].contains(&filesystem)
}

/// Refuses a file system that cannot be made here.
pub(super) fn check(filesystem: &str) -> Result<(), Problem> {
    if is_ext(filesystem) {
        return tools::require("mke2fs", "this file system").map(drop);
    }
    tools::require(&format!("mkfs.{filesystem}"), "this file system")?;
    if filesystem != "btrfs" && isolate::in_user_namespace() {
        let reason = format!("mkfs.{filesystem} takes no folder, and only root can mount it");
        return Err(Problem::refused(reason, "take ext4 or btrfs, or be root"));
    }
    Ok(())
}

impl Filesystem<'_> {
    /// Makes it, with the files of a folder in it.
    pub(super) fn make(
        &self,
        folder: &Path,
        image: &Path,
        epoch: Option<i64>,
        watch: &mut dyn Watch,
    ) -> Result<(), Problem> {
        if is_ext(self.kind) {
            return self.ext(folder, image, epoch, watch);
        }
        let separate = image.with_extension("filesystem");
        let made = File::create(&separate).and_then(|file| file.set_len(self.bytes));
        made.map_err(file("making the file system"))?;
        let program = tools::require(&format!("mkfs.{}", self.kind), "this file system")?;
        let program = Command::new(program);
        if self.kind == "btrfs" {
            let btrfs = program.args(["--quiet", "--uuid", self.uuid, "--rootdir"]);
            btrfs.args([folder, &separate]).run(watch)?;
        } else {
            let program = match self.kind {
                "xfs" => program.args(["-q", "-m", &format!("uuid={}", self.uuid)]),
                _ => program,
            };
            program.arg(&separate).run(watch)?;
            fill(folder, &separate, watch)?;
        }
        copy(&separate, image, self.offset).map_err(file("copying the file system"))
    }

    fn ext(
        &self,
        folder: &Path,
        image: &Path,
        epoch: Option<i64>,
        watch: &mut dyn Watch,
    ) -> Result<(), Problem> {
        let Self { kind, uuid, offset, bytes } = *self;
        let command = Command::new(tools::require("mke2fs", "this file system")?)
            .args(["-q", "-F", "-t", kind, "-U", uuid])
            .args(if kind == "ext4" { &["-O", EXT4_FEATURES][..] } else { &[] })
            .arg("-E")
            .arg(format!("offset={offset},hash_seed={uuid},root_owner=0:0"))
            .arg("-d")
            .args([folder, image])
            .arg(format!("{}k", bytes / 1024));
        let Some(epoch) = epoch else { return Ok(command.run(watch)?) };
        let time = epoch.to_string();
        command.env("E2FSPROGS_FAKE_TIME", &time).run(watch)?;
        let image = format!("{}?offset={offset}", image.display());
        let debugfs = tools::require("debugfs", "a reproducible image")?;
        let debugfs = Command::new(debugfs).env("E2FSPROGS_FAKE_TIME", &time);
        let stats = debugfs.clone().args(["-R", "show_super_stats -h", &image]);
        let stats = stats.output(&mut WithoutBanner(watch))?;
        let script = folder.with_file_name("times");
        fs::write(&script, times(&String::from_utf8_lossy(&stats), epoch))
            .map_err(file("writing down what is done to times"))?;
        let debugfs = debugfs.arg("-w").arg("-f").arg(&script).arg(&image);
        debugfs.output(&mut WithoutBanner(watch))?;
        Ok(())
    }
}

/// Passes on the messages of debugfs(8), except for its version.
struct WithoutBanner<'a>(&'a mut dyn Watch);

impl Watch for WithoutBanner<'_> {
    fn begins(&mut self, step: Step) {
        self.0.begins(step);
    }

    fn ended(&mut self, step: Step, took: Duration, failure: Option<&str>) {
        self.0.ended(step, took, failure);
    }

    fn line(&mut self, line: &str) {
        if !line.starts_with("debugfs 1.") {
            self.0.line(line);
        }
    }
}

/// Returns the commands for debugfs(8) for each inode in use; these are consecutive.
fn times(super_block: &str, epoch: i64) -> String {
    let number = |name: &str| {
        let value = super_block.lines().find_map(|line| line.strip_prefix(name));
        value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    let (all, free) = (number("Inode count:"), number("Free inodes:"));
    let inodes = std::iter::once(2).chain(11..=all.saturating_sub(free));
    let each = |inode: u64| TIMES.map(|time| format!("sif <{inode}> {time} @{epoch}\n")).concat();
    inodes.map(each).collect()
}

/// Mounts the file system and copies the root folder into it; only root can do that.
fn fill(folder: &Path, separate: &Path, watch: &mut dyn Watch) -> Result<(), Problem> {
    const FILL: &str = r#"mkdir "$2.mounted"; mount -o loop "$2" "$2.mounted"; cp -a "$1/." "$2.mounted"; umount "$2.mounted"; rmdir "$2.mounted""#;
    let fill = Command::new("unshare").args(["--mount", "sh", "-euc", FILL, "sh"]);
    Ok(fill.args([folder, separate]).shown("copying into the mounted file system").run(watch)?)
}

/// Copies a file to an offset in the image, and leaves holes where it is empty.
fn copy(from: &Path, image: &Path, offset: u64) -> io::Result<()> {
    let (mut from, mut image) = (File::open(from)?, OpenOptions::new().write(true).open(image)?);
    let mut buffer = vec![0; 1 << 20];
    let mut at = offset;
    loop {
        let read = from.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        if bytes.iter().any(|byte| *byte != 0) {
            image.seek(SeekFrom::Start(at))?;
            image.write_all(bytes)?;
        }
        at += bytes.len() as u64;
    }
}
