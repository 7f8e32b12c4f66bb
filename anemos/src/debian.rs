//! The full base initramfs: Debian packages, made an archive as they come.
//!
//! mmdebstrap prints a tarball whose members are sorted and whose times end at the epoch it is
//! given, so the same packages give the same bytes here too.

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, bail};
use initramfs::archive::{Attributes, Packing, Segment, Writer};
use initramfs::base;
use tar::{Archive, Entry, EntryType};

use crate::command;
use crate::report::Refusal;

/// Built once and sent often: worth more time than an initramfs is.
const ZSTD_LEVEL: i32 = 10;
/// The first day of 2020: not zero, which shadow(5) takes for "must be changed".
const EPOCH: u64 = 1_577_836_800;

const FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const CHARACTER: u32 = 0o020_000;
const BLOCK: u32 = 0o060_000;

/// Where packages come from.
#[derive(Debug, clap::Args)]
pub(crate) struct Packages {
    /// Packages to add to those of the full base
    #[arg(long = "packages", value_delimiter = ',', value_name = "NAME,…")]
    added: Vec<String>,
    /// Release of Debian
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// Mirror or line of sources.list; mmdebstrap's own default when there is none
    #[arg(long, value_name = "MIRROR")]
    mirror: Vec<String>,
    /// Time that no file is later than, in seconds since 1970
    #[arg(long, env = "SOURCE_DATE_EPOCH", default_value_t = EPOCH, value_name = "SECONDS")]
    latest: u64,
}

/// Builds the full base; the file appears when it is complete. Returns its size in bytes.
pub(crate) fn build(packages: &Packages, output: &Path) -> anyhow::Result<u64> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let writing = || format!("writing {}", output.display());
    let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    let mut file = file.with_context(writing)?;
    let mut child = start(packages)?;
    let mut tarball = child.stdout.take().context("reading what mmdebstrap makes")?;
    let converted = convert(&mut tarball, BufWriter::new(file.as_file_mut()), packages.latest);
    // A closed pipe would end mmdebstrap and, by a signal to its group, us.
    let drained = io::copy(&mut tarball, &mut io::sink());
    // Its status comes first: a tarball that ends early is the smaller news.
    let status = child.wait().context("waiting for mmdebstrap")?;
    if !status.success() {
        bail!("mmdebstrap ended with {status}; what it said is above");
    }
    converted.and(drained).context("packing what mmdebstrap made")?;
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).with_context(writing)?;
    let size = file.as_file().metadata().with_context(writing)?.len();
    file.persist(output).with_context(writing)?;
    Ok(size)
}

fn start(packages: &Packages) -> anyhow::Result<Child> {
    let mut names: Vec<&str> = base::lines(base::PACKAGES).collect();
    names.extend(packages.added.iter().map(String::as_str));
    let mut command = command::start(Path::new("mmdebstrap"));
    command
        .args(["--quiet", "--mode=auto", "--format=tar", "--variant=essential"])
        .arg(format!("--include={}", names.join(",")))
        .args([packages.suite.as_str(), "-"])
        .args(&packages.mirror)
        .env("SOURCE_DATE_EPOCH", packages.latest.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    match command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let hint = "install it: apt-get install mmdebstrap";
            Err(Refusal::new("mmdebstrap, which the full base is made with, is missing", hint)
                .into())
        }
        other => other.context("running mmdebstrap"),
    }
}

/// Turns a tarball into one zstd frame that holds a newc archive.
fn convert(tarball: impl Read, output: impl Write, latest: u64) -> io::Result<()> {
    let mut encoder = zstd::Encoder::new(output, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    let mut writer = Writer::new(encoder);
    let mut archive = Archive::new(BufReader::with_capacity(1 << 20, tarball));
    writer.segment(Packing::Raw, |segment| {
        for entry in archive.entries()? {
            put(segment, entry?, latest)?;
        }
        Ok(())
    })?;
    writer.finish()?.finish()?.flush()
}

fn put(segment: &mut Segment<'_>, mut entry: Entry<'_, impl Read>, latest: u64) -> io::Result<()> {
    let name = text(&entry.path_bytes())?;
    let name = name.trim_start_matches("./").trim_end_matches('/').to_owned();
    if name.is_empty() || name == "." || base::is_omitted(&name) {
        return Ok(());
    }
    let target = entry.link_name_bytes().map(|target| text(&target)).transpose()?;
    let (kind, target) = match (entry.header().entry_type(), target) {
        (EntryType::Regular, _) => (FILE, None),
        (EntryType::Directory, _) => (FOLDER, None),
        (EntryType::Symlink, Some(target)) => (LINK, Some(target)),
        // The bytes went by with the first name, and newc holds them with the last one.
        (EntryType::Link, Some(target)) => (LINK, Some(relative(&name, &target))),
        (EntryType::Char, _) => (CHARACTER, None),
        (EntryType::Block, _) => (BLOCK, None),
        (other, _) => {
            return Err(io::Error::other(format!("{name} is of an unknown type {other:?}")));
        }
    };
    let attributes = attributes(&entry, kind, latest)?;
    match target {
        Some(target) => {
            let size = target.len() as u64;
            segment.member(&name, attributes, size, &mut target.as_bytes())
        }
        None => segment.member(&name, attributes, entry.size(), &mut entry),
    }
}

fn attributes(entry: &Entry<'_, impl Read>, kind: u32, latest: u64) -> io::Result<Attributes> {
    let header = entry.header();
    let permissions = if kind == LINK { 0o777 } else { header.mode()? & 0o7777 };
    let id = |id: u64| u32::try_from(id).map_err(io::Error::other);
    // tar(1) leaves the numbers blank for everything else.
    let device = if [CHARACTER, BLOCK].contains(&kind) {
        (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
    } else {
        (0, 0)
    };
    Ok(Attributes {
        mode: kind | permissions,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime: id(header.mtime()?.min(latest))?,
        device,
    })
}

/// The way from one member to another, both named from the root.
fn relative(from: &str, to: &str) -> String {
    let to = to.trim_start_matches("./");
    let mut left = from.split('/').peekable();
    let mut right = to.split('/').peekable();
    while left.peek().is_some() && left.peek() == right.peek() {
        left.next();
        right.next();
    }
    let up = left.count().saturating_sub(1);
    let down: Vec<&str> = right.collect();
    format!("{}{}", "../".repeat(up), down.join("/"))
}

fn text(bytes: &[u8]) -> io::Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
