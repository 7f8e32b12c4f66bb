//! Finds the interpreter and the libraries of programs in the same way as ld.so(8).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use goblin::elf::Elf;

/// Folders in which the loaders of the common distributions look without configuration.
const DEFAULT_FOLDERS: [&str; 6] = [
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
];

/// Libraries that no header names, because the C library loads them at run time.
///
/// It does so when a thread is cancelled, and when users or hosts are looked up according to
/// nsswitch.conf(5). glibc has had those lookups built in since 2.34, musl always.
const IMPLICIT: [&str; 3] = ["libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2"];

/// The machine that a file is for: word size and processor.
///
/// A loader skips libraries for other machines, which systems with several architectures also have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Machine {
    class: u8,
    processor: [u8; 2],
}

impl Machine {
    /// Reads the beginning of a file (`elf(5)`, `EI_CLASS` and `e_machine`); none if it is not ELF.
    fn of(header: &[u8]) -> Option<Self> {
        let [0x7f, b'E', b'L', b'F', class, rest @ ..] = header else { return None };
        let processor = rest.get(13..15)?.try_into().ok()?;
        Some(Self { class: *class, processor })
    }

    fn read(path: &Path) -> Option<Self> {
        let mut header = [0; 20];
        File::open(path).ok()?.read_exact(&mut header).ok()?;
        Self::of(&header)
    }
}

/// What a file requests from the loader.
#[derive(Debug, Default, Eq, PartialEq)]
struct Needs {
    machine: Option<Machine>,
    interpreter: Option<String>,
    libraries: Vec<String>,
    folders: Vec<String>,
}

/// Finds libraries below a root folder.
#[derive(Debug)]
pub(crate) struct Loader {
    root: PathBuf,
    folders: Vec<String>,
}

impl Loader {
    /// Makes a loader with the folders that `etc/ld.so.conf` below `root` configures.
    pub(crate) fn new(root: &Path) -> Self {
        let mut folders = configured_folders(root);
        folders.extend(DEFAULT_FOLDERS.map(str::to_owned));
        Self { root: root.to_owned(), folders }
    }

    /// Returns the files that `programs` need at run time, as absolute paths below the root.
    ///
    /// A program that is not an ELF file (a script) needs nothing here.
    pub(crate) fn closure(&self, programs: &BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut open: Vec<String> = programs.iter().cloned().collect();
        let mut dynamic = false;
        while let Some(path) = open.pop() {
            let needs = self.needs(&path).with_context(|| format!("reading {path}"))?;
            let mut wanted: Vec<_> = needs.interpreter.into_iter().collect();
            for library in &needs.libraries {
                let place = self.find(library, &needs.folders, needs.machine);
                wanted.push(place.with_context(|| format!("finding {library} for {path}"))?);
            }
            if !dynamic && !wanted.is_empty() {
                dynamic = true;
                wanted.extend(self.implicit(needs.machine));
            }
            open.extend(wanted.into_iter().filter(|one| found.insert(one.clone())));
        }
        Ok(found)
    }

    /// Returns the existing ones of the libraries that no header names.
    fn implicit(&self, machine: Option<Machine>) -> impl Iterator<Item = String> {
        IMPLICIT.iter().filter_map(move |library| self.find(library, &[], machine))
    }

    fn needs(&self, path: &str) -> anyhow::Result<Needs> {
        let file = self.root.join(path.trim_start_matches('/'));
        let bytes = fs::read(&file)?;
        if !bytes.starts_with(b"\x7fELF") {
            return Ok(Needs::default());
        }
        let elf = Elf::parse(&bytes)?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let origin = Path::new("/").join(folder.strip_prefix(&self.root).unwrap_or(folder));
        let lists = elf.runpaths.iter().chain(&elf.rpaths);
        let folders = lists
            .flat_map(|list| list.split(':'))
            .map(|entry| entry.replace("$ORIGIN", &origin.to_string_lossy()));
        Ok(Needs {
            machine: Machine::of(&bytes),
            interpreter: elf.interpreter.map(str::to_owned),
            libraries: elf.libraries.iter().map(|&name| name.to_owned()).collect(),
            folders: folders.collect(),
        })
    }

    fn find(
        &self,
        library: &str,
        own_folders: &[String],
        machine: Option<Machine>,
    ) -> Option<String> {
        let places = own_folders.iter().chain(&self.folders);
        places.map(|folder| format!("{}/{library}", folder.trim_end_matches('/'))).find(|path| {
            let file = self.root.join(path.trim_start_matches('/'));
            file.exists() && (machine.is_none() || Machine::read(&file) == machine)
        })
    }
}

/// Returns the folders of `/etc/ld.so.conf` and of the files that it includes.
fn configured_folders(root: &Path) -> Vec<String> {
    // Without the file, as on musl systems, there are only the default folders.
    let main = fs::read_to_string(root.join("etc/ld.so.conf")).unwrap_or_default();
    let mut texts = vec![main.clone()];
    for pattern in main.lines().filter_map(|line| line.strip_prefix("include ")) {
        let pattern = root.join(pattern.trim().trim_start_matches('/'));
        let files = glob::glob(&pattern.to_string_lossy()).into_iter().flatten();
        texts.extend(files.filter_map(|file| fs::read_to_string(file.ok()?).ok()));
    }
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    lines.filter(|line| line.starts_with('/')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closure_of_a_program_is_what_ldd_lists() {
        let program =
            ["/usr/sbin/mke2fs", "/sbin/mke2fs"].into_iter().find(|p| Path::new(p).exists());
        let program = program.expect("e2fsprogs is installed");
        let found = Loader::new(Path::new("/")).closure(&[program.to_owned()].into()).unwrap();
        #[expect(clippy::disallowed_methods, reason = "the real tool is the other side")]
        let ldd = std::process::Command::new("ldd").arg(program).output().unwrap();
        let text = String::from_utf8(ldd.stdout).unwrap();
        let listed: BTreeSet<_> =
            text.split_whitespace().filter(|word| word.starts_with('/')).collect();
        assert!(!listed.is_empty(), "{text}");
        for path in listed {
            assert!(found.contains(path), "{path} is missing in {found:?}");
        }
    }

    #[test]
    fn what_the_c_library_loads_by_itself_goes_along_where_it_is_there() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib64")).unwrap();
        for (added, want) in [
            ("libc.so.6", &[][..]),
            ("libnss_files.so.2", &["libnss_files.so.2"]),
            ("libgcc_s.so.1", &["libgcc_s.so.1", "libnss_files.so.2"]),
            ("libnss_dns.so.2", &["libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2"]),
        ] {
            fs::write(root.path().join("usr/lib64").join(added), "").unwrap();
            let found: Vec<_> = Loader::new(root.path()).implicit(None).collect();
            let want: Vec<_> = want.iter().map(|name| format!("/usr/lib64/{name}")).collect();
            assert_eq!(found, want, "{added}");
        }
    }

    #[test]
    fn libraries_for_another_machine_are_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let file = |class: u8, processor: u8| {
            let mut header = [0; 20];
            header[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', class]);
            header[18] = processor;
            header
        };
        let (i386, x86_64) = (file(1, 3), file(2, 62));
        for (folder, header) in [("lib/i386-linux-gnu", i386), ("usr/lib64", x86_64)] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("libc.so.6"), header).unwrap();
        }
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/ld.so.conf"), "/lib/i386-linux-gnu\n").unwrap();
        let loader = Loader::new(root.path());
        for (header, want) in
            [(i386, "/lib/i386-linux-gnu/libc.so.6"), (x86_64, "/usr/lib64/libc.so.6")]
        {
            let found = loader.find("libc.so.6", &[], Machine::of(&header));
            assert_eq!(found.as_deref(), Some(want));
        }
        assert_eq!(loader.find("libc.so.6", &[], Machine::of(&file(2, 183))), None);
    }

    #[test]
    fn a_script_needs_no_library() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("tool"), "#!/bin/sh\n").unwrap();
        let found = Loader::new(root.path()).closure(&["/tool".to_owned()].into()).unwrap();
        assert_eq!(found, BTreeSet::new());
    }

    #[test]
    fn included_folders_are_searched() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/ld.so.conf.d")).unwrap();
        fs::write(root.path().join("etc/ld.so.conf"), "include /etc/ld.so.conf.d/*.conf\n/opt/a\n")
            .unwrap();
        fs::write(root.path().join("etc/ld.so.conf.d/b.conf"), "# b\n/opt/b\n").unwrap();
        assert_eq!(configured_folders(root.path()), ["/opt/a", "/opt/b"]);
    }
}
