//! `modules.dep` and `modules.softdep` (modules.dep(5), depmod.d(5)): what needs what.

use std::collections::{BTreeMap, BTreeSet};

use super::aliases::Aliases;
use super::compressed::plain_name;

/// Modules by name.
#[derive(Debug)]
pub(super) struct Index<'a> {
    files: BTreeMap<String, &'a str>,
    needs: BTreeMap<&'a str, Vec<&'a str>>,
    soft: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Index<'a> {
    pub(super) fn parse(dependencies: &'a str, soft: &'a str) -> Self {
        let mut index =
            Self { files: BTreeMap::new(), needs: BTreeMap::new(), soft: BTreeMap::new() };
        for (file, needs) in dependencies.lines().filter_map(|line| line.split_once(':')) {
            index.files.insert(name_of(file), file);
            index.needs.insert(file, needs.split_whitespace().collect());
        }
        for line in soft.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(name)) = (words.next(), words.next()) {
                let pre = words.skip_while(|word| *word != "pre:").skip(1);
                // One module may have several lines.
                let soft: &mut Vec<_> = index.soft.entry(name).or_default();
                soft.extend(pre.take_while(|word| *word != "post:"));
            }
        }
        index
    }

    /// Returns the file of a module, as a path below the module folder.
    pub(super) fn file(&self, name: &str) -> Option<&'a str> {
        self.files.get(&normal(name)).copied()
    }

    /// Appends the files of a module and of everything it needs to `files`, in load order.
    ///
    /// A missing module is built into the kernel, or the kernel lacks it.
    ///
    /// A soft dependency may be an alias, such as `crypto-crc32c` of ext4. Then every module with
    /// that alias is added, because it depends on the machine which one works.
    pub(super) fn add_closure(&self, aliases: &Aliases<'a>, name: &str, files: &mut Vec<String>) {
        let mut closure = Closure { index: self, aliases, begun: BTreeSet::new(), files };
        closure.add(name);
    }
}

/// A closure being collected.
struct Closure<'c, 'a> {
    index: &'c Index<'a>,
    aliases: &'c Aliases<'a>,
    /// Names that have been visited, because soft dependencies may be circular.
    begun: BTreeSet<String>,
    files: &'c mut Vec<String>,
}

impl Closure<'_, '_> {
    fn add(&mut self, name: &str) {
        if !self.begun.insert(normal(name)) {
            return;
        }
        let Some(file) = self.index.file(name) else {
            self.aliases.modules_of(name).into_iter().for_each(|module| self.add(module));
            return;
        };
        if self.files.iter().any(|known| known == file) {
            return;
        }
        for soft in self.index.soft.get(normal(name).as_str()).into_iter().flatten() {
            self.add(soft);
        }
        // The deepest dependency is the last one in its line.
        for need in self.index.needs.get(file).into_iter().flatten().rev() {
            self.add(&name_of(need));
        }
        self.files.push(file.to_owned());
    }
}

/// Returns whether a file is that of a module of this name.
///
/// The name of a module is its file name without folder and suffixes, with `-` as `_`.
pub(crate) fn names(file: &str, name: &str) -> bool {
    name_of(file) == normal(name)
}

fn name_of(file: &str) -> String {
    let name = file.rsplit_once('/').map_or(file, |(_, name)| name);
    normal(plain_name(name).trim_end_matches(".ko"))
}

fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Keeps the lines of `modules.dep` for the packed files, which are no longer compressed.
pub(super) fn keep_dependencies(text: &str, files: &BTreeSet<String>) -> String {
    let kept = text
        .lines()
        .filter(|line| line.split_once(':').is_some_and(|(file, _)| files.contains(file)));
    let lines = kept.map(|line| {
        let (file, needs) = line.split_once(':').unwrap_or((line, ""));
        let needs = needs.split_whitespace().map(plain_name).collect::<Vec<_>>().join(" ");
        let blank = if needs.is_empty() { "" } else { " " };
        [plain_name(file), ":", blank, &needs, "\n"].concat()
    });
    lines.collect()
}

/// Keeps the lines whose word number `position` (from 0) is the name of a packed module.
pub(super) fn keep_named(text: &str, position: usize, files: &BTreeSet<String>) -> String {
    let names: BTreeSet<_> = files.iter().map(|file| name_of(file)).collect();
    let is_packed = |line: &&str| {
        !line.starts_with('#')
            && line
                .split_whitespace()
                .nth(position)
                .is_some_and(|name| names.contains(&normal(name)))
    };
    text.lines().filter(is_packed).flat_map(|line| [line, "\n"]).collect()
}
