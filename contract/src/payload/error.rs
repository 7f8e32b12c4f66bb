//! Why a payload is refused, with a way out for each reason.

use std::io;

use crate::payload::environment::{FILE, Mistake};

/// A payload that cannot be used; all but [`PayloadError::Io`] are refusals.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the variants and their fields are")]
pub enum PayloadError {
    #[error("the payload is empty")]
    Empty,
    #[error("the payload is not a tarball packed with gzip or zstd (it begins as {found})")]
    NotPacked { found: String },
    #[error("the payload is not a tarball: what is packed in it is something else")]
    NotTarball,
    #[error("the payload is cut off: its {format} stream ends too early")]
    Truncated { format: &'static str },
    #[error("the payload is cut off: its tarball ends after {after} without an end mark")]
    NoEndMark { after: String },
    #[error("the payload is damaged: its {format} stream cannot be read: {reason}")]
    DamagedStream { format: &'static str, reason: String },
    #[error("the payload is damaged: its tarball cannot be read after {after}: {reason}")]
    DamagedTarball { after: String, reason: String },
    #[error("the payload needs more than 32 MiB of memory to decompress")]
    WindowTooLarge,
    #[error("rubbish follows the {place} of the payload")]
    Trailing { place: &'static str },
    #[error("member {member}: its name is absolute")]
    AbsoluteName { member: String },
    #[error("member {member}: its name contains `..`")]
    ParentInName { member: String },
    #[error("member {member}: its name is {reason}")]
    BadName { member: String, reason: &'static str },
    #[error("member {member}: its link to {target} leaves the payload")]
    LinkLeaves { member: String, target: String },
    #[error("member {member}: it is a hard link to {target}, which is not an earlier file")]
    HardLinkTarget { member: String, target: String },
    #[error("member {member}: {parent} is {what}, so nothing can lie below it")]
    ParentNoFolder { member: String, parent: String, what: &'static str },
    #[error("member {member}: it is {what}")]
    Special { member: String, what: String },
    #[error("member {member}: it is there twice")]
    Twice { member: String },
    #[error("member {member}: unpacked, the payload would exceed {limit} bytes of memory")]
    TooLarge { member: String, limit: u64 },
    #[error("member {member}: the payload has too many members (more than {limit})")]
    TooManyMembers { member: String, limit: u64 },
    #[error("member {member}: it is larger than {limit} bytes")]
    TextTooLarge { member: String, limit: usize },
    #[error("the payload is two kinds at once: {first} and {second} lie at its top")]
    TwoKinds { first: &'static str, second: &'static str },
    #[error("the payload has no `deploy`, `IMGBUILD` or `image.toml` at its top (there: {top})")]
    NoKind { top: String },
    #[error("member {member}: it is not a regular file")]
    NotRegular { member: String },
    #[error("member {member}: it is not executable (mode {mode:04o})")]
    NotExecutable { member: String, mode: u32 },
    #[error("member {member}: it is neither a script nor an executable: {reason}")]
    NotRunnable { member: String, reason: String },
    #[error("member {member}: line {line}: {reason}")]
    Text { member: String, line: usize, reason: String, hint: String },
    #[error("{context}")]
    Io { context: String, source: io::Error },
}

impl From<Mistake> for PayloadError {
    fn from(Mistake { line, reason, hint }: Mistake) -> Self {
        Self::Text { member: FILE.to_owned(), line, reason, hint: hint.to_owned() }
    }
}

impl PayloadError {
    /// Returns whether the payload itself is to blame, rather than the machine that reads it.
    pub fn is_refusal(&self) -> bool {
        !matches!(self, Self::Io { .. })
    }

    /// Returns the way out.
    pub fn hint(&self) -> String {
        match self {
            Self::Empty | Self::NotPacked { .. } | Self::NotTarball => {
                "make the payload with `anemos pack DIR -o FILE`"
            }
            Self::Truncated { .. }
            | Self::NoEndMark { .. }
            | Self::DamagedStream { .. }
            | Self::DamagedTarball { .. } => {
                "fetch or pack the payload again and compare its digest"
            }
            Self::WindowTooLarge => "compress with zstd -19 or less and without --long",
            Self::Trailing { .. } => {
                "something was appended to the payload; pack it again with `anemos pack`"
            }
            Self::AbsoluteName { .. } | Self::ParentInName { .. } | Self::BadName { .. } => {
                "pack from inside of the folder: `anemos pack DIR -o FILE` or `tar -C DIR .`"
            }
            Self::LinkLeaves { .. } => {
                "pack a root file system as a tarball inside of the payload, \
                 or make the link relative"
            }
            Self::HardLinkTarget { .. } | Self::ParentNoFolder { .. } | Self::Twice { .. } => {
                "pack the folder anew with `anemos pack`, not by appending to a tarball"
            }
            Self::Special { .. } => {
                "a payload holds files, folders and links; pack a root file system \
                 as a tarball inside of it"
            }
            _ => return self.hint_about_content(),
        }
        .to_owned()
    }

    fn hint_about_content(&self) -> String {
        match self {
            Self::TooLarge { .. } => {
                "give the machine more memory, or keep large files packed inside of the payload"
            }
            Self::TooManyMembers { .. } => "pack the many files as a tarball inside of the payload",
            Self::TextTooLarge { .. } => "settings are short texts; put data in files of its own",
            Self::TwoKinds { .. } => "keep the one that is meant, or move the other into a folder",
            Self::NoKind { .. } => {
                "put an executable `deploy` at the top of the payload, or in its single top folder"
            }
            Self::NotRegular { .. } => "put the file itself there instead of a link or folder",
            Self::NotExecutable { member, .. } => {
                return format!("chmod +x {member} and pack again");
            }
            Self::NotRunnable { .. } => "begin the script with a line such as #!/bin/sh",
            Self::Text { hint, .. } => return hint.clone(),
            _ => "look at the cause above; the payload itself was not judged",
        }
        .to_owned()
    }
}
