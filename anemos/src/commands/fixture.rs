//! Command `anemos fixture`: lists, builds and boots simulated VPS images.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use harness::evidence;
use harness::fixture::cache::Kept;
use harness::fixture::{self, Fixture, FixtureError, boot, build, builtin, cache, seal, served};
use harness::host::Host;
use harness::host::interrupt::{self, Interrupted};
use harness::progress::Progress;
use tempfile::TempDir;

use crate::amount;
use crate::report::{self, Broken, Refused};

/// The prefix of names of folders that are served to guests.
const SERVED: &str = "served/";

/// The command line of `anemos fixture`.
const EXAMPLES: &str = "\
Examples:
  anemos fixture list              show what can be built, and what is in the cache
  anemos fixture build debian-12   build the simulated VPS that `anemos test` uses
  anemos fixture boot debian-12    boot it and attach its console; Ctrl-a x ends it
  anemos fixture prune --days 7    remove from the cache what was not used for a week";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    fixtures: Fixtures,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the fixtures and the folders that guests are served (served/NAME)
    List,
    /// Build fixtures, or folders that guests are served, unless they are cached
    Build {
        /// Names as in the list [default: all fixtures]
        names: Vec<String>,
    },
    /// Remove what no run has used lately: fixtures, guests at their prompt, packed payloads
    Prune {
        /// What was used on one of the last N days stays
        #[arg(long, value_name = "N", default_value_t = 14)]
        days: u64,
        /// Also remove the evidence of runs before that, from the folder anemos-evidence
        #[arg(long)]
        evidence: bool,
    },
    /// Boot a fixture and attach its console
    Boot {
        /// Name of the fixture
        name: String,
    },
}

/// Where the data of fixtures comes from.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Fixtures {
    /// Use the fixtures of this folder instead of the built-in ones
    #[arg(long = "fixtures", value_name = "DIR", global = true, help_heading = "The machine")]
    folder: Option<PathBuf>,
}

impl Fixtures {
    /// Returns the folder that the command line names.
    pub(crate) fn named(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Returns the folder of fixtures, and a guard that keeps it.
    fn folder(&self) -> anyhow::Result<(PathBuf, Option<TempDir>)> {
        if let Some(folder) = &self.folder {
            return Ok((folder.clone(), None));
        }
        let data = tempfile::tempdir().context("making a folder for the built-in fixtures")?;
        let folder = builtin::unpack(data.path()).context("unpacking the built-in fixtures")?;
        Ok((folder, Some(data)))
    }

    /// Returns a fixture, and a guard that keeps its files.
    pub(crate) fn open(&self, name: &str) -> anyhow::Result<(Fixture, Option<TempDir>)> {
        let (folder, data) = self.folder()?;
        match Fixture::read(&folder, name) {
            Ok(fixture) => Ok((fixture, data)),
            Err(error @ FixtureError::Unknown { .. }) => {
                let hint = "see `anemos fixture list`, or use --fixtures DIR";
                Err(Refused::new(error.to_string(), hint).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let work = async {
            match &self.action {
                Action::List => self.list(),
                Action::Build { names } => self.build(names).await,
                Action::Prune { days, evidence } => prune(*days, *evidence),
                Action::Boot { name } => self.boot(name).await,
            }
        };
        match interrupt::run(work).context("starting")? {
            Ok(done) => done.map(|()| ExitCode::SUCCESS),
            Err(interrupted) => {
                let code = Interrupted::EXIT_CODE;
                report::step(&format!("{interrupted}: guests are ended, exit code {code}"));
                Ok(ExitCode::from(code))
            }
        }
    }

    fn list(&self) -> anyhow::Result<()> {
        let (folder, _data) = self.fixtures.folder()?;
        for name in fixture::names(&folder)? {
            let fixture = Fixture::read(&folder, &name)?;
            let found = cache::find(&cache::folder(), &fixture)?;
            report::result(&format!("{name}  {}", state(found.map(|ready| ready.folder))));
        }
        for name in served::names(&folder) {
            let found = served::find(&cache::folder(), &folder, &name)?;
            report::result(&format!("{SERVED}{name}  {}", state(found)));
        }
        let kept = cache::kept(&cache::folder()).context("reading the cache")?;
        let (size, cache) = (size_of(&kept), cache::folder());
        report::step(&format!("cache: {size} in {}", cache.display()));
        let runs = cache::folders(Path::new(evidence::FOLDER)).context("reading the evidence")?;
        if !runs.is_empty() {
            let (number, size) = (runs.len(), size_of(&runs));
            report::step(&format!("evidence: {number} runs, {size} in {}", evidence::FOLDER));
        }
        Ok(())
    }

    async fn build(&self, names: &[String]) -> anyhow::Result<()> {
        let (folder, _data) = self.fixtures.folder()?;
        let all = fixture::names(&folder)?;
        let names = if names.is_empty() { &all } else { names };
        for name in names {
            if let Some(served) = name.strip_prefix(SERVED) {
                let place = serve(&folder, served).await?;
                report::step(&format!("{name}: {}", place.display()));
                continue;
            }
            let (fixture, _data) = self.fixtures.open(name)?;
            let ready = ensure(&fixture).await?;
            report::step(&format!("fixture {name}: {}", ready.folder.display()));
        }
        Ok(())
    }

    async fn boot(&self, name: &str) -> anyhow::Result<()> {
        let (fixture, _data) = self.fixtures.open(name)?;
        let ready = ensure(&fixture).await?;
        let host = host(Progress::new()).await?;
        boot::attach(&host, &ready).await.context("booting the fixture")
    }
}

/// Describes what the cache has of a fixture.
fn state(found: Option<PathBuf>) -> String {
    let Some(folder) = found else { return "not built".to_owned() };
    let size = amount::gib(seal::size(&folder));
    format!("built, {size}, used {}, in {}", ago(&folder), folder.display())
}

/// Returns how long ago a folder was used.
fn ago(folder: &Path) -> String {
    let used = folder.metadata().and_then(|folder| folder.modified());
    let unused = used.ok().and_then(|used| used.elapsed().ok()).unwrap_or_default();
    match unused.as_secs() / (24 * 3600) {
        0 => "today".to_owned(),
        1 => "yesterday".to_owned(),
        days => format!("{days} days ago"),
    }
}

fn size_of(kept: &[Kept]) -> String {
    amount::gib(kept.iter().map(|kept| seal::size(&kept.folder)).sum())
}

/// Removes what was not used for so many days, and names all of it.
fn prune(days: u64, with_evidence: bool) -> anyhow::Result<()> {
    let mut old = cache::kept(&cache::folder()).context("reading the cache")?;
    if with_evidence {
        old.extend(cache::folders(Path::new(evidence::FOLDER)).context("reading the evidence")?);
    }
    old.retain(|kept| kept.unused >= Duration::from_hours(24 * days));
    for Kept { name, folder, .. } in &old {
        let size = amount::gib(seal::size(folder));
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("removing {}", folder.display()))?;
        report::result(&format!("removed {name}, {size}"));
    }
    if old.is_empty() {
        report::step(&format!("everything was used in the last {days} days"));
    }
    Ok(())
}

/// Builds a folder that is served to guests, unless it is cached.
async fn serve(fixtures: &Path, name: &str) -> anyhow::Result<PathBuf> {
    if !served::names(fixtures).iter().any(|known| known == name) {
        let reason = format!("nothing that is served is called {name}");
        return Err(Refused::new(reason, "see `anemos fixture list`, or use --fixtures DIR").into());
    }
    if let Some(ready) = served::find(&cache::folder(), fixtures, name)? {
        return Ok(ready);
    }
    let host = host(Progress::new()).await?;
    let folder = evidence::default_folder(&format!("served-{name}"), SystemTime::now());
    let folder = std::path::absolute(folder).context("finding the current folder")?;
    let built = served::ensure(&host, fixtures, name, &folder).await.map_err(|error| {
        let error = anyhow::Error::new(error);
        Broken(format!("building {SERVED}{name}: {error:#} (see {})", folder.display()))
    })?;
    Ok(built.folder)
}

async fn host(progress: Progress) -> anyhow::Result<Host> {
    let anemos = std::env::current_exe().context("finding this program")?;
    Ok(Host::prove(&anemos, &cache::folder(), progress).await)
}

/// Builds a fixture unless it is cached; if it is, nothing is required of the host.
async fn ensure(fixture: &Fixture) -> anyhow::Result<cache::Ready> {
    if let Some(ready) = cache::find(&cache::folder(), fixture)? {
        return Ok(ready);
    }
    let host = host(Progress::new()).await?;
    let about = format!("fixture-{}", fixture.name);
    let folder = std::path::absolute(evidence::default_folder(&about, SystemTime::now()));
    let folder = folder.context("finding the current folder")?;
    let built = build::ensure(&host, fixture, &folder).await;
    built.map_err(|error| {
        let error = anyhow::Error::new(error);
        Broken(format!("building fixture {}: {error:#} (see {})", fixture.name, folder.display()))
            .into()
    })
}
