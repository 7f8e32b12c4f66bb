//! Content of the full base initramfs, as data.

/// Debian packages, one a line.
pub const PACKAGES: &str = include_str!("base/packages.txt");

/// Names of files that are left out, one a line; one that ends in `*` is the start of names.
pub const OMIT: &str = include_str!("base/omit.txt");

/// Returns the lines of one of the texts, without comments and blank ones.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Says whether the full base leaves out a member.
pub fn is_omitted(name: &str) -> bool {
    lines(OMIT).any(|line| match line.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => {
            name.strip_prefix(line).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{OMIT, PACKAGES, is_omitted, lines};

    #[test]
    fn a_name_and_all_below_it_are_left_out() {
        for (name, want) in [
            ("usr/share/doc", true),
            ("usr/share/doc/bash/README", true),
            ("usr/share/documentation", false),
            ("dev", false),
            ("dev/console", true),
            ("etc/ssh/ssh_host_rsa_key", true),
            ("etc/ssh/ssh_config", false),
        ] {
            assert_eq!(is_omitted(name), want, "{name}");
        }
    }

    #[test]
    fn every_line_stands_once() {
        for text in [PACKAGES, OMIT] {
            let mut seen = std::collections::BTreeSet::new();
            for line in lines(text) {
                assert!(seen.insert(line), "{line} is there twice");
                assert!(!line.contains(' ') && !line.starts_with('/'), "{line:?}");
            }
        }
    }
}
