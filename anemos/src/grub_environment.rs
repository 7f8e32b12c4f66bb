//! GRUB's environment block: variables that survive a boot (GRUB manual, "Environment block").

use anyhow::{Context, bail};

const HEADER: &[u8] = b"# GRUB Environment Block\n";
const NAME: &str = "next_entry";
/// The byte that fills the rest of a block.
const FILLER: u8 = b'#';

/// Returns whether these bytes are such a block.
pub(crate) fn is_block(bytes: &[u8]) -> bool {
    bytes.starts_with(HEADER)
}

/// Returns the block with `entry` as the one to boot next; everything else stays.
pub(crate) fn with_next_entry(block: &[u8], entry: &str) -> anyhow::Result<Vec<u8>> {
    if !is_block(block) {
        bail!("this is not an environment block of GRUB");
    }
    fill(others(block).chain([format!("{NAME}={entry}\n").as_bytes()]), block.len())
        .context("there is no room for one more variable in it")
}

/// Returns the block `now`, with the next entry that `before` has.
///
/// If nothing else differs, returns `before` itself.
pub(crate) fn take_back(now: &[u8], before: &[u8]) -> Vec<u8> {
    if others(now).eq(others(before)) {
        return before.to_vec();
    }
    let entry = lines(before).filter(|line| is_next_entry(line));
    // A block that had room for our entry has room for the previous one.
    fill(others(now).chain(entry), now.len()).unwrap_or_else(|| now.to_vec())
}

/// Returns the lines of a block with their newlines, without the filler.
fn lines(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    block.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"))
}

fn others(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines(block).filter(|line| !is_next_entry(line))
}

fn is_next_entry(line: &[u8]) -> bool {
    line.strip_prefix(NAME.as_bytes()).is_some_and(|rest| rest.starts_with(b"="))
}

fn fill<'l>(lines: impl Iterator<Item = &'l [u8]>, length: usize) -> Option<Vec<u8>> {
    let mut block: Vec<u8> = lines.flatten().copied().collect();
    let fits = block.len() <= length;
    block.resize(length, FILLER);
    fits.then_some(block)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(variables: &str) -> Vec<u8> {
        let mut block = [HEADER, variables.as_bytes()].concat();
        block.resize(1024, FILLER);
        block
    }

    #[test]
    fn the_next_entry_is_set_and_everything_else_kept() {
        for (before, after) in [
            ("", "next_entry=x\n"),
            ("saved_entry=0\n", "saved_entry=0\nnext_entry=x\n"),
            ("next_entry=\nrecordfail=1\n", "recordfail=1\nnext_entry=x\n"),
            ("next_entry_of=1\n", "next_entry_of=1\nnext_entry=x\n"),
        ] {
            assert_eq!(with_next_entry(&block(before), "x").unwrap(), block(after), "{before}");
        }
    }

    #[test]
    fn what_grub_did_meanwhile_is_kept() {
        for (before, now, want) in [
            // GRUB has removed the entry: it is as before, to the last byte.
            ("saved_entry=0\n", "saved_entry=0\nnext_entry=\n", "saved_entry=0\n"),
            ("next_entry=\n", "next_entry=x\n", "next_entry=\n"),
            ("", "recordfail=1\nnext_entry=\n", "recordfail=1\n"),
            ("next_entry=y\n", "next_entry=\nrecordfail=1\n", "recordfail=1\nnext_entry=y\n"),
        ] {
            assert_eq!(take_back(&block(now), &block(before)), block(want), "{before} {now}");
        }
    }

    #[test]
    fn a_full_block_and_another_file_are_refused() {
        let full = block(&format!("a={}\n", "b".repeat(990)));
        let error = with_next_entry(&full, "anemos-deploy").unwrap_err().to_string();
        assert_eq!(error, "there is no room for one more variable in it");
        assert!(with_next_entry(b"set default=0\n", "x").is_err());
    }
}
