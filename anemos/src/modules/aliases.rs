//! `modules.alias` (modules.dep(5)): which modules claim a device.

use std::collections::BTreeMap;

use glob::Pattern;

/// Patterns, grouped by the bus before their first colon.
#[derive(Debug)]
pub(super) struct Aliases<'a> {
    by_bus: BTreeMap<&'a str, Vec<(&'a str, &'a str)>>,
}

impl<'a> Aliases<'a> {
    pub(super) fn parse(text: &'a str) -> Self {
        let mut by_bus: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(pattern), Some(module)) =
                (words.next(), words.next(), words.next())
            {
                by_bus.entry(bus_of(pattern)).or_default().push((pattern, module));
            }
        }
        Self { by_bus }
    }

    /// Returns the modules whose pattern matches a device alias, as in fnmatch(3).
    pub(super) fn modules_of(&self, device: &str) -> Vec<&'a str> {
        let fits =
            |pattern: &str| Pattern::new(pattern).is_ok_and(|pattern| pattern.matches(device));
        let patterns = self.by_bus.get(bus_of(device)).into_iter().flatten();
        patterns.filter(|(pattern, _)| fits(pattern)).map(|(_, module)| *module).collect()
    }
}

fn bus_of(alias: &str) -> &str {
    alias.split_once(':').map_or(alias, |(bus, _)| bus)
}
