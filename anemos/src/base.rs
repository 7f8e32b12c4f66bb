//! The built-in base: shell, core tools and disk tools of the system that builds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io::Read};

use anyhow::Context;

use crate::command;
use crate::elf::Loader;
use crate::files::words;
use crate::member::{Member, Source};

/// The tools that replace busybox.
const CORE: &str = include_str!("base/core.txt");
/// The tools that are added if the system has them.
const TOOLS: &str = include_str!("base/tools.txt");

/// Where programs are looked up, in this order: the same as `PATH` of `deploy`.
const PROGRAM_FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// Files that tools read; without its own, mke2fs(8) makes other file systems.
const SETTINGS: [&str; 2] = ["/etc/mke2fs.conf", "/etc/ld.so.cache"];

/// Files that the C library needs to look up names.
///
/// Without the last one, older C libraries ask libraries that do not exist here (nsswitch.conf(5)).
const NAMES: [(&str, &str); 3] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
    ("etc/group", "root:x:0:\ntty:x:5:\ndisk:x:6:\n"),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
];

/// Names that are links in current systems, and so in ours, whatever the source has.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Collects the members of the built-in base below `root`, with the `extra` tools of a payload.
///
/// Missing tools are left out; the caller checks whether that matters.
pub(crate) fn collect(root: &Path, extra: &[String]) -> anyhow::Result<Vec<Member>> {
    let mut base = Base { root: root.to_owned(), places: BTreeMap::new() };
    let applets = base.add_shell()?;
    for tool in words(TOOLS).chain(extra.iter().map(String::as_str)) {
        base.add_program(tool)?;
    }
    base.add_libraries()?;
    for path in SETTINGS {
        if root.join(path.trim_start_matches('/')).exists() {
            base.add_file(path)?;
        }
    }
    for applet in applets {
        base.places.entry(applet).or_insert_with(|| Place::Link("busybox".to_owned()));
    }
    base.into_members()
}

/// What is at one path of the base.
#[derive(Debug)]
enum Place {
    File(PathBuf),
    Link(String),
}

struct Base {
    root: PathBuf,
    /// By the name in the archive.
    places: BTreeMap<String, Place>,
}

impl Base {
    /// Adds busybox and returns the names of its applets, or adds the core tools.
    fn add_shell(&mut self) -> anyhow::Result<Vec<String>> {
        let Some(busybox) = self.find("busybox") else {
            words(CORE).try_for_each(|tool| self.add_program(tool))?;
            return Ok(Vec::new());
        };
        let inside = self.inside(&busybox);
        let list =
            command::output(&inside, ["--list"]).context("asking busybox for its applets")?;
        self.places.insert("usr/bin/busybox".to_owned(), Place::File(inside));
        Ok(list.lines().map(|applet| format!("usr/bin/{applet}")).collect())
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn find(&self, program: &str) -> Option<String> {
        if program.starts_with('/') {
            return self.inside(program).is_file().then(|| program.to_owned());
        }
        let places = PROGRAM_FOLDERS.iter().map(|folder| format!("{folder}/{program}"));
        places.into_iter().find(|path| self.inside(path).is_file())
    }

    /// Adds a program, if it exists, with the interpreter if it is a script.
    fn add_program(&mut self, program: &str) -> anyhow::Result<()> {
        let Some(path) = self.find(program) else { return Ok(()) };
        self.add_file(&path)?;
        if let Some(interpreter) = interpreter_of(&self.inside(&path))?
            && !self.places.contains_key(&merged(&interpreter))
            && self.inside(&interpreter).is_file()
        {
            self.add_file(&interpreter)?;
        }
        Ok(())
    }

    /// Adds a file at its path, and a link to it if `path` itself is one.
    fn add_file(&mut self, path: &str) -> anyhow::Result<()> {
        let file = self.inside(path);
        let real =
            fs::canonicalize(&file).with_context(|| format!("reading {}", file.display()))?;
        let outside = real.strip_prefix(&self.root).unwrap_or(&real);
        let (name, target) = (merged(path), merged(&outside.to_string_lossy()));
        if name != target {
            self.places.insert(name, Place::Link(format!("/{target}")));
        }
        self.places.insert(target, Place::File(real));
        Ok(())
    }

    fn add_libraries(&mut self) -> anyhow::Result<()> {
        let files = self.places.values().filter_map(|place| match place {
            Place::File(path) => path.strip_prefix(&self.root).ok(),
            Place::Link(_) => None,
        });
        let programs: BTreeSet<_> = files.map(|path| format!("/{}", path.display())).collect();
        let libraries = Loader::new(&self.root).closure(&programs)?;
        libraries.iter().try_for_each(|library| self.add_file(library))
    }

    fn into_members(self) -> anyhow::Result<Vec<Member>> {
        let mut members: Vec<_> = MERGED
            .iter()
            .map(|name| Member::new(*name, Source::Symlink(format!("usr/{name}"))))
            .collect();
        let missing = NAMES.iter().filter(|(name, _)| !self.places.contains_key(*name));
        members.extend(missing.map(|(name, text)| Member::new(*name, bytes(text))));
        for (name, place) in self.places {
            let source = match place {
                Place::File(path) => Source::file(path)?,
                Place::Link(target) => Source::Symlink(target),
            };
            members.push(Member::new(name, source));
        }
        Ok(members)
    }
}

fn bytes(text: &str) -> Source {
    Source::Bytes { bytes: text.as_bytes().to_vec(), permissions: 0o644 }
}

/// Returns the name in the archive, which is below `usr`.
///
/// `bin`, `sbin`, `lib` and `lib64` are links to there.
fn merged(path: &str) -> String {
    let name = path.trim_start_matches('/');
    let first = name.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) { format!("usr/{name}") } else { name.to_owned() }
}

/// Returns the interpreter of a script, from its first line (execve(2)).
fn interpreter_of(path: &Path) -> anyhow::Result<Option<String>> {
    let mut start = Vec::new();
    let file = fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
    file.take(256)
        .read_to_end(&mut start)
        .with_context(|| format!("reading {}", path.display()))?;
    let line = start.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    Ok(line.strip_prefix("#!").and_then(|rest| rest.split_whitespace().next()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(members: &[Member]) -> BTreeSet<&str> {
        members.iter().map(|member| member.name.as_str()).collect()
    }

    #[test]
    fn paths_go_below_usr_where_the_links_lead() {
        for (path, want) in [
            ("/sbin/mke2fs", "usr/sbin/mke2fs"),
            ("/usr/bin/tar", "usr/bin/tar"),
            ("/lib64/ld-linux-x86-64.so.2", "usr/lib64/ld-linux-x86-64.so.2"),
            ("/etc/mke2fs.conf", "etc/mke2fs.conf"),
        ] {
            assert_eq!(merged(path), want);
        }
    }

    #[test]
    fn the_base_of_this_system_has_shell_and_disk_tools() {
        let members = collect(Path::new("/"), &["sha512sum".to_owned()]).unwrap();
        let names = names(&members);
        for name in ["usr/sbin/mke2fs", "etc/mke2fs.conf", "usr/bin/sha512sum", "lib", "etc/passwd"]
        {
            assert!(names.contains(name), "{name} is missing");
        }
        assert!(names.iter().any(|name| *name == "usr/bin/sh" || *name == "usr/bin/dash"));
    }

    #[test]
    fn a_system_without_busybox_gives_its_own_core_tools() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [("bin/sh", "#!/bin/dash\n"), ("bin/dash", ""), ("usr/bin/cat", "")] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let members = collect(&fs::canonicalize(root.path()).unwrap(), &[]).unwrap();
        assert_eq!(
            names(&members),
            [
                "bin",
                "etc/group",
                "etc/nsswitch.conf",
                "etc/passwd",
                "lib",
                "lib64",
                "sbin",
                "usr/bin/cat",
                "usr/bin/dash",
                "usr/bin/sh"
            ]
            .into()
        );
    }
}
