//! Turns the bytes of a serial console into the lines that a person would see.

use vte::{Params, Parser, Perform};

/// A longer line is cut: no terminal is that wide, and memory is finite.
const MAX_COLUMNS: usize = 4096;

/// A terminal that remembers finished lines and the one being written.
///
/// Escape sequences and characters may be split anywhere between two calls.
#[derive(Default)]
pub struct Console {
    text: Text,
    parser: Parser,
    page: Page,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("page", &self.page).finish_non_exhaustive()
    }
}

impl Console {
    /// Makes an empty console.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes, and returns the lines that are now finished, without trailing spaces.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let text = self.text.push(bytes);
        self.parser.advance(&mut self.page, text.as_bytes());
        std::mem::take(&mut self.page.finished)
    }

    /// Returns the unfinished line, such as a prompt, as it stands.
    pub fn pending(&self) -> String {
        self.page.line.iter().collect()
    }
}

/// Text whose last character may be incomplete.
///
/// The parser takes UTF-8 too, but its result for bad bytes depends on how they are split.
#[derive(Debug, Default)]
struct Text {
    torn: Vec<u8>,
}

impl Text {
    fn push(&mut self, bytes: &[u8]) -> String {
        let mut all = std::mem::take(&mut self.torn);
        all.extend_from_slice(bytes);
        let mut text = String::new();
        let mut left = all.len();
        for chunk in all.utf8_chunks() {
            text += chunk.valid();
            left -= chunk.valid().len() + chunk.invalid().len();
            match std::str::from_utf8(chunk.invalid()) {
                Ok(_) => {}
                Err(error) if left == 0 && error.error_len().is_none() => {
                    self.torn = chunk.invalid().to_vec();
                }
                Err(_) => text.push(char::REPLACEMENT_CHARACTER),
            }
        }
        text
    }
}

/// What escape sequences act on: one line is enough, because a console only moves down.
#[derive(Debug, Default)]
struct Page {
    line: Vec<char>,
    column: usize,
    row: u16,
    finished: Vec<String>,
}

impl Page {
    fn finish(&mut self) {
        let line: String = self.line.drain(..).collect();
        self.finished.push(line.trim_end().to_owned());
        self.column = 0;
    }

    /// Finishes the line if there is something on it: boot menus jump about on an empty page.
    fn leave(&mut self) {
        if self.line.iter().any(|c| *c != ' ') {
            self.finish();
        }
        self.line.clear();
    }

    fn put(&mut self, c: char) {
        if self.column >= MAX_COLUMNS {
            self.finish();
        }
        if self.line.len() <= self.column {
            self.line.resize(self.column + 1, ' ');
        }
        if let Some(cell) = self.line.get_mut(self.column) {
            *cell = c;
        }
        self.column += 1;
    }

    fn move_to(&mut self, column: usize) {
        self.column = column.min(MAX_COLUMNS - 1);
    }

    fn go_to_row(&mut self, row: u16) {
        if row != self.row {
            self.leave();
            self.row = row;
        }
    }

    /// `mode` is that of `EL`: 0 to the end, 1 from the start, 2 all.
    fn erase_line(&mut self, mode: u16) {
        match mode {
            0 => self.line.truncate(self.column),
            1 => self.line.iter_mut().take(self.column + 1).for_each(|cell| *cell = ' '),
            _ => self.line.clear(),
        }
    }
}

impl Perform for Page {
    fn print(&mut self, c: char) {
        self.put(c);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\n' | 0x0b | 0x0c => {
                self.finish();
                self.row = self.row.saturating_add(1);
            }
            b'\r' => self.column = 0,
            0x08 => self.column = self.column.saturating_sub(1),
            b'\t' => self.move_to((self.column / 8 + 1) * 8),
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, _: &[u8], ignore: bool, action: char) {
        if ignore {
            return;
        }
        let mut params = params.iter().map(|group| group.first().copied().unwrap_or(0));
        let mut next = || params.next().unwrap_or(0);
        let first = next();
        let steps = usize::from(first.max(1));
        match action {
            'H' | 'f' => {
                self.go_to_row(first.max(1));
                self.move_to(usize::from(next().max(1)) - 1);
            }
            'd' => self.go_to_row(first.max(1)),
            'A' | 'B' | 'E' | 'F' | 'J' => self.leave(),
            'G' | '`' => self.move_to(steps - 1),
            'C' => self.move_to(self.column + steps),
            'D' => self.column = self.column.saturating_sub(steps),
            'K' => self.erase_line(first),
            _ => {}
        }
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        if byte == b'c' {
            self.leave();
            self.row = 0;
            self.column = 0;
        }
    }
}

#[cfg(test)]
mod tests;
