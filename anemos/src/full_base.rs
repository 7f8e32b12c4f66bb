//! The full base initramfs: the packages of a distribution, plus what the user adds.
//!
//! A distribution's own program makes a root file system and prints it as a tarball. Its members
//! are sorted and no time is later than a given moment, so the same packages give the same bytes.

mod additions;
mod alpine;
mod debian;
mod links;
mod maker;
mod tarball;

use std::io::{self, BufWriter};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use initramfs::archive::{Packing, Writer};
use initramfs::listing;

use crate::report::Refused;
use additions::Addition;
use links::Links;
use maker::Maker;
use tarball::Rules;

/// The first day of 2020, because shadow(5) takes zero for "must be changed".
const EPOCH: u64 = 1_577_836_800;

/// What a base is made of.
#[derive(Debug, clap::Args)]
pub(crate) struct Recipe {
    /// Whose packages: debian or alpine
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, value_name = "NAME")]
    distribution: Distribution,
    /// Packages to add to those of the full base
    #[arg(long = "packages", value_delimiter = ',', value_name = "NAME,…")]
    added: Vec<String>,
    /// Add an .apk, a tarball, a newc archive or a folder; a later one replaces what is there
    #[arg(long = "add", value_name = "FILE|DIR")]
    additions: Vec<PathBuf>,
    #[command(flatten)]
    debian: debian::Mirrors,
    #[command(flatten)]
    alpine: alpine::Repositories,
    /// Time that no file is later than, in seconds since 1970
    #[arg(long, env = "SOURCE_DATE_EPOCH", default_value_t = EPOCH, value_name = "SECONDS")]
    latest: u64,
}

/// Distributions that a base can be made of.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
enum Distribution {
    #[default]
    Debian,
    Alpine,
}

impl Recipe {
    /// Returns the name of the distribution, as people write it.
    pub(crate) fn distribution(&self) -> &'static str {
        match self.distribution {
            Distribution::Debian => "Debian",
            Distribution::Alpine => "Alpine",
        }
    }

    fn start(&self) -> anyhow::Result<Maker> {
        match self.distribution {
            Distribution::Debian if self.alpine.is_asked_for() => Err(Refused::new(
                "--repository, --keys and --apk are for a base of Alpine",
                "add --distribution alpine, or use --mirror",
            )
            .into()),
            Distribution::Debian => self.debian.start(&self.added, self.latest),
            Distribution::Alpine => self.alpine.start(&self.added),
        }
    }
}

/// Builds the full base, which appears when it is complete; returns its size in bytes.
pub(crate) fn build(recipe: &Recipe, output: &Path) -> anyhow::Result<u64> {
    let additions = recipe.additions.iter().map(|path| Addition::open(path));
    let additions = additions.collect::<anyhow::Result<Vec<_>>>()?;
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let writing = || format!("writing {}", output.display());
    let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
    let mut file = file.with_context(writing)?;
    let mut maker = recipe.start()?;
    let mut tarball = maker.child.stdout.take().context("reading what it makes")?;
    let mut links = Links::default();
    let mut writer = Writer::new(BufWriter::new(file.as_file_mut()));
    let omitted = |name: &str| maker.content.is_omitted(name);
    let rules = Rules { latest: recipe.latest, skip: &omitted, is_addition: false };
    let converted = writer.segment(Packing::Dense, |segment| {
        tarball::copy(&mut tarball, segment, &mut links, &rules)
    });
    // A closed pipe would end the program and also us, because it signals its group.
    let drained = io::copy(&mut tarball, &mut io::sink());
    // Report its status first, because a truncated tarball is only a consequence.
    let name = maker.name;
    let status = maker.child.wait().with_context(|| format!("waiting for {name}"))?;
    if !status.success() {
        bail!("{name} ended with {status}; what it said is above");
    }
    converted.and(drained).with_context(|| format!("packing what {name} made"))?;
    for addition in &additions {
        addition.write(&mut writer, Packing::Dense, &mut links, recipe.latest)?;
    }
    writer
        .finish()
        .and_then(|buffer| buffer.into_inner().map_err(io::Error::from))
        .with_context(writing)?;
    if !additions.is_empty() {
        listing::list(file.reopen().with_context(writing)?).context("reading the base again")?;
    }
    let readable = std::fs::Permissions::from_mode(0o644);
    file.as_file().set_permissions(readable).with_context(writing)?;
    let size = file.as_file().metadata().with_context(writing)?.len();
    file.persist(output).with_context(writing)?;
    Ok(size)
}

#[cfg(test)]
mod tests;
