//! The content of the full base initramfs, as data.

/// The content of a base, by distribution.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Packages, one per line.
    pub packages: &'static str,
    /// Names of files to leave out, one per line; one that ends in `*` is a prefix of names.
    pub omit: &'static str,
}

/// The content of the Debian base.
pub const DEBIAN: Content =
    Content { packages: include_str!("base/packages.txt"), omit: include_str!("base/omit.txt") };

/// The content of the Alpine base.
pub const ALPINE: Content = Content {
    packages: include_str!("base/packages-alpine.txt"),
    omit: include_str!("base/omit-alpine.txt"),
};

/// Returns the lines of one of the texts, without comments and blank ones.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

impl Content {
    /// Returns whether the full base leaves out a member.
    pub fn is_omitted(self, name: &str) -> bool {
        lines(self.omit).any(|line| match line.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => {
                name.strip_prefix(line).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ALPINE, DEBIAN, lines};

    #[test]
    fn a_name_and_all_below_it_are_left_out() {
        for (name, want) in [
            ("usr/share/doc", true),
            ("usr/share/doc/bash/README", true),
            ("usr/share/documentation", false),
            ("dev", false),
            ("dev/console", true),
        ] {
            for content in [DEBIAN, ALPINE] {
                assert_eq!(content.is_omitted(name), want, "{name}");
            }
        }
        assert!(DEBIAN.is_omitted("etc/ssh/ssh_host_rsa_key"));
        assert!(!DEBIAN.is_omitted("etc/ssh/ssh_config"));
    }

    #[test]
    fn every_line_stands_once() {
        for text in [DEBIAN.packages, DEBIAN.omit, ALPINE.packages, ALPINE.omit] {
            let mut seen = std::collections::BTreeSet::new();
            for line in lines(text) {
                assert!(seen.insert(line), "{line} is there twice");
                assert!(!line.contains(' ') && !line.starts_with('/'), "{line:?}");
            }
        }
    }
}
