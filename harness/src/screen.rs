//! Reads the text memory of a VGA card.

use std::fmt;

/// Size of the text memory: rows of 80 cells, each with a character and a colour.
///
/// The screen shows 25 of them. Linux scrolls by moving that window through all of the memory
/// (`vgacon`), and only the card knows where it is, so all rows are read.
pub const PAGE_LEN: usize = 32 << 10;
/// Address of the memory in the guest.
pub const PAGE_ADDRESS: u64 = 0xb8000;

const COLUMNS: usize = 80;

/// Characters 0x80 to 0xff of the card's built-in font.
const UPPER_HALF: &str = "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»\
░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// The text on a screen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Screen {
    /// The rows from top to bottom, without spaces at their ends.
    pub rows: Vec<String>,
}

impl Screen {
    /// Decodes text memory; less of it has fewer rows.
    pub fn decode(page: &[u8]) -> Self {
        let upper: Vec<char> = UPPER_HALF.chars().collect();
        let rows = page.chunks_exact(2 * COLUMNS).map(|row| decode_row(row, &upper)).collect();
        Self { rows }
    }

    /// Returns whether nothing can be seen.
    pub fn is_blank(&self) -> bool {
        self.rows.iter().all(String::is_empty)
    }

    /// Returns whether some row contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.rows.iter().any(|row| row.contains(text))
    }
}

impl fmt::Display for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used = self.rows.iter().rposition(|row| !row.is_empty()).map_or(0, |last| last + 1);
        self.rows.iter().take(used).try_for_each(|row| writeln!(f, "{row}"))
    }
}

fn decode_row(row: &[u8], upper: &[char]) -> String {
    let text: String = row.iter().step_by(2).map(|byte| glyph(*byte, upper)).collect();
    text.trim_end().to_owned()
}

/// Returns a glyph; control characters have their own, but boot loaders do not mean those.
fn glyph(byte: u8, upper: &[char]) -> char {
    match byte {
        0x20..=0x7e => char::from(byte),
        0x80.. => upper.get(usize::from(byte - 0x80)).copied().unwrap_or(' '),
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a page with one row of text, as a card stores it.
    fn page(text: &[u8]) -> Vec<u8> {
        let mut page = [b' ', 7].repeat(PAGE_LEN / 2);
        for (cell, byte) in page.chunks_mut(2).zip(text) {
            cell[0] = *byte;
        }
        page
    }

    #[test]
    fn every_upper_character_has_a_glyph() {
        assert_eq!(UPPER_HALF.chars().count(), 128);
        for (byte, want) in [(0x80, 'Ç'), (0xc4, '─'), (0xdb, '█'), (0xfe, '■')] {
            let screen = Screen::decode(&page(&[byte]));
            assert_eq!(screen.rows[0], want.to_string(), "byte {byte:#x}");
        }
    }

    #[test]
    fn rows_have_no_spaces_at_their_ends() {
        let screen = Screen::decode(&page(b"No bootable device."));
        assert_eq!(screen.rows.len(), PAGE_LEN / 160);
        assert_eq!(screen.rows[0], "No bootable device.");
        assert_eq!(screen.to_string(), "No bootable device.\n");
        assert!(screen.contains("bootable") && !screen.is_blank());
    }

    #[test]
    fn a_cleared_page_and_no_page_are_blank() {
        for page in [vec![0; PAGE_LEN], page(b""), Vec::new()] {
            assert!(Screen::decode(&page).is_blank(), "{} bytes", page.len());
        }
    }
}
