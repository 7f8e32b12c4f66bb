//! Payloads of scenarios: packed on demand, and if they are built, cached by their inputs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use crate::command::{Command, CommandError};
use crate::file::FileError;
use crate::fixture::build::script_command;

/// Why a payload is not available.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What a payload is made of: a folder, with another one laid over it.
type Key = (PathBuf, Option<PathBuf>);

/// Makes payloads, each of them once.
#[derive(Debug)]
pub struct Payloads {
    anemos: PathBuf,
    cache: PathBuf,
    work: PathBuf,
    made: Mutex<BTreeMap<Key, PathBuf>>,
}

impl Payloads {
    /// Creates it; the output of build scripts goes to `cache`, packed payloads to `work`.
    pub fn new(anemos: &Path, cache: &Path, work: &Path) -> Self {
        let made = Mutex::new(BTreeMap::new());
        let cache = cache.join("payloads");
        Self { anemos: anemos.to_owned(), cache, work: work.to_owned(), made }
    }

    /// Returns the packed payload of a folder, with the files of `overlay` in it.
    ///
    /// They are made one at a time, because building takes all processors anyway.
    pub async fn bring(
        &self,
        source: &Path,
        overlay: Option<&Path>,
    ) -> Result<PathBuf, PayloadError> {
        if !source.is_dir() {
            return Ok(source.to_owned());
        }
        let key = (source.to_owned(), overlay.map(Path::to_owned));
        let mut made = self.made.lock().await;
        if let Some(packed) = made.get(&key) {
            return Ok(packed.clone());
        }
        let name = file_name(overlay.unwrap_or(source));
        // Several may have the same name.
        let place = self.work.join(made.len().to_string());
        fs::create_dir_all(&place).map_err(FileError::at("making", &place))?;
        let folder = self.folder(source).await?;
        let folder = match overlay {
            Some(overlay) => overlaid(&folder, overlay, place.join(&name)).await?,
            None => folder,
        };
        // Compressing again what a build script has compressed would only take time.
        let packed = place.join(format!("{name}.tar.zst"));
        let pack = Command::new(&self.anemos).arg("pack").arg(folder).arg("-o").arg(&packed);
        pack.run().await?;
        made.insert(key, packed.clone());
        Ok(packed)
    }

    /// Returns the folder to pack: the source itself, or the cached output of its `build`.
    async fn folder(&self, source: &Path) -> Result<PathBuf, PayloadError> {
        if !source.join("build").is_file() {
            return Ok(source.to_owned());
        }
        let built = self.cache.join(format!("{}-{}", file_name(source), &digest(source)?[..16]));
        if built.is_dir() {
            return Ok(built);
        }
        fs::create_dir_all(&self.cache).map_err(FileError::at("making", &self.cache))?;
        let aside = tempfile::Builder::new().prefix(".building-").tempdir_in(&self.cache);
        let aside = aside.map_err(FileError::at("making a folder in", &self.cache))?;
        let script =
            std::path::absolute(source.join("build")).map_err(FileError::at("reading", source))?;
        let payload = aside.path().join("payload");
        script_command(&script).arg(&payload).env("ANEMOS", &self.anemos).run().await?;
        match fs::rename(&payload, &built) {
            // Another run made the same first.
            Err(_) if built.is_dir() => {}
            renamed => renamed.map_err(FileError::at("moving", &built))?,
        }
        Ok(built)
    }
}

/// Combines both into one folder, `whole`.
async fn overlaid(folder: &Path, overlay: &Path, whole: PathBuf) -> Result<PathBuf, PayloadError> {
    fs::create_dir_all(&whole).map_err(FileError::at("making", &whole))?;
    for source in [folder, overlay] {
        Command::new("cp").arg("-a").arg(source.join(".")).arg(&whole).run().await?;
    }
    Ok(whole)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the digest of all small files of a folder; large files were built, so are not inputs.
fn digest(source: &Path) -> Result<String, PayloadError> {
    let mut digest = Sha256::new();
    let mut files = Vec::new();
    list(source, &mut files)?;
    files.sort();
    for path in files {
        let content = fs::read(&path).map_err(FileError::at("reading", &path))?;
        let name = path.strip_prefix(source).unwrap_or(&path);
        digest.update(format!("{} {}\n", name.display(), content.len()));
        digest.update(content);
    }
    Ok(format!("{:x}", digest.finalize()))
}

fn list(folder: &Path, into: &mut Vec<PathBuf>) -> Result<(), PayloadError> {
    const LARGEST: u64 = 1 << 20;
    for entry in fs::read_dir(folder).map_err(FileError::at("reading", folder))? {
        let entry = entry.map_err(FileError::at("reading", folder))?;
        let (path, kind) =
            (entry.path(), entry.file_type().map_err(FileError::at("reading", folder))?);
        if kind.is_dir() {
            list(&path, into)?;
        } else if kind.is_file()
            && entry.metadata().map_err(FileError::at("reading", folder))?.len() <= LARGEST
        {
            into.push(path);
        }
    }
    Ok(())
}
