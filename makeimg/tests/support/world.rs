//! A project in its own folder, with fake tools of distributions and a worker that builds it.
//!
//! The worker builds in namespaces of its own, as `anemos makeimg` does.

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use makeimg::{MakeError, Options, Step, Watch};
use tempfile::TempDir;

/// A fake tool: it records how it was called, and makes a root folder that can be entered.
const STAND_IN: &str = r#"#!/bin/sh
printf '%s' "${0##*/}" >>"$CALLS"
printf ' %s' "$@" >>"$CALLS"
echo " http_proxy=${http_proxy-}" >>"$CALLS"
for word; do case $word in */root) root=$word ;; esac; done
mkdir -p "$root/usr/bin" "$root/etc" "$root/root" "$root/tmp"
ln -s usr/bin "$root/bin"
cp "$BUSYBOX" "$root/usr/bin/busybox"
for name in sh cat ls id stat chown chmod mkdir touch sleep ln rm mount env test; do
    ln -s busybox "$root/usr/bin/$name"
done
printf 'root:x:0:0::/root:/bin/sh\nwww:x:33:33::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nwww:x:33:\n' >"$root/etc/group"
printf 'one\ntwo\nthree\nfour\nfive\nsix\nseven\n' >"$root/etc/numbers"
chmod 640 "$root/etc/numbers"
"#;

/// A minimal IMGBUILD that works.
pub(crate) const SMALLEST: &str = "imgname=small\ntarget=debian\nformat=dir\n";

/// A project with its surroundings.
pub(crate) struct World {
    folder: TempDir,
    /// What differs for one build; the output is a folder of this world.
    pub(crate) options: Options,
    /// Variables of the caller.
    pub(crate) environment: Vec<(String, OsString)>,
}

/// The result of a build.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The path of the result, if it succeeded.
    pub(crate) made: Option<PathBuf>,
    /// The error with its causes, if it failed.
    pub(crate) error: String,
    /// How to fix it, if that is known.
    pub(crate) hint: String,
    /// The error is a refusal.
    pub(crate) refused: bool,
    /// All steps and lines that were reported.
    pub(crate) told: String,
}

impl World {
    /// Makes a project with an IMGBUILD.
    pub(crate) fn new(imgbuild: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            folder: folder.path().join("project"),
            output: Some("out".into()),
            ..Options::default()
        };
        let world = Self { folder, options, environment: Vec::new() };
        fs::set_permissions(world.path(""), Permissions::from_mode(0o755)).expect("a mode");
        world.write("project/IMGBUILD", imgbuild);
        for tool in ["mmdebstrap", "pacstrap", "apk"] {
            world.program(&format!("bin/{tool}"), STAND_IN);
        }
        fs::create_dir(world.path("out")).expect("a folder");
        world.write("calls", "");
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(world.path("bin")).chain(env::split_paths(&path));
        let path = env::join_paths(folders).expect("a PATH");
        world.with("PATH", path)
    }

    /// Sets a variable of the caller.
    pub(crate) fn with(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Returns a path in the folder of this world.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
    }

    /// Writes a program in it.
    pub(crate) fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        self.mode(path, 0o755);
    }

    /// Sets a mode.
    pub(crate) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), Permissions::from_mode(mode)).expect("a mode");
    }

    /// Makes a symlink in it.
    pub(crate) fn link(&self, path: &str, target: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        symlink(target, path).expect("a symlink");
    }

    /// Reads a file in it.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| format!("{path}: {error}"))
    }

    /// Returns mode, owner and group of a file in it, as the image sees them.
    pub(crate) fn stat(&self, path: &str) -> (u32, u32, u32) {
        let found = fs::symlink_metadata(self.path(path)).expect("a file");
        (found.mode() & 0o7777, found.uid(), found.gid())
    }

    /// Builds in namespaces; the build must succeed.
    pub(crate) fn builds(&self) -> Outcome {
        let outcome = self.build();
        assert!(
            outcome.made.is_some() || outcome.error.is_empty(),
            "{}\n{}",
            outcome.error,
            outcome.told
        );
        outcome
    }

    /// Builds in namespaces.
    pub(crate) fn build(&self) -> Outcome {
        let mut log = Log::default();
        let status = makeimg::isolated(Path::new("env"), &self.job(), &mut log);
        match status {
            Ok(status) => assert!(status.success(), "the worker ended with {status}"),
            Err(error) => return outcome(Err(error), log),
        }
        self.outcome()
    }

    /// Builds in namespaces, as a user who is not root; the caller must be root.
    pub(crate) fn builds_as_nobody(&self) -> Outcome {
        const BECOME: &str = "echo nobody:200000:65536 >ids; chown -R nobody .; \
            mount --bind ids /etc/subuid; mount --bind ids /etc/subgid; \
            exec setpriv --reuid=nobody --regid=65534 --clear-groups env MAKEIMG_OUTER=1 \"$@\"";
        let mut words: Vec<OsString> =
            ["--mount", "sh", "-ec", BECOME, "sh"].map(Into::into).into();
        words.extend(self.job());
        self.run("unshare", &words);
        let outcome = self.outcome();
        assert!(outcome.made.is_some(), "{}\n{}", outcome.error, outcome.told);
        outcome
    }

    /// Returns the assignments and the command of a worker, for env(1).
    fn job(&self) -> Vec<OsString> {
        let job = [
            ("MAKEIMG_WORKER", self.path("").into_os_string()),
            ("CALLS", self.path("calls").into_os_string()),
            ("BUSYBOX", "/bin/busybox".into()),
            ("JOB_OUTPUT", self.options.output.clone().unwrap_or_default().into()),
            ("JOB_INPUTS", env::join_paths(&self.options.inputs).expect("paths")),
            ("JOB_FORMAT", self.options.format.clone().unwrap_or_default().into()),
            ("JOB_KEEP", if self.options.keep { "1".into() } else { OsString::new() }),
            ("JOB_MIRROR", self.options.mirror.clone().unwrap_or_default().into()),
            ("JOB_PROXY", self.options.proxy.clone().unwrap_or_default().into()),
        ];
        let environment = self.environment.iter();
        let environment = environment.map(|(name, value)| (name.as_str(), value.clone()));
        let mut words = Vec::new();
        for (name, value) in job.into_iter().chain(environment) {
            let mut assignment = OsString::from(name);
            assignment.push("=");
            assignment.push(value);
            words.push(assignment);
        }
        // Nobody needs what the test harness prints.
        let quiet = ["/bin/sh", "-c", "exec \"$@\" >/dev/null 2>&1", "sh"];
        words.extend(quiet.map(OsString::from));
        words.push(env::current_exe().expect("a program").into());
        words.extend(["worker", "--exact"].map(OsString::from));
        words
    }

    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome { told: self.read("told"), ..Outcome::default() };
        let result = self.read("result");
        let mut fields = result.split('\0');
        let mut field = || fields.next().unwrap_or_default().to_owned();
        outcome.made = Some(field()).filter(|path| !path.is_empty()).map(PathBuf::from);
        outcome.error = field();
        outcome.hint = field();
        outcome.refused = !field().is_empty();
        outcome
    }

    /// Runs a line of shell in the folder of this world; it must succeed.
    pub(crate) fn output(&self, line: &str) -> String {
        self.run("sh", &["-c", line].map(OsString::from))
    }

    #[expect(clippy::disallowed_methods, reason = "a test looks at results with other programs")]
    fn run(&self, program: &str, words: &[OsString]) -> String {
        let mut command = std::process::Command::new(program);
        let output = command.args(words).current_dir(self.path("")).output().expect("a program");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Returns a `PATH` with what every build needs, and the fake tools that are left.
    pub(crate) fn bare_path(&self) -> OsString {
        let needed = [
            "sh", "env", "unshare", "setpriv", "mount", "mktemp", "rm", "cp", "ln", "mkdir",
            "chmod",
        ];
        for tool in needed {
            let found = self.output(&format!("command -v {tool}"));
            self.link(&format!("bin/{tool}"), found.trim());
        }
        self.path("bin").into_os_string()
    }
}

/// Does the work of the test `worker`, if the test was started as one.
pub(crate) fn work() {
    let Some(folder) = env::var_os("MAKEIMG_WORKER").map(PathBuf::from) else { return };
    if env::var_os("MAKEIMG_OUTER").is_some() {
        let program = env::current_exe().expect("a program").into_os_string();
        let mut words = ["--unset=MAKEIMG_OUTER".into(), program].to_vec();
        words.extend(["worker", "--exact"].map(OsString::from));
        if let Err(error) = makeimg::isolated(Path::new("env"), &words, &mut Log::default()) {
            note(&folder, &outcome(Err(error), Log::default()));
        }
        return;
    }
    let text = |name: &str| env::var(name).ok().filter(|text| !text.is_empty());
    let inputs = env::var_os("JOB_INPUTS").unwrap_or_default();
    let options = Options {
        folder: folder.join("project"),
        inputs: env::split_paths(&inputs).filter(|path| !path.as_os_str().is_empty()).collect(),
        format: text("JOB_FORMAT"),
        output: env::var_os("JOB_OUTPUT").map(|output| folder.join(output)),
        keep: text("JOB_KEEP").is_some(),
        mirror: text("JOB_MIRROR"),
        proxy: text("JOB_PROXY"),
        keyring: None,
        cache: None,
    };
    let mut log = Log::default();
    let made = makeimg::evaluate(&options, &mut log)
        .and_then(|project| makeimg::build(project, &options, &mut log));
    note(&folder, &outcome(made.map(|made| made.path), log));
}

/// Leaves the result for the test.
fn note(folder: &Path, outcome: &Outcome) {
    let path = outcome.made.as_deref().map(|path| path.display().to_string()).unwrap_or_default();
    let refused = if outcome.refused { "refused" } else { "" };
    let result = format!("{path}\0{}\0{}\0{refused}", outcome.error, outcome.hint);
    fs::write(folder.join("told"), &outcome.told).expect("a file");
    fs::write(folder.join("result"), result).expect("a file");
}

fn outcome(made: Result<Option<PathBuf>, MakeError>, log: Log) -> Outcome {
    let mut outcome = Outcome { told: log.0, ..Outcome::default() };
    match made {
        Ok(path) => outcome.made = path,
        Err(error) => {
            error.hint().unwrap_or_default().clone_into(&mut outcome.hint);
            outcome.refused = error.refusal().is_some();
            outcome.error = error.to_string();
            let mut next = std::error::Error::source(&error);
            while let Some(cause) = next {
                let _ = write!(outcome.error, ": {cause}");
                next = cause.source();
            }
        }
    }
    outcome
}

/// Records all reports.
#[derive(Debug, Default)]
pub(crate) struct Log(pub(crate) String);

impl Watch for Log {
    fn begins(&mut self, step: Step) {
        let _ = writeln!(self.0, "{step} begins");
    }

    fn ended(&mut self, step: Step, _took: Duration, failure: Option<&str>) {
        let _ = writeln!(self.0, "{step} ended {}", failure.map_or("ok", |_| "failed"));
    }

    fn line(&mut self, line: &str) {
        let _ = writeln!(self.0, "| {line}");
    }
}
