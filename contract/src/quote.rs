//! Quotes words for a POSIX shell.

/// Quotes a word if necessary; GRUB reads single quotes the same way.
pub fn word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "%+,-./:=@_^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    String::from_utf8_lossy(&bytes(word.as_bytes())).into_owned()
}

/// Quotes any bytes.
pub fn bytes(bytes: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = bytes.split(|byte| *byte == b'\'').collect();
    [b"'", &*parts.join(&br"'\''"[..]), b"'"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_change_is_quoted() {
        for (plain, want) in [
            ("a-b_c.d/e:f=g,h@i%j+k^l", "a-b_c.d/e:f=g,h@i%j+k^l"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("'", r"''\'''"),
            ("ä", "'ä'"),
        ] {
            assert_eq!(word(plain), want, "{plain:?}");
        }
        assert_eq!(bytes(b"a'\xff"), b"'a'\\''\xff'");
    }
}
