//! The one pass over a payload's members: every rule is checked here, whatever happens to them.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::rc::Rc;

use tar::{Archive, Entry, EntryType};

use crate::payload::stream::Stream;
use crate::payload::tree::{Node, Tree, normalise, show};
use crate::payload::{
    Description, Kind, Limits, PayloadError, Settings, environment, program, settings,
};

/// Long names and extended headers of one member are kept in memory, so they have a limit.
const HEADER_MAX: u64 = 1 << 20;
/// How much is kept of files that say what the payload is.
const TEXT_MAX: usize = 64 * 1024;
const PAGE: u64 = 4096;

/// A member that has passed its checks.
#[derive(Debug)]
pub(super) struct Member {
    /// Normalised name: relative, without `.` and `..`.
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    pub(super) owner: (u64, u64),
    /// Seconds since 1970.
    pub(super) modified: u64,
    pub(super) body: Body,
}

/// What kind of member it is.
#[derive(Debug)]
pub(super) enum Body {
    Folder,
    File {
        size: u64,
    },
    /// With its target as it was written.
    Link(Vec<u8>),
    /// With the normalised name of an earlier file.
    HardLink(Vec<u8>),
}

/// Takes the members one by one, in the order of the tarball.
pub(super) trait Sink {
    /// Takes a member; `content` holds exactly the bytes of a file.
    fn take(&mut self, member: &Member, content: &mut dyn Read) -> Result<(), PayloadError>;

    /// Ends the work on a payload that has passed all checks, given its single top folder.
    fn finish(&mut self, _top: Option<&[u8]>) -> Result<(), PayloadError> {
        Ok(())
    }
}

/// A sink that discards everything.
pub(super) struct Discard;

impl Sink for Discard {
    fn take(&mut self, member: &Member, content: &mut dyn Read) -> Result<(), PayloadError> {
        io::copy(content, &mut io::sink()).map(drop).map_err(|source| PayloadError::Io {
            context: format!("reading member {}", show(&member.name)),
            source,
        })
    }
}

/// Reads a payload to its end, hands its members to `sink` and returns what it is.
pub(super) fn walk(
    reader: impl Read,
    limits: Limits,
    sink: &mut dyn Sink,
) -> Result<Description, PayloadError> {
    let stream = Stream::open(reader)?;
    let mut pass = Pass { limits, allowance: stream.allowance(), ..Pass::default() };
    let mut archive = Archive::new(stream);
    let result = pass.read(&mut archive, sink);
    let mut stream = archive.into_inner();
    if let Err(error) = result {
        return Err(stream.take_fault().unwrap_or_else(|| pass.blame(error, &stream)));
    }
    match stream.ended() {
        (true, false) => return Err(PayloadError::Empty),
        (true, true) => return Err(PayloadError::NoEndMark { after: pass.last }),
        (false, _) => {}
    }
    let (compression, sha256, size) = stream.finish()?;
    let (kind, top) = pass.conclude()?;
    sink.finish(top.as_deref())?;
    let top = top.map(|top| show(&top));
    let Pass { members, unpacked, settings, environment, .. } = pass;
    Ok(Description {
        compression,
        kind,
        top,
        members,
        unpacked,
        settings,
        environment,
        sha256,
        size,
    })
}

/// What the pass has gathered so far.
#[derive(Debug, Default)]
struct Pass {
    limits: Limits,
    allowance: Rc<Cell<u64>>,
    tree: Tree,
    members: u64,
    unpacked: u64,
    /// The member that was read last, for messages.
    last: String,
    /// Beginnings of files that may say what the payload is, with their modes.
    texts: BTreeMap<Vec<u8>, (u32, Vec<u8>)>,
    settings: Settings,
    environment: BTreeMap<String, String>,
}

impl Pass {
    fn read<R: Read>(
        &mut self,
        archive: &mut Archive<Stream<R>>,
        sink: &mut dyn Sink,
    ) -> Result<(), PayloadError> {
        let mut entries = archive.entries().map_err(|error| self.damaged(&error))?;
        loop {
            self.allowance.set(HEADER_MAX);
            let Some(entry) = entries.next() else { return Ok(()) };
            let entry = entry.map_err(|error| self.damaged(&error))?;
            self.allowance.set(u64::MAX);
            if entry.header().entry_type() != EntryType::XGlobalHeader {
                self.member(entry, sink)?;
            }
        }
    }

    fn member(
        &mut self,
        mut entry: Entry<'_, impl Read>,
        sink: &mut dyn Sink,
    ) -> Result<(), PayloadError> {
        let raw = entry.path_bytes().into_owned();
        let name = normalise(&raw)?;
        self.last = show(&name);
        self.members += 1;
        if self.members > self.limits.members {
            let limit = self.limits.members;
            return Err(PayloadError::TooManyMembers { member: show(&name), limit });
        }
        let folder_by_name = raw.ends_with(b"/");
        let body = self.body(&mut entry, &name, folder_by_name)?;
        if name.is_empty() {
            return match body {
                Body::Folder => Ok(()),
                _ => Err(PayloadError::BadName { member: show(&raw), reason: "that of a folder" }),
            };
        }
        self.count(&name, &body)?;
        self.tree.add(&name, node(&body))?;
        let header = entry.header();
        let damaged = |error: io::Error| self.damaged(&error);
        let member = Member {
            mode: header.mode().map_err(damaged)? & 0o7777,
            owner: (header.uid().map_err(damaged)?, header.gid().map_err(damaged)?),
            modified: header.mtime().map_err(damaged)?,
            name,
            body,
        };
        self.hand_over(&member, &mut entry, sink)
    }

    fn body(
        &self,
        entry: &mut Entry<'_, impl Read>,
        name: &[u8],
        folder_by_name: bool,
    ) -> Result<Body, PayloadError> {
        let special = |what: String| Err(PayloadError::Special { member: show(name), what });
        let (kind, size) = (entry.header().entry_type(), entry.size());
        if is_sparse(entry) {
            return special("a sparse file".to_owned());
        }
        let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default();
        match kind {
            // As in the tarballs of Seventh Edition Unix, which had no type for folders.
            EntryType::Regular if folder_by_name && size == 0 => Ok(Body::Folder),
            EntryType::Regular => Ok(Body::File { size }),
            _ if size > 0 => special("no file, but has content".to_owned()),
            EntryType::Directory => Ok(Body::Folder),
            EntryType::Symlink => {
                Tree::check_target(name, &target)?;
                Ok(Body::Link(target))
            }
            EntryType::Link => Ok(Body::HardLink(self.tree.hard_target(name, &target)?)),
            EntryType::Char => special("a character device node".to_owned()),
            EntryType::Block => special("a block device node".to_owned()),
            EntryType::Fifo => special("a named pipe".to_owned()),
            other => special(format!("of the special type {:?}", char::from(other.as_byte()))),
        }
    }

    /// Counts the memory that a member takes, before any of its content is read.
    fn count(&mut self, name: &[u8], body: &Body) -> Result<(), PayloadError> {
        let need = match body {
            Body::File { size } => size.div_ceil(PAGE).saturating_mul(PAGE),
            Body::Folder | Body::Link(_) => PAGE,
            Body::HardLink(_) => 0,
        };
        self.unpacked = self.unpacked.saturating_add(need);
        if self.unpacked > self.limits.unpacked {
            let limit = self.limits.unpacked;
            return Err(PayloadError::TooLarge { member: show(name), limit });
        }
        Ok(())
    }

    fn hand_over(
        &mut self,
        member: &Member,
        entry: &mut dyn Read,
        sink: &mut dyn Sink,
    ) -> Result<(), PayloadError> {
        if !self.says_what_it_is(member) {
            return sink.take(member, entry);
        }
        let mut text = Vec::new();
        let read = entry.take(TEXT_MAX as u64).read_to_end(&mut text);
        read.map_err(|error| self.damaged(&error))?;
        sink.take(member, &mut text.chain(entry))?;
        self.texts.insert(member.name.clone(), (member.mode, text));
        Ok(())
    }

    /// Returns whether the start of a file is kept: for a few names, at the top or in a single top
    /// folder.
    fn says_what_it_is(&mut self, member: &Member) -> bool {
        let mut parts = member.name.rsplit(|byte| *byte == b'/');
        let last = parts.next().unwrap_or_default();
        let known = [b"deploy".as_slice(), settings::FILE.as_bytes(), environment::FILE.as_bytes()];
        let depth = 1 + parts.count();
        matches!(member.body, Body::File { .. })
            && known.contains(&last)
            && (depth == 1 || (depth == 2 && self.tree.top().len() == 1))
    }

    fn conclude(&mut self) -> Result<(Kind, Option<Vec<u8>>), PayloadError> {
        let top = match self.tree.top() {
            [] => return Err(PayloadError::Empty),
            [name] if matches!(self.tree.node(name), Some(Node::Folder { .. })) => {
                Some(name.clone())
            }
            _ => None,
        };
        let folder = top.clone().unwrap_or_default();
        self.tree.check_links(&folder)?;
        let kind = self.kind(&folder)?;
        if let Some((_, text)) = self.text_of(&folder, settings::FILE)? {
            self.settings = settings::parse(&text)?;
        }
        if let Some((_, text)) = self.text_of(&folder, environment::FILE)? {
            self.environment = environment::parse(&text)?;
        }
        Ok((kind, top))
    }

    fn kind(&mut self, folder: &[u8]) -> Result<Kind, PayloadError> {
        const MARKERS: [&str; 3] = ["deploy", "IMGBUILD", "image.toml"];
        let here = |marker: &&str| self.tree.node(&below(folder, marker)).is_some();
        let found: Vec<&'static str> = MARKERS.into_iter().filter(here).collect();
        let marker = match found.as_slice() {
            [] => return Err(PayloadError::NoKind { top: self.top_for_people(folder) }),
            [one] => *one,
            [first, second, ..] => return Err(PayloadError::TwoKinds { first, second }),
        };
        let member = marker.to_owned();
        if !matches!(self.tree.node(&below(folder, marker)), Some(Node::File)) {
            return Err(PayloadError::NotRegular { member });
        }
        match marker {
            "IMGBUILD" => Ok(Kind::Imgbuild),
            "image.toml" => Ok(Kind::Image),
            _ => match self.texts.remove(&below(folder, marker)) {
                // A hard link: its content came earlier under another name.
                None => Err(PayloadError::NotRegular { member }),
                Some((mode, _)) if mode & 0o111 == 0 => {
                    Err(PayloadError::NotExecutable { member, mode })
                }
                Some((_, head)) => program::examine(&head)
                    .map_err(|reason| PayloadError::NotRunnable { member, reason }),
            },
        }
    }

    fn text_of(
        &mut self,
        folder: &[u8],
        file: &str,
    ) -> Result<Option<(u32, String)>, PayloadError> {
        let member = file.to_owned();
        let name = below(folder, file);
        let Some((mode, bytes)) = self.texts.remove(&name) else {
            return match self.tree.node(&name) {
                None => Ok(None),
                Some(_) => Err(PayloadError::NotRegular { member }),
            };
        };
        if bytes.len() >= TEXT_MAX {
            return Err(PayloadError::TextTooLarge { member, limit: TEXT_MAX });
        }
        let text = String::from_utf8(bytes).map_err(|error| PayloadError::Text {
            member,
            line: 1,
            reason: error.to_string(),
            hint: "save the file as UTF-8".to_owned(),
        })?;
        Ok(Some((mode, text)))
    }

    fn top_for_people(&self, folder: &[u8]) -> String {
        const SHOWN: usize = 8;
        let mut names = self.tree.names_in(folder);
        if names.is_empty() {
            return "nothing".to_owned();
        }
        if names.len() > SHOWN {
            names.truncate(SHOWN);
            names.push("…".to_owned());
        }
        names.join(", ")
    }

    fn damaged(&self, error: &io::Error) -> PayloadError {
        let after = if self.last.is_empty() { "its beginning" } else { &self.last };
        PayloadError::DamagedTarball { after: after.to_owned(), reason: error.to_string() }
    }

    /// Describes a damaged tarball more precisely, from where its stream stopped.
    fn blame<R: Read>(&self, error: PayloadError, stream: &Stream<R>) -> PayloadError {
        match error {
            PayloadError::DamagedTarball { after, .. } if stream.ended().0 && self.members > 0 => {
                PayloadError::NoEndMark { after }
            }
            PayloadError::DamagedTarball { .. } if self.members == 0 => PayloadError::NotTarball,
            other => other,
        }
    }
}

fn node(body: &Body) -> Node {
    match body {
        Body::Folder => Node::Folder { listed: true },
        Body::File { .. } | Body::HardLink(_) => Node::File,
        Body::Link(target) => Node::Link(target.clone()),
    }
}

/// Returns the name of a file in a folder; the empty folder is the top.
fn below(folder: &[u8], file: &str) -> Vec<u8> {
    if folder.is_empty() { file.into() } else { [folder, b"/", file.as_bytes()].concat() }
}

/// Returns whether a file is sparse, in GNU's own format or in that of extended headers.
fn is_sparse(entry: &mut Entry<'_, impl Read>) -> bool {
    let extended = |entry: &mut Entry<'_, _>| {
        let extensions = entry.pax_extensions().ok().flatten()?;
        Some(extensions.flatten().any(|one| one.key_bytes().starts_with(b"GNU.sparse")))
    };
    entry.header().entry_type() == EntryType::GNUSparse || extended(entry).unwrap_or(false)
}
