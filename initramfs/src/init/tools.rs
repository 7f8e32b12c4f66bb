//! Checks that the deploy environment can execute everything that a payload needs.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use contract::payload::{Description, Kind, examine};

/// Bytes from which the kernel determines what runs a program.
const HEAD: u64 = 4096;
/// How many interpreters of interpreters the kernel follows (execve(2)).
const DEEPEST: usize = 4;

/// Checks the interpreter of `deploy` and the tools of `payload.toml`.
///
/// They are looked up along `path` from the folder `work`. Returns what was found, for people.
pub(super) fn check(payload: &Description, path: &str, work: &Path) -> anyhow::Result<String> {
    let look = |program: &str| find(program, path, work);
    let mut found = Vec::new();
    if let Kind::Deploy { interpreter, program } = &payload.kind {
        for runner in interpreter.iter().chain(program) {
            look(runner).with_context(|| format!("`deploy` is run by {runner}"))?;
        }
        let runner = program.as_ref().or(interpreter.as_ref());
        found.extend(runner.map(|runner| format!("`deploy` is run by {runner}")));
    }
    if payload.kind == Kind::Imgbuild {
        look("sh").context("IMGBUILD is read by sh")?;
    }
    for tool in &payload.settings.tools {
        look(tool).with_context(|| format!("payload.toml asks for {tool}"))?;
    }
    let tools = payload.settings.tools.join(", ");
    found.push(if tools.is_empty() { "no tools are asked for".to_owned() } else { tools });
    Ok(found.join("; "))
}

/// Finds a program as execvp(3) does, by its path or along `path`; it must be executable.
fn find(program: &str, path: &str, work: &Path) -> anyhow::Result<()> {
    let folders = path.split(':').map(|folder| work.join(folder).join(program));
    let places: Vec<PathBuf> =
        if program.contains('/') { vec![work.join(program)] } else { folders.collect() };
    let Some(place) = places.iter().find(|place| is_executable(place)) else {
        match places.iter().find(|place| place.exists()) {
            Some(there) => bail!("{} is not executable", there.display()),
            None if program.contains('/') => bail!("it is not in the deploy environment"),
            None => bail!("it is in no folder of PATH ({path})"),
        }
    };
    runs(place, DEEPEST)
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// Checks that a program's `#!` interpreter, or its loader, exists, too.
fn runs(program: &Path, deepest: usize) -> anyhow::Result<()> {
    let describe = || format!("reading {}", program.display());
    let mut head = Vec::new();
    let file = File::open(program).with_context(describe)?;
    file.take(HEAD).read_to_end(&mut head).with_context(describe)?;
    let Ok(Kind::Deploy { interpreter: Some(runner), .. }) = examine(&head) else {
        // Static, or of a kind that only the kernel knows.
        return Ok(());
    };
    let runner = Path::new(&runner);
    if !is_executable(runner) {
        bail!("{} is run by {}, which is not there", program.display(), runner.display());
    }
    if deepest == 0 { Ok(()) } else { runs(runner, deepest - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_along_the_path_and_what_runs_it_too() {
        let work = tempfile::tempdir().unwrap();
        for (name, text, mode) in [
            ("bin/good", "#!/bin/sh\n", 0o755),
            ("bin/closed", "#!/bin/sh\n", 0o644),
            ("bin/orphan", "#!/no/such/shell\n", 0o755),
            ("bin/nested", "#!WORK/bin/orphan\n", 0o755),
            ("late/closed", "#!/bin/sh\n", 0o755),
        ] {
            let path = work.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = text.replace("WORK", &work.path().display().to_string());
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        for (program, path, want) in [
            ("good", "/nowhere:bin", ""),
            ("bin/good", "/nowhere", ""),
            ("good", "/nowhere", "it is in no folder of PATH (/nowhere)"),
            ("/no/such/shell", "bin", "it is not in the deploy environment"),
            ("closed", "bin", "WORK/bin/closed is not executable"),
            ("closed", "bin:late", ""),
            ("orphan", "bin", "WORK/bin/orphan is run by /no/such/shell, which is not there"),
            ("nested", "bin", "WORK/bin/orphan is run by /no/such/shell, which is not there"),
        ] {
            let said = find(program, path, work.path()).err().map(|error| error.to_string());
            let want = want.replace("WORK", &work.path().display().to_string());
            assert_eq!(said.unwrap_or_default(), want, "{program} {path}");
        }
    }
}
