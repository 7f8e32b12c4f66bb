//! Writes the final initramfs.
//!
//! It is the base, followed by our archive with the manifest first and the canary last.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use anyhow::Context;
use contract::deploy::Deploy;
use contract::paths;
use initramfs::archive::{Attributes, Packing, Segment, Writer};
use initramfs::manifest::{self, Manifest};

use crate::contents::{BaseContents, Contents};
use crate::member::{Member, Source};

/// Devices that exist before `/dev` is mounted, with permissions and numbers.
///
/// The numbers are from Linux, `admin-guide/devices.txt`. PID 1 has no standard streams on a
/// machine without a console; then a Rust program opens `/dev/null` as it starts, and aborts
/// without it.
const DEVICES: [(&str, u32, (u32, u32)); 2] =
    [("dev/console", 0o600, (5, 1)), ("dev/null", 0o666, (1, 3))];

/// Writes to `output`, which only appears when it is complete; returns its size in bytes.
///
/// Only the owner can read it, because it contains keys. The same contents give the same bytes.
pub(crate) fn write(contents: &Contents, deploy: &Deploy, output: &Path) -> anyhow::Result<u64> {
    let describe = || format!("writing {}", output.display());
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    // Created with mode 0600.
    let file =
        tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new("."))).with_context(describe)?;
    let size = write_to(contents, deploy, file.as_file()).with_context(describe)?;
    file.persist(output).with_context(describe)?;
    Ok(size)
}

fn write_to(contents: &Contents, deploy: &Deploy, file: &File) -> anyhow::Result<u64> {
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, file));
    let mut folders = BTreeSet::new();
    match &contents.base {
        BaseContents::BuiltIn(members) => {
            writer.segment(Packing::Zstd, |segment| put_all(segment, &mut folders, members))?;
        }
        BaseContents::File { path, .. } => {
            let mut base =
                File::open(path).with_context(|| format!("opening {}", path.display()))?;
            writer.append(&mut base)?;
        }
    }
    let description = serde_json::to_vec(deploy).context("rendering the deploy description")?;
    let description =
        Member::new(paths::DEPLOY, Source::Bytes { bytes: description, permissions: 0o600 });
    let manifest = manifest_of(contents, &description).to_bytes();
    let canary = Manifest::canary(&manifest);
    writer.segment(Packing::Zstd, |segment| {
        put_folders(segment, &mut folders, paths::MANIFEST)?;
        segment.bytes(paths::MANIFEST, 0o600, &manifest)?;
        put(segment, &mut folders, &description)?;
        put_devices(segment, &mut folders)?;
        // An empty folder indicates that there are no host keys.
        put_folders(segment, &mut folders, &format!("{}/", paths::HOST_KEYS))?;
        put_all(segment, &mut folders, &contents.members)
    })?;
    writer.segment(Packing::Raw, |segment| {
        put_all(segment, &mut folders, &contents.packed)?;
        segment.bytes(paths::CANARY, 0o600, canary.as_bytes())
    })?;
    let size = writer.written();
    writer.finish()?;
    Ok(size)
}

fn manifest_of(contents: &Contents, description: &Member) -> Manifest {
    let built_in = match &contents.base {
        BaseContents::BuiltIn(members) => members.as_slice(),
        BaseContents::File { .. } => &[],
    };
    let members = [description]
        .into_iter()
        .chain(built_in)
        .chain(&contents.members)
        .chain(&contents.packed)
        .map(|member| manifest::Member { name: member.name.clone(), size: member.source.size() });
    Manifest { members: members.collect() }
}

fn put_all(
    segment: &mut Segment<'_>,
    folders: &mut BTreeSet<String>,
    members: &[Member],
) -> io::Result<()> {
    members.iter().try_for_each(|member| put(segment, folders, member))
}

fn put(
    segment: &mut Segment<'_>,
    folders: &mut BTreeSet<String>,
    member: &Member,
) -> io::Result<()> {
    let Member { name, source } = member;
    put_folders(segment, folders, name)?;
    let attributes = match source {
        Source::File { permissions, .. } | Source::Bytes { permissions, .. } => {
            Attributes::file(*permissions)
        }
        Source::Uncompressed { .. } => Attributes::file(0o644),
        Source::Symlink(_) => Attributes::symlink(),
    };
    let named = |error: io::Error| io::Error::new(error.kind(), format!("packing {name}: {error}"));
    let mut content = source.open().map_err(named)?;
    segment.member(name, attributes, source.size(), &mut content).map_err(named)
}

/// Writes the devices, which are not in the manifest.
///
/// The manifest lists files, and another `/dev` is mounted over these.
fn put_devices(segment: &mut Segment<'_>, folders: &mut BTreeSet<String>) -> io::Result<()> {
    for (name, permissions, device) in DEVICES {
        put_folders(segment, folders, name)?;
        segment.member(name, Attributes::character(permissions, device), 0, &mut io::empty())?;
    }
    Ok(())
}

/// Writes the parent folders of `name` that are still missing; our own is closed to others.
fn put_folders(
    segment: &mut Segment<'_>,
    written: &mut BTreeSet<String>,
    name: &str,
) -> io::Result<()> {
    for (end, _) in name.match_indices('/') {
        let folder = name.get(..end).unwrap_or_default();
        if written.insert(folder.to_owned()) {
            let permissions = if folder.starts_with(paths::FOLDER) { 0o700 } else { 0o755 };
            segment.folder(folder, permissions)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
