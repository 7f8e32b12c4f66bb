//! The `.modinfo` section of a module, as modinfo(8) reads it.

use std::io::Read;
use std::path::Path;

use anyhow::Context;
use goblin::elf::Elf;

use super::compressed::open;

/// Returns the names of the firmware files that a module may ask for.
pub(crate) fn firmware_of(module: &Path) -> anyhow::Result<Vec<String>> {
    let mut bytes = Vec::new();
    let describe = || format!("reading {}", module.display());
    open(module).and_then(|mut file| file.read_to_end(&mut bytes)).with_context(describe)?;
    let elf = Elf::parse(&bytes).with_context(describe)?;
    let section = elf
        .section_headers
        .iter()
        .find(|header| elf.shdr_strtab.get_at(header.sh_name) == Some(".modinfo"));
    let range = section.and_then(goblin::elf::SectionHeader::file_range);
    let info = range.and_then(|range| bytes.get(range)).unwrap_or_default();
    Ok(fields(info, "firmware"))
}

/// Returns the values of a key in NUL-separated `key=value` fields.
fn fields(info: &[u8], key: &str) -> Vec<String> {
    let texts = info.split(|byte| *byte == 0).filter_map(|field| std::str::from_utf8(field).ok());
    let pairs = texts.filter_map(|field| field.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| value.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wanted_key_is_returned() {
        let info = b"license=GPL\0firmware=a/b.fw\0firmware=c.fw\0depends=\0";
        assert_eq!(fields(info, "firmware"), ["a/b.fw", "c.fw"]);
    }
}
