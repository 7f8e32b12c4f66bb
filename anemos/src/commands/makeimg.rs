//! Command `anemos makeimg`: builds an image from an IMGBUILD.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use makeimg::{Format, Machine, MakeError, Options, Step, Watch};

use crate::report::{self, Refused};

/// The command line of `anemos makeimg`.
const EXAMPLES: &str = "\
Examples:
  anemos makeimg -C payloads/debian-imgbuild                build the image, in its format
  anemos makeimg -C payloads/arch-imgbuild -f raw -o out    build a disk image into the folder out
  anemos makeimg -C my-image --disk /dev/sdb --check        check an installation, change nothing
  anemos makeimg -C my-image --disk /dev/sdb                install: all data on the disk is lost";

const PACKAGES: &str = "Where packages come from";
const DISK: &str = "Install onto a disk";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "they are switches of a command line")]
pub(crate) struct Args {
    /// Folders with input files; later ones win [default: files, if it exists]
    #[arg(value_name = "DIR")]
    inputs: Vec<PathBuf>,
    /// The folder that holds the IMGBUILD
    #[arg(short = 'C', value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
    /// Build this format instead of the one that IMGBUILD names
    #[arg(short, long)]
    format: Option<String>,
    /// Write the result to this folder [default: the one that holds the IMGBUILD]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
    /// Only reveal all secrets, into secrets.revealed, for later builds to use
    #[arg(long)]
    reveal: bool,
    /// Keep the half-built root folder if the build fails
    #[arg(short, long)]
    keep: bool,
    /// Fetch packages from this mirror: an address, or lines of a source list
    #[arg(long, help_heading = PACKAGES)]
    mirror: Option<String>,
    /// Fetch packages through this HTTP proxy
    #[arg(long, value_name = "URL", help_heading = PACKAGES)]
    proxy: Option<String>,
    /// Verify Debian packages with this keyring
    #[arg(long, value_name = "FILE", help_heading = PACKAGES)]
    keyring: Option<PathBuf>,
    /// Install onto this disk instead of building an image: all data on it is lost
    ///
    /// With the format custom, the function setup does everything.
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["output", "keep", "json", "reveal"], help_heading = DISK)]
    disk: Option<PathBuf>,
    /// Only check whether the installation can begin; change nothing
    #[arg(long, requires = "disk", help_heading = DISK)]
    check: bool,
    /// Keep what --check downloads in this folder, and install from there
    #[arg(long, value_name = "FOLDER", requires = "disk", help_heading = DISK)]
    cache: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// We are in namespaces of our own already
    #[arg(long, hide = true)]
    isolated: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if self.reveal {
            self.enter()?;
            let folder = env::current_dir().context("finding the current folder")?;
            let revealed = makeimg::reveal(&folder, &mut Progress).map_err(refuse)?;
            report::result(&revealed.display().to_string());
            return Ok(ExitCode::SUCCESS);
        }
        if !self.isolated {
            return again();
        }
        self.enter()?;
        if let Some(disk) = self.disk.clone() {
            return self.install(&disk);
        }
        let begun = Instant::now();
        let json = self.json;
        let options = self.options();
        let made = makeimg::evaluate(&options, &mut Progress)
            .and_then(|project| makeimg::build(project, &options, &mut Progress))
            .map_err(refuse)?;
        let path = made.path.map(|path| path.display().to_string());
        if json {
            let seconds = begun.elapsed().as_secs_f64();
            let text = serde_json::json!({ "path": path, "seconds": seconds });
            report::result(&serde_json::to_string_pretty(&text)?);
        } else if let Some(path) = path {
            report::result(&path);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn install(self, disk: &Path) -> anyhow::Result<ExitCode> {
        let check = self.check;
        let options = self.options();
        let machine = Machine::from_environment(disk);
        let project = makeimg::evaluate(&options, &mut Progress).map_err(refuse)?;
        let done = match (check, &project.format) {
            (true, _) => makeimg::check(project, &options, &machine, &mut Progress),
            (false, Format::Custom) => makeimg::build(project, &options, &mut Progress).map(drop),
            (false, _) => makeimg::install(project, &options, &machine, &mut Progress),
        };
        done.map_err(refuse)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Enters the folder of the IMGBUILD, to which every path is relative.
    fn enter(&self) -> anyhow::Result<()> {
        env::set_current_dir(&self.folder).map_err(|error| {
            let reason = format!("the folder {} cannot be entered: {error}", self.folder.display());
            Refused::new(reason, "name a folder that holds an IMGBUILD").into()
        })
    }

    fn options(self) -> Options {
        Options {
            inputs: self.inputs,
            format: self.format,
            output: self.output,
            keep: self.keep,
            mirror: self.mirror,
            proxy: self.proxy,
            keyring: self.keyring,
            cache: self.cache.map(|cache| std::path::absolute(&cache).unwrap_or(cache)),
            folder: ".".into(),
        }
    }
}

/// Runs the same command once more in namespaces, where it can leave nothing behind.
fn again() -> anyhow::Result<ExitCode> {
    let mut arguments: Vec<OsString> = env::args_os().skip(1).collect();
    // Right after the verb, because what follows a `--` is an input folder.
    arguments.insert(1.min(arguments.len()), "--isolated".into());
    let program = env::current_exe().unwrap_or_else(|_| Path::new("/proc/self/exe").into());
    let status = makeimg::isolated(&program, &arguments, &mut Progress).map_err(refuse)?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    let code = code.with_context(|| format!("the build ended with {status}"))?;
    Ok(ExitCode::from(code))
}

fn refuse(error: MakeError) -> anyhow::Error {
    match error.refusal() {
        Some((reason, hint)) => Refused::new(reason, hint).into(),
        None => error.into(),
    }
}

/// Reports when each step begins and ends, and the output of its programs.
struct Progress;

impl Watch for Progress {
    fn begins(&mut self, step: Step) {
        report::step(&format!("makeimg: step {step} begins"));
    }

    fn ended(&mut self, step: Step, took: Duration, failure: Option<&str>) {
        let outcome = if failure.is_none() { "ok" } else { "failed" };
        report::step(&format!("makeimg: step {step} ended {outcome} {:.1}s", took.as_secs_f64()));
    }

    fn line(&mut self, line: &str) {
        report::step(&format!("  {line}"));
    }
}
