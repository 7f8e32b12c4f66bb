//! From configuration and payload to everything a plan is made of; reads much, changes nothing.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context;
use initramfs::payload::{self, Description, Limits};

use crate::config::{Base, Config, HostKeys, KernelSource, Keys, Location};
use crate::contents::{Contents, Wanted};
use crate::facts::{self, Facts, KernelImage, access};
use crate::report::Refusal;
use crate::source;

/// The inputs of a deployment, found and looked at.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) config: Config,
    pub(crate) facts: Facts,
    pub(crate) kernel: KernelImage,
    pub(crate) payload: Payload,
    pub(crate) contents: Contents,
}

/// A payload that was read once from end to end.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) path: PathBuf,
    pub(crate) description: Description,
    /// Seconds since 1970 of its last change.
    pub(crate) changed_at: u64,
}

/// Finds and reads all inputs. What is named by URL is fetched into `folder`.
pub(crate) fn prepare(
    config: Config,
    payload: Option<Location>,
    folder: &Path,
) -> anyhow::Result<Prepared> {
    let payload = read_payload(&config, payload, folder)?;
    let facts = Facts::gather()?;
    let kernel = kernel_image(&config, &facts)?;
    let base = match &config.initramfs.base {
        Base::BuiltIn => None,
        Base::At(location) => {
            Some(source::bring(location, config.initramfs.digest.as_ref(), folder)?)
        }
    };
    let contents = Contents::collect(Wanted {
        base: base.as_deref(),
        tools: &payload.description.settings.tools,
        modules: &modules_folder(&config, &facts)?,
        firmware: &config.firmware,
        payload: &payload.path,
        authorized_keys: authorized_keys(&config.access.authorized_keys)?,
        host_keys: host_keys(config.access.host_keys),
    })?;
    Ok(Prepared { config, facts, kernel, payload, contents })
}

/// Brings the payload here and reads it from end to end, so that a bad one is refused first.
fn read_payload(
    config: &Config,
    argument: Option<Location>,
    folder: &Path,
) -> anyhow::Result<Payload> {
    let location = argument.or_else(|| config.payload.source.clone()).ok_or_else(|| {
        let reason = "no payload is named";
        Refusal::new(reason, "name it on the command line, or as [payload] source in anemos.toml")
    })?;
    let path = source::bring(&location, config.payload.digest.as_ref(), folder)?;
    let describe = || format!("reading {}", path.display());
    let file = File::open(&path).with_context(describe)?;
    let changed =
        file.metadata().and_then(|metadata| metadata.modified()).with_context(describe)?;
    let since = changed.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let description = payload::inspect(file, Limits::default())
        .map_err(source::refuse)
        .with_context(|| format!("inspecting {}", path.display()))?;
    Ok(Payload { path, description, changed_at: since.as_secs() })
}

fn kernel_image(config: &Config, facts: &Facts) -> anyhow::Result<KernelImage> {
    let image = match &config.kernel.source {
        KernelSource::Running => facts.kernel.image.clone().ok_or_else(|| {
            Refusal::new(
                format!("the image of the running kernel {} was not found", facts.kernel.release),
                "name one as [kernel] source, and the folder of its modules as [kernel] modules",
            )
        })?,
        KernelSource::File(path) => facts::kernel_image(path)
            .with_context(|| format!("reading the kernel {}", path.display()))?,
    };
    if image.format.is_none() {
        let reason = format!("{} is no kernel that can be executed", image.path.display());
        let hint = "name a bzImage (x86) or Image (arm64) as [kernel] source";
        return Err(Refusal::new(reason, hint).into());
    }
    Ok(image)
}

fn modules_folder(config: &Config, facts: &Facts) -> anyhow::Result<PathBuf> {
    if let Some(path) = &config.kernel.modules {
        return Ok(path.clone());
    }
    if config.kernel.source != KernelSource::Running {
        let reason = "a kernel of one's own is named, but not the folder of its modules";
        let hint = "name it as [kernel] modules, e.g. \"…/lib/modules/6.1.0-18-amd64\"";
        return Err(Refusal::new(reason, hint).into());
    }
    let modules = facts.kernel.modules.as_ref().ok_or_else(|| {
        Refusal::new(
            format!("there are no modules of the running kernel {}", facts.kernel.release),
            "reboot if the kernel was upgraded since the last boot, then try again",
        )
    })?;
    Ok(modules.path.clone())
}

fn authorized_keys(keys: &Keys) -> anyhow::Result<String> {
    match keys {
        Keys::None => Ok(String::new()),
        Keys::File(path) => {
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
        }
        Keys::Inherit => {
            let keys = access::authorized_keys();
            Ok(keys.into_iter().map(|key| key.line + "\n").collect())
        }
    }
}

/// The private keys and their public halves.
fn host_keys(keys: HostKeys) -> Vec<PathBuf> {
    if keys == HostKeys::New {
        return Vec::new();
    }
    let halves = |private: PathBuf| {
        let mut public = private.clone().into_os_string();
        public.push(".pub");
        [private, PathBuf::from(public)]
    };
    access::host_key_files().into_iter().flat_map(halves).filter(|path| path.exists()).collect()
}
