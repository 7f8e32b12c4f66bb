//! Finds out from the first bytes of `deploy` what the kernel needs to run it.

use crate::payload::Kind;

/// The kernel reads no more of a `#!` line (`BINPRM_BUF_SIZE`).
const LINE_MAX: usize = 255;
const PT_INTERP: u32 = 3;

/// Finds the interpreter; the error says why the kernel would not run the file.
pub fn examine(head: &[u8]) -> Result<Kind, String> {
    if head.is_empty() {
        return Err("it is empty".to_owned());
    }
    if let Some(rest) = head.strip_prefix(b"#!") {
        return script(rest);
    }
    if head.starts_with(b"\x7fELF") {
        let interpreter = loader(head);
        return Ok(Kind::Deploy { interpreter, program: None });
    }
    Err("it begins with neither #! nor an ELF header".to_owned())
}

fn script(rest: &[u8]) -> Result<Kind, String> {
    let line = rest.iter().take(LINE_MAX).take_while(|byte| **byte != b'\n');
    let line: Vec<u8> = line.copied().collect();
    if line.ends_with(b"\r") {
        return Err("its lines end as on DOS, so its interpreter is not found".to_owned());
    }
    let line = String::from_utf8_lossy(&line).into_owned();
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let interpreter = words.next().unwrap_or_default().to_owned();
    if !interpreter.starts_with('/') {
        return Err(format!("its #! line names no absolute path ({interpreter:?})"));
    }
    let program = interpreter.ends_with("/env").then(|| looked_up(words)).flatten();
    Ok(Kind::Deploy { interpreter: Some(interpreter), program })
}

/// Returns the program in `env [-S] [NAME=value] PROGRAM`.
fn looked_up<'a>(words: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut words = words.filter(|word| !word.starts_with('-') && !word.contains('='));
    words.next().map(str::to_owned)
}

/// Returns the program header `PT_INTERP` of a little-endian executable; `None` if it is static.
fn loader(head: &[u8]) -> Option<String> {
    let wide = *head.get(4)? == 2;
    let (table_at, size_at, count_at) = if wide { (32, 54, 56) } else { (28, 42, 44) };
    let (offset_at, length_at) = if wide { (8, 32) } else { (4, 16) };
    let word = |at: usize| number(head, at, if wide { 8 } else { 4 });
    let table = word(table_at)?;
    let (size, count) = (number(head, size_at, 2)?, number(head, count_at, 2)?);
    (0..count).find_map(|index| {
        let entry = table.checked_add(index.checked_mul(size)?)?;
        if number(head, entry, 4)? != PT_INTERP as usize {
            return None;
        }
        let start = word(entry.checked_add(offset_at)?)?;
        let length = word(entry.checked_add(length_at)?)?;
        let name = head.get(start..start.checked_add(length)?)?;
        let name = name.split(|byte| *byte == 0).next()?;
        Some(String::from_utf8_lossy(name).into_owned())
    })
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    let value = field.iter().rev().fold(0_u64, |value, byte| (value << 8) | u64::from(*byte));
    usize::try_from(value).ok()
}
