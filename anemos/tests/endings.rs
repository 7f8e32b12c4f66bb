//! Tests that results tell the truth however a run ends.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const BINARY: &str = env!("CARGO_BIN_EXE_anemos");

#[expect(clippy::disallowed_methods, reason = "the one place of this file that runs the binary")]
fn anemos(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache"));
    command
}

/// Makes a folder with a payload in it, and results of an earlier run that passed.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("making a folder");
    let payload = folder.path().join("payload");
    fs::create_dir(&payload).expect("making the payload");
    fs::write(payload.join("deploy"), "#!/bin/sh\n").expect("writing deploy");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(payload.join("deploy"), executable).expect("making it executable");
    for name in ["r.json", "r.xml", "e/verdict.json", "e/report.html"] {
        fs::create_dir_all(folder.path().join("e")).expect("making a folder");
        fs::write(folder.path().join(name), "an old passed").expect("writing an old result");
    }
    folder
}

#[test]
fn a_run_that_could_not_be_tried_leaves_no_old_result() {
    let results = ["--json", "r.json", "--junit", "r.xml", "--evidence", "e"];
    for (name, arguments, path, want) in [
        ("no tools", vec!["payload"], "/nowhere", (4, "broken", "not-tried")),
        ("no payload", vec!["none.tar.gz"], "/usr/bin:/bin", (4, "broken", "not-tried")),
        ("no tarball", vec!["e/report.html"], "/usr/bin:/bin", (3, "failed", "refused")),
        ("too small", vec!["payload", "--memory", "1k"], "/bin", (3, "failed", "refused")),
    ] {
        let folder = folder();
        let arguments = [&["test"], &arguments[..], &results].concat();
        let output = anemos(folder.path(), &arguments).env("PATH", path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (code, verdict, class) = want;
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        let text = fs::read_to_string(folder.path().join("r.json")).unwrap();
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (&result["verdict"], &result["class"]),
            (&verdict.into(), &class.into()),
            "{name}"
        );
        let reason = result["reason"].as_str().unwrap();
        assert!(said.contains(&format!("error: {reason}")), "{name}: {reason} is not in {said}");
        let text = fs::read_to_string(folder.path().join("r.xml")).unwrap();
        assert!(text.contains("tests=\"1\"") && !text.contains("old passed"), "{name}: {text}");
    }
}

/// Starts a command that waits for a lock, and returns it with what it says about that.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn waits(
    folder: &Path,
    lock: &Path,
    arguments: &[&str],
) -> (File, std::process::Child, BufReader<std::process::ChildStderr>, String) {
    fs::create_dir_all(lock.parent().expect("a folder")).expect("making the cache");
    fs::write(lock, std::process::id().to_string()).expect("writing the lock");
    let held = File::open(lock).expect("opening the lock");
    held.lock().expect("taking the lock");
    let mut child = anemos(folder, arguments)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("starting anemos");
    let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("waiting for") {
        line.clear();
        assert!(said.read_line(&mut line).expect("reading") > 0, "it ended before it waited");
    }
    (held, child, said, line)
}

#[test]
fn a_wait_for_a_lock_names_its_holder_and_ends_with_a_signal() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = folder();
        let lock: PathBuf = folder.path().join("cache/anemos/fixtures/debian-12.lock");
        let arguments = ["fixture", "build", "debian-12"];
        let (_held, mut child, mut said, line) = waits(folder.path(), &lock, &arguments);
        let holder = format!("waiting for process {} (", std::process::id());
        assert!(line.contains(&holder) && line.contains("since 20"), "{line}");
        let asked = Instant::now();
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        assert!(rest.contains(&format!("interrupted by {signal}")), "{rest}");
    }
}

#[test]
fn pruning_removes_what_nobody_has_used_and_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_hours(24 * 20);
    for (name, old) in [("fixtures/old-1", true), ("saved/old-2", true), ("fixtures/new", false)] {
        let place = folder.path().join("cache/anemos").join(name);
        fs::create_dir_all(&place).unwrap();
        if old {
            File::open(&place).unwrap().set_modified(long_ago).unwrap();
        }
    }
    let prune = |days: &str| {
        let output = anemos(folder.path(), &["fixture", "prune", "--days", days]).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(prune("30"), "");
    assert_eq!(prune("14"), "removed old-1, 0 MiB\nremoved old-2, 0 MiB\n");
    assert!(folder.path().join("cache/anemos/fixtures/new").is_dir());
    assert!(!folder.path().join("cache/anemos/saved/old-2").exists());
}
