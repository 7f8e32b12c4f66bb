//! Makes the inputs of the initramfs once, then keeps them: full base, kernel, modules, payload.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use crate::measure::{self, Sample};

/// Bytes of the payload, which no compression makes smaller.
const PAYLOAD: usize = 160_000_000;

/// A folder with all inputs, and the version of its kernel.
pub(crate) struct Inputs {
    folder: PathBuf,
    version: String,
}

impl Inputs {
    /// Makes what is missing below the target directory.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("initramfs");
        fs::create_dir_all(&folder)?;
        let place = |name: &str| folder.join(name);
        make(&place("base.cpio.zst"), |to| {
            run(&folder, &format!("'{ANEMOS}' base build -o {}", to.display()))
        })?;
        make(&place("kernel"), |to| {
            let to = to.display();
            run(
                &folder,
                &format!(
                    "mmdebstrap --quiet --variant=extract --include=linux-image-cloud-amd64 bookworm {to} && depmod -b {to} $(ls {to}/lib/modules)"
                ),
            )
        })?;
        make(&place("payload"), write_payload)?;
        make(&place("payload.tar.zst"), |to| {
            run(
                &folder,
                &format!(
                    "'{ANEMOS}' pack payload -o {0}.tar.zst && mv {0}.tar.zst {0}",
                    to.display()
                ),
            )
        })?;
        let version = fs::read_dir(place("kernel/lib/modules"))?.next().context("no kernel")??;
        let version = version.file_name().to_string_lossy().into_owned();
        fs::write(place("anemos.toml"), configuration(&version))?;
        Ok(Self { folder, version })
    }

    /// Runs a script among the inputs and measures it.
    pub(crate) fn script(&self, script: &str) -> anyhow::Result<Sample> {
        let environment = [("ANEMOS", ANEMOS), ("VERSION", self.version.as_str())];
        measure::script(script, &self.folder, &environment)
    }

    /// Keeps the output of the last script as an input for others.
    pub(crate) fn keep_output(&self, name: &str) -> anyhow::Result<()> {
        fs::rename(self.folder.join("out"), self.folder.join(name)).context("keeping the output")
    }
}

const ANEMOS: &str = env!("CARGO_BIN_EXE_anemos");

fn configuration(version: &str) -> String {
    format!(
        r#"kernel = {{ source = "kernel/boot/vmlinuz-{version}", modules = "kernel/lib/modules/{version}" }}
initramfs = {{ base = "base.cpio.zst" }}
network = {{ mode = "none" }}
firmware = {{ mode = "none" }}
disk = {{ select = {{ serial = "benchmark" }} }}
access = {{ authorized-keys = "none", host-keys = "new" }}
"#
    )
}

/// Makes a file or folder unless it exists; an interrupted one does not count.
fn make(path: &Path, produce: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let partial = path.with_extension("partial");
    if partial.is_dir() {
        fs::remove_dir_all(&partial).context("removing an interrupted one")?;
    }
    produce(&partial).with_context(|| format!("making {}", path.display()))?;
    fs::rename(&partial, path).with_context(|| format!("keeping {}", path.display()))
}

fn run(folder: &Path, script: &str) -> anyhow::Result<()> {
    let mut command = measure::command(Path::new("sh"));
    let status = command.args(["-ec", script]).current_dir(folder).status();
    let status = status.context("running sh")?;
    ensure!(status.success(), "{script} ended with {status}");
    Ok(())
}

fn write_payload(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir(folder)?;
    let deploy = folder.join("deploy");
    fs::write(&deploy, "#!/bin/sh\nexit 0\n")?;
    fs::set_permissions(&deploy, fs::Permissions::from_mode(0o755))?;
    let mut file = BufWriter::new(fs::File::create(folder.join("rootfs.tar.zst"))?);
    // xorshift64: as incompressible as compressed data, and the same every time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..PAYLOAD / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.flush()?)
}
