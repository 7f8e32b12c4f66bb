//! Breaks the product on purpose, in a copy of it, and checks that its tests notice.
//!
//! Each breakage is an entry in `harness/tests/sabotage/*.toml`: a text, what takes its place, the
//! test or scenario that must turn red, and words that it must print then. A breakage that stays
//! green shows a test that cannot fail. `make sabotage` tries all of them; arguments select those
//! whose names contain one of them, or that are of a package of that name.
#![expect(clippy::print_stdout, reason = "it is a program for a terminal")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Instant;

use serde::Deserialize;

/// Longest time in seconds that a build or a guard may take.
const LIMIT: &str = "900";

/// A file of the list.
#[derive(Deserialize)]
struct List {
    breakage: Vec<Breakage>,
}

/// A small breakage of the product, with its guard.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Breakage {
    /// Says what is broken.
    name: String,
    /// The file that is changed, from the root of the repository.
    file: PathBuf,
    /// The text that is replaced; it is there once.
    from: String,
    /// What takes its place.
    to: String,
    /// The package of the guard.
    package: String,
    /// The guard, a test as cargo prints its name.
    test: Option<String>,
    /// The file of that test, if it is not a unit test.
    target: Option<String>,
    /// The guard, a scenario.
    scenario: Option<String>,
    /// What the guard prints because of this breakage.
    shows: String,
}

/// What became of a breakage.
enum Fate {
    Noticed,
    /// The guard did not turn red.
    StaysGreen,
    /// It did, but not because of this.
    OtherReason(String),
    /// It could not be tried.
    Untried(String),
}

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).collect();
    match run(&filters) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!("error: {error}");
            ExitCode::from(4)
        }
    }
}

fn run(filters: &[String]) -> io::Result<bool> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let chosen = chosen(&root, filters)?;
    let tree = Tree { folder: root.join("target/sabotage/tree") };
    tree.copy_from(&root)?;
    println!("{} breakages; first, all guards must be green", chosen.len());
    let red = tree.red_before(&chosen)?;
    let (began, mut bad) = (Instant::now(), 0);
    for breakage in &chosen {
        let tried = Instant::now();
        let result = match red.get(&breakage.name) {
            Some(why) => Fate::Untried(why.clone()),
            None => tree.try_one(breakage)?,
        };
        let (word, more) = match result {
            Fate::Noticed => ("noticed", String::new()),
            Fate::StaysGreen => ("STAYS GREEN", String::new()),
            Fate::OtherReason(said) => ("OTHER REASON", format!("\n{said}")),
            Fate::Untried(why) => ("NOT TRIED", format!("\n{why}")),
        };
        bad += usize::from(word != "noticed");
        let secs = tried.elapsed().as_secs_f64();
        println!("{word:<12} {secs:>6.1}s  {}/{}{more}", breakage.package, breakage.name);
    }
    let all = chosen.len();
    println!("{} of {all} noticed in {} s", all - bad, began.elapsed().as_secs());
    Ok(bad == 0 && all > 0)
}

/// Reads the list; what none of the filters selects is left out.
fn chosen(root: &Path, filters: &[String]) -> io::Result<Vec<Breakage>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root.join("harness/tests/sabotage"))? {
        let path = entry?.path();
        let list: List = toml::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
        all.extend(list.breakage);
    }
    let selects = |breakage: &Breakage| {
        let one = |it: &String| breakage.package == *it || breakage.name.contains(it.as_str());
        filters.is_empty() || filters.iter().any(one)
    };
    all.retain(selects);
    // What is in one package is compiled only once more each time.
    all.sort_by(|one, other| (&one.package, &one.name).cmp(&(&other.package, &other.name)));
    Ok(all)
}

/// A copy of the repository.
struct Tree {
    folder: PathBuf,
}

impl Tree {
    /// Copies what differs, so that little is compiled again.
    fn copy_from(&self, root: &Path) -> io::Result<()> {
        let listed =
            command("git", root).args(["ls-files", "-co", "--exclude-standard"]).output()?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        let wanted: BTreeSet<&str> = listed.lines().collect();
        for name in &wanted {
            let (from, to) = (root.join(name), self.folder.join(name));
            if from.is_symlink() {
                drop(fs::remove_file(&to));
                fs::create_dir_all(to.parent().unwrap_or(&self.folder))?;
                std::os::unix::fs::symlink(fs::read_link(&from)?, &to)?;
                continue;
            }
            // A file may be removed and not committed yet.
            if from.is_file() && fs::read(&from).ok() != fs::read(&to).ok() {
                fs::create_dir_all(to.parent().unwrap_or(&self.folder))?;
                fs::copy(&from, &to)?;
            }
        }
        let listed = command("find", &self.folder)
            .args([".", "-type", "f"])
            .args(["-not", "-path", "./target/*"])
            .output()?;
        for name in String::from_utf8_lossy(&listed.stdout).lines() {
            let name = name.trim_start_matches("./");
            if !wanted.contains(name) {
                fs::remove_file(self.folder.join(name))?;
            }
        }
        Ok(())
    }

    /// Runs all guards on the sound copy; returns the breakages whose guard is not green, and why.
    fn red_before(&self, chosen: &[Breakage]) -> io::Result<BTreeMap<String, String>> {
        let mut groups: BTreeMap<Vec<String>, Vec<&Breakage>> = BTreeMap::new();
        for breakage in chosen.iter().filter(|breakage| breakage.test.is_some()) {
            groups.entry(breakage.target()).or_default().push(breakage);
        }
        let mut red = BTreeMap::new();
        for (target, guarded) in groups {
            let tests: BTreeSet<_> = guarded.iter().filter_map(|it| it.test.clone()).collect();
            let output = self.cargo(&target).arg("--").arg("--exact").args(tests).output()?;
            let said = text(&output);
            for breakage in guarded {
                let test = breakage.test.as_deref().unwrap_or_default();
                if !said.contains(&format!("test {test} ... ok")) {
                    let why = format!("the guard is not green before: {}", tail(&said));
                    red.insert(breakage.name.clone(), why);
                }
            }
        }
        for breakage in chosen.iter().filter(|breakage| breakage.scenario.is_some()) {
            let output = self.scenario(breakage)?;
            if !output.status.success() {
                let why = format!("the guard is not green before: {}", tail(&text(&output)));
                red.insert(breakage.name.clone(), why);
            }
        }
        Ok(red)
    }

    fn try_one(&self, breakage: &Breakage) -> io::Result<Fate> {
        let path = self.folder.join(&breakage.file);
        let sound = fs::read_to_string(&path)?;
        let times = sound.matches(&breakage.from).count();
        if times != 1 {
            return Ok(Fate::Untried(format!("what it replaces is there {times} times")));
        }
        fs::write(&path, sound.replacen(&breakage.from, &breakage.to, 1))?;
        let result = self.guarded(breakage);
        fs::write(&path, sound)?;
        result
    }

    /// Runs the guard on the broken copy.
    fn guarded(&self, breakage: &Breakage) -> io::Result<Fate> {
        let output = if let Some(test) = &breakage.test {
            let built = self.cargo(&breakage.target()).arg("--no-run").output()?;
            if !built.status.success() {
                return Ok(Fate::Untried(format!("it does not compile: {}", tail(&text(&built)))));
            }
            self.cargo(&breakage.target()).args(["--", "--exact"]).arg(test).output()?
        } else {
            self.scenario(breakage)?
        };
        let said = text(&output);
        Ok(if output.status.success() {
            Fate::StaysGreen
        } else if said.contains(&breakage.shows) {
            Fate::Noticed
        } else {
            Fate::OtherReason(tail(&said))
        })
    }

    fn cargo(&self, target: &[String]) -> Command {
        let mut command = command("timeout", &self.folder);
        command.args(["-k", "5", LIMIT, "cargo", "test", "--color", "never"]).args(target);
        command
    }

    /// Builds the program, and runs a scenario with it.
    fn scenario(&self, breakage: &Breakage) -> io::Result<Output> {
        let built = command("cargo", &self.folder)
            .args(["build", "--profile", "guest", "--package", "anemos", "--color", "never"])
            .output()?;
        if !built.status.success() {
            return Ok(built);
        }
        let name = breakage.scenario.as_deref().unwrap_or_default();
        let program = "target/x86_64-unknown-linux-gnu/guest/anemos";
        let mut command = command("timeout", &self.folder);
        command.args(["-k", "5", LIMIT, program, "conformance", name, "--evidence"]);
        command.arg(self.folder.join("target/evidence")).output()
    }
}

impl Breakage {
    /// Returns the arguments of cargo that select what is tested.
    fn target(&self) -> Vec<String> {
        let mut words = vec!["--package".to_owned(), self.package.clone()];
        match &self.target {
            Some(target) => words.extend(["--test".to_owned(), target.clone()]),
            None if self.package == "anemos" => {
                words.extend(["--bin".to_owned(), "anemos".to_owned()]);
            }
            None => words.push("--lib".to_owned()),
        }
        words
    }
}

#[expect(clippy::disallowed_methods, reason = "it runs cargo, not what a guest needs")]
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder).stdin(Stdio::null());
    for name in ["CLICOLOR_FORCE", "INSTA_DIFF_TOOL", "INSTA_UPDATE", "MAKEFLAGS", "MFLAGS"] {
        command.env_remove(name);
    }
    command.env("INSTA_UPDATE", "no").env("RUST_BACKTRACE", "0");
    command
}

fn text(output: &Output) -> String {
    let (said, complained) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(said), String::from_utf8_lossy(complained))
}

/// Returns the end of what was said.
fn tail(said: &str) -> String {
    let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(14)..].join("\n  | ")
}
