//! The names of a payload's members, with the rules that keep all of them in their own folder.

use std::collections::HashMap;

use crate::payload::PayloadError;

/// The longest component (`NAME_MAX`) and link (`PATH_MAX`) that the kernel accepts.
const COMPONENT_MAX: usize = 255;
const NAME_MAX: usize = 2048;
const TARGET_MAX: usize = 4095;
/// Maximum total bytes of names and link targets that are kept.
const TEXT_MAX: usize = 16 << 20;
/// As many links as the kernel follows (MAXSYMLINKS).
const HOPS_MAX: usize = 40;

/// What a name stands for.
#[derive(Debug)]
pub(super) enum Node {
    /// A folder; `listed` if it is a member itself, not only part of a name.
    Folder {
        listed: bool,
    },
    File,
    Link(Vec<u8>),
}

/// All members so far, by name.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: HashMap<Vec<u8>, Node>,
    /// Names without a folder, in order of appearance.
    top: Vec<Vec<u8>>,
    text: usize,
}

/// Turns the name in a header into `a/b/c`; empty for the top folder itself (`./`).
pub(super) fn normalise(raw: &[u8]) -> Result<Vec<u8>, PayloadError> {
    let member = || show(raw);
    let bad = |reason| PayloadError::BadName { member: member(), reason };
    if raw.is_empty() {
        return Err(bad("empty"));
    }
    if raw.starts_with(b"/") {
        return Err(PayloadError::AbsoluteName { member: member() });
    }
    let components: Vec<&[u8]> = components(raw).collect();
    if components.contains(&b"..".as_slice()) {
        return Err(PayloadError::ParentInName { member: member() });
    }
    let too_long = components.iter().any(|component| component.len() > COMPONENT_MAX);
    if too_long || raw.len() > NAME_MAX {
        return Err(bad("too long"));
    }
    if raw.contains(&0) {
        return Err(bad("interrupted by a zero byte"));
    }
    Ok(components.join(b"/".as_slice()))
}

impl Tree {
    /// Adds a member under its normalised name.
    pub(super) fn add(&mut self, name: &[u8], node: Node) -> Result<(), PayloadError> {
        self.add_parents(name)?;
        self.text += name.len() + if let Node::Link(target) = &node { target.len() } else { 0 };
        if self.text > TEXT_MAX {
            let limit = self.nodes.len() as u64;
            return Err(PayloadError::TooManyMembers { member: show(name), limit });
        }
        let known = self.nodes.get(name);
        let first_mention = matches!(
            (known, &node),
            (None, _) | (Some(Node::Folder { listed: false }), Node::Folder { .. })
        );
        if !first_mention {
            return Err(PayloadError::Twice { member: show(name) });
        }
        self.insert(name, node);
        Ok(())
    }

    /// Checks the target of a symbolic link by itself; where it leads is only known at the end.
    pub(super) fn check_target(name: &[u8], target: &[u8]) -> Result<(), PayloadError> {
        let bad = |reason| Err(PayloadError::BadName { member: show(name), reason });
        match target {
            [] => bad("that of a link to nothing"),
            [b'/', ..] => Err(leaves(name, target)),
            _ if target.len() > TARGET_MAX => bad("that of a link whose target is too long"),
            _ => Ok(()),
        }
    }

    /// Returns the normalised target of a hard link, which must be an earlier file.
    pub(super) fn hard_target(&self, name: &[u8], target: &[u8]) -> Result<Vec<u8>, PayloadError> {
        let normal = match normalise(target) {
            Err(PayloadError::AbsoluteName { .. } | PayloadError::ParentInName { .. }) => {
                return Err(leaves(name, target));
            }
            other => other?,
        };
        if matches!(self.nodes.get(&normal), Some(Node::File)) {
            return Ok(normal);
        }
        Err(PayloadError::HardLinkTarget { member: show(name), target: show(target) })
    }

    /// Returns the names at the top.
    pub(super) fn top(&self) -> &[Vec<u8>] {
        &self.top
    }

    /// Returns what lies at a name.
    pub(super) fn node(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(name)
    }

    /// Returns the names directly in a folder, in order, for messages.
    pub(super) fn names_in(&self, folder: &[u8]) -> Vec<String> {
        let prefix = if folder.is_empty() { Vec::new() } else { [folder, b"/"].concat() };
        let mut names: Vec<String> = self
            .nodes
            .keys()
            .filter_map(|name| name.strip_prefix(prefix.as_slice()))
            .filter(|rest| !rest.contains(&b'/'))
            .map(show)
            .collect();
        names.sort_unstable();
        names
    }

    /// Checks that every link, followed through all others, stays below `top`.
    pub(super) fn check_links(&self, top: &[u8]) -> Result<(), PayloadError> {
        let depth = components(top).count();
        let mut links: Vec<_> = self
            .nodes
            .iter()
            .filter_map(|(name, node)| match node {
                Node::Link(target) => Some((name, target)),
                _ => None,
            })
            .collect();
        // The first in order is named, so that the same payload is always refused in the same
        // words.
        links.sort_unstable();
        for (name, target) in links {
            if !self.stays(name, target, depth) {
                return Err(leaves(name, target));
            }
        }
        Ok(())
    }

    fn stays(&self, name: &[u8], target: &[u8], depth: usize) -> bool {
        let mut at: Vec<&[u8]> = components(name).collect();
        at.pop();
        let mut ahead: Vec<&[u8]> = reversed(target);
        let mut hops = 0;
        while let Some(component) = ahead.pop() {
            if component == b".." {
                if at.len() <= depth {
                    return false;
                }
                at.pop();
                continue;
            }
            at.push(component);
            if let Some(Node::Link(next)) = self.nodes.get(&at.join(b"/".as_slice())) {
                hops += 1;
                if hops > HOPS_MAX {
                    // A loop leads nowhere, so it does not lead outside either.
                    return true;
                }
                at.pop();
                ahead.extend(reversed(next));
            }
        }
        true
    }

    fn insert(&mut self, name: &[u8], node: Node) {
        let new = self.nodes.insert(name.to_vec(), node).is_none();
        if new && !name.contains(&b'/') {
            self.top.push(name.to_vec());
        }
    }

    fn add_parents(&mut self, name: &[u8]) -> Result<(), PayloadError> {
        for (at, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let parent = name.get(..at).unwrap_or_default();
            let what = match self.nodes.get(parent) {
                Some(Node::Folder { .. }) => continue,
                None => {
                    self.text += parent.len();
                    self.insert(parent, Node::Folder { listed: false });
                    continue;
                }
                Some(Node::Link(_)) => "a symbolic link",
                Some(Node::File) => "a file",
            };
            let (member, parent) = (show(name), show(parent));
            return Err(PayloadError::ParentNoFolder { member, parent, what });
        }
        Ok(())
    }
}

/// Formats a name for messages, on one line whatever it contains.
pub(super) fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

fn leaves(name: &[u8], target: &[u8]) -> PayloadError {
    PayloadError::LinkLeaves { member: show(name), target: show(target) }
}

fn components(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

fn reversed(target: &[u8]) -> Vec<&[u8]> {
    let mut parts: Vec<_> = components(target).collect();
    parts.reverse();
    parts
}
