//! Resolves names in an archive through the links that come before them.
//!
//! The kernel replaces a link by a folder of the same name (Linux, `init/initramfs.c`,
//! `clean_path`): a folder `lib` after a link `lib` to `usr/lib` would make all libraries
//! disappear.

use std::collections::HashMap;

/// The number of links that the kernel follows (`path_resolution(7)`).
const HOPS_MAX: usize = 40;

/// Targets of the links so far, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Links(HashMap<String, String>);

/// What to do about a link at the end of a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Last {
    /// Follows it, as for a folder.
    Follow,
    /// Keeps it, because the member replaces the link.
    Keep,
}

impl Links {
    /// Records a member, with its target if it is a link.
    pub(super) fn note(&mut self, name: &str, target: Option<&str>) {
        match target {
            Some(target) => self.0.insert(name.to_owned(), target.to_owned()),
            None => self.0.remove(name),
        };
    }

    /// Returns the name without links in its path; circular links stay.
    pub(super) fn place(&self, name: &str, last: Last) -> String {
        let mut at: Vec<String> = Vec::new();
        let mut ahead = reversed(name);
        let mut hops = 0;
        while let Some(component) = ahead.pop() {
            if component == ".." {
                at.pop();
                continue;
            }
            at.push(component);
            if ahead.is_empty() && last == Last::Keep {
                break;
            }
            let Some(target) = self.0.get(&at.join("/")) else { continue };
            hops += 1;
            if hops > HOPS_MAX {
                return name.to_owned();
            }
            at.pop();
            if target.starts_with('/') {
                at.clear();
            }
            ahead.extend(reversed(target));
        }
        at.join("/")
    }
}

fn reversed(path: &str) -> Vec<String> {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.rev().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_where_the_links_before_them_lead() {
        let mut links = Links::default();
        for (name, target) in [
            ("lib", "usr/lib"),
            ("var/run", "/run"),
            ("usr/lib/up", "../up"),
            ("a", "b"),
            ("b", "a"),
        ] {
            links.note(name, Some(target));
        }
        for (name, last, want) in [
            ("lib/libz.so.1", Last::Keep, "usr/lib/libz.so.1"),
            ("lib", Last::Follow, "usr/lib"),
            ("lib", Last::Keep, "lib"),
            ("var/run/x", Last::Keep, "run/x"),
            ("lib/up/x", Last::Keep, "usr/up/x"),
            ("a/x", Last::Keep, "a/x"),
            ("etc/hosts", Last::Keep, "etc/hosts"),
        ] {
            assert_eq!(links.place(name, last), want, "{name} {last:?}");
        }
        links.note("lib", None);
        assert_eq!(links.place("lib/x", Last::Keep), "lib/x");
    }
}
