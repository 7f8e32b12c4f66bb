//! The files of one format, with notes about what they do not say.

/// Appends formatted text to a string, which cannot fail.
macro_rules! put {
    ($text:expr, $($arguments:tt)+) => {{
        use std::fmt::Write as _;
        let _infallible = write!($text, $($arguments)+);
    }};
}
pub(super) use put;

/// The result of rendering a network in one format.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    /// The files.
    pub(super) files: Vec<File>,
    /// What the format cannot express, or what it needs for that.
    pub(super) notes: Vec<String>,
}

/// A file of a format.
#[derive(Debug)]
pub(super) struct File {
    /// Name in the folder of the format.
    pub(super) name: String,
    /// Permission bits.
    pub(super) mode: u32,
    /// Its content.
    pub(super) text: String,
}

impl Rendered {
    /// Adds a file that everyone may read.
    pub(super) fn add(&mut self, name: String, text: String) {
        self.files.push(File { name, mode: 0o644, text });
    }

    /// Notes that something is left out, and says so in the text at that place.
    pub(super) fn leave_out(&mut self, text: &mut String, indent: &str, what: &str) {
        self.note(text, indent, format!("left out: {what}"));
    }

    /// Notes something, also as a comment in the text.
    pub(super) fn note(&mut self, text: &mut String, indent: &str, what: String) {
        put!(text, "{indent}# {what}\n");
        self.notes.push(what);
    }
}
