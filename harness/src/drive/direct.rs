//! Runs a payload directly in the deploy environment: no old system, no jump, an empty disk.

use std::fs;
use std::path::{Path, PathBuf};

use super::Drive;
use super::error::DirectError;
use super::outside::{Outside, slots_at_first};
use crate::chain::{Aim, Chain, End, Entry, Link, Route, Timed};
use crate::classify::Class;
use crate::command::CommandError;
use crate::fault::{self, Fault, Struck};
use crate::file::{FileError, ParseError};
use crate::guest::Guest;
use crate::host::Host;
use crate::machine::setup::CardOrder;
use crate::machine::{Board, Boot, Disk};
use crate::server::Served;
use crate::verdict::Verdict;

/// The console that we listen to.
const CONSOLE: &str = "console=ttyS0,115200";

/// What goes into the machine.
#[derive(Clone, Debug)]
pub(crate) struct Direct<'a> {
    /// The payload, packed.
    pub(crate) payload: &'a Path,
    /// The user's configuration.
    pub(crate) config: Option<&'a Path>,
    /// Kernel of the deploy environment.
    pub(crate) kernel: &'a Path,
    /// Its modules, `…/lib/modules/VERSION`.
    pub(crate) modules: &'a Path,
    /// Public keys that the new system lets in.
    pub(crate) authorized_keys: Option<&'a Path>,
    /// Serial number of the selected disk.
    pub(crate) serial: &'a str,
    /// The board of the machine.
    pub(crate) board: Board,
    /// Memory of the machine.
    pub(crate) memory_mib: u32,
    /// What it is connected to.
    pub(crate) outside: &'a Outside,
    /// The faults that strike the machine.
    pub(crate) faults: &'a [Fault],
    /// The disks of the machine.
    pub(crate) disks: Vec<Disk>,
    /// The folder for configuration and initramfs.
    pub(crate) work: PathBuf,
}

/// The result of a deployment without an old system.
#[derive(Debug)]
pub(crate) struct Deployed {
    pub(crate) end: End,
    pub(crate) times: Vec<Timed>,
    /// How far the machine had come when the first fault struck.
    pub(crate) struck: Option<Struck>,
}

/// Builds the initramfs, boots it, and follows it to the end.
pub(crate) async fn deploy(
    host: &Host,
    direct: &Direct<'_>,
    folder: &Path,
) -> Result<Deployed, DirectError> {
    let start = host.at();
    host.progress.step("building the final initramfs");
    let initramfs = match build(host, direct, folder).await? {
        Ok(initramfs) => initramfs,
        Err(verdict) => {
            return Ok(Deployed { end: End::Failed(verdict), times: Vec::new(), struck: None });
        }
    };
    let built = Timed { name: "build initramfs".to_owned(), start, seconds: host.at() - start };
    host.progress.step("deploy environment: booting");
    let boot = Boot::Direct {
        kernel: direct.kernel.to_owned(),
        initramfs: Some(initramfs),
        // After a panic there is nothing to wait for.
        // A tmpfs would give the initramfs half of the memory; a jump, too, gives it all of it.
        command_line: format!("{CONSOLE} panic=1 rootfstype=ramfs"),
    };
    let mut machine = host.machine(&direct.board, direct.memory_mib, &[]).boot(boot);
    // QEMU's own loader of kernels takes the first place in the boot order.
    let unordered = |disk: &Disk| Disk { boot_index: None, ..disk.clone() };
    machine.clock = fault::clock(direct.faults);
    let plugged = direct.outside.plug(&mut machine, &[], slots_at_first(CardOrder::Kept));
    plugged.map_err(FileError::new("plugging the cables in"))?;
    machine.serve(host.server(direct.payload, direct.faults));
    machine.disks = direct.disks.iter().map(unordered).collect();
    let guest = Guest::start(&machine, folder, "deploy").await?;
    let (identity, login) = (String::new(), String::new());
    let route = Route { entry: Entry::Direct, identity, login, aim: Aim::Deployment };
    let mut drive = Drive::new(host, guest, Chain::new(route, host.at()));
    drive.expect_faults(direct.faults);
    let end = drive.follow(Link::Reset).await.unwrap_or(End::Deployed);
    let times = std::iter::once(built).chain(drive.chain.times().iter().cloned()).collect();
    let struck = drive.struck.take();
    drive.guest.quit().await;
    Ok(Deployed { end, times, struck })
}

/// Makes the final initramfs; otherwise returns why `anemos build` refused.
async fn build(
    host: &Host,
    direct: &Direct<'_>,
    folder: &Path,
) -> Result<Result<PathBuf, Verdict>, DirectError> {
    let made = fs::create_dir_all(folder);
    made.map_err(FileError::new("making the folder of the evidence"))?;
    let config = folder.join("anemos.toml");
    let text = configuration(direct, &host.served)?;
    fs::write(&config, text).map_err(FileError::new("writing the configuration"))?;
    let initramfs = direct.work.join("final.img");
    let text = |path: &Path| path.display().to_string();
    let arguments = ["build", "-c", &text(&config), "-o", &text(&initramfs), &text(direct.payload)];
    match host.run_anemos(&arguments).await {
        Ok(()) => Ok(Ok(initramfs)),
        Err(error) => Ok(Err(not_built(&error))),
    }
}

/// A refusal keeps its words, which are those that the user would see.
fn not_built(error: &CommandError) -> Verdict {
    let CommandError::Status { status, tail, .. } = error else {
        return Verdict::broken(Class::CommandFailed, error.to_string(), Vec::new());
    };
    let lines: Vec<String> = tail.lines().map(str::to_owned).collect();
    let said = |word| lines.iter().find_map(|line| line.strip_prefix(word)).map(str::to_owned);
    let reason = said("error: ").unwrap_or_else(|| error.to_string());
    let mut verdict = match status.code() {
        Some(3) => Verdict::failed(Class::Refused, reason, Vec::new()),
        _ => Verdict::broken(Class::CommandFailed, reason, Vec::new()),
    };
    verdict.hint = said("hint: ");
    verdict.evidence = lines;
    verdict
}

/// Returns the user's configuration, completed with what only the harness knows of the machine.
fn configuration(direct: &Direct<'_>, served: &[Served]) -> Result<String, DirectError> {
    let mut config = match direct.config {
        Some(path) => read(path)?,
        None => toml::Table::new(),
    };
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = |path: &Path| toml::Value::from(absolute(path).display().to_string());
    set(&mut config, "kernel", "source", path(direct.kernel));
    set(&mut config, "kernel", "modules", path(direct.modules));
    // The new system's console is where we listen; a machine of its own would have said so.
    let own = config.get("kernel").and_then(|kernel| kernel.get("command-line"));
    let own = own.and_then(toml::Value::as_str).unwrap_or_default();
    let parameters = format!("{own} {CONSOLE}").trim_start().to_owned();
    set(&mut config, "kernel", "command-line", parameters.into());
    set(&mut config, "firmware", "mode", "none".into());
    let serial = toml::Table::from_iter([("serial".to_owned(), direct.serial.into())]);
    set(&mut config, "disk", "select", serial.into());
    if config.get("network").and_then(|network| network.get("mode")).is_none() {
        set(&mut config, "network", "mode", "dhcp".into());
    }
    // The base is put together here, because the server's files are here.
    let base = config.get("initramfs").and_then(|initramfs| initramfs.get("base"));
    let base = base.and_then(toml::Value::as_str);
    if let Some(file) = base.and_then(|url| served.iter().find_map(|one| one.file_of(url))) {
        set(&mut config, "initramfs", "base", path(&file));
    }
    let keys = direct.authorized_keys.map_or_else(|| "none".into(), path);
    set(&mut config, "access", "authorized-keys", keys);
    set(&mut config, "access", "host-keys", "new".into());
    Ok(config.to_string())
}

fn read(path: &Path) -> Result<toml::Table, DirectError> {
    let text = fs::read_to_string(path).map_err(FileError::at("reading", path))?;
    Ok(toml::from_str(&text).map_err(ParseError::at(path))?)
}

/// Sets a key of a section, replacing a value that is not a section.
///
/// `anemos` complains about anything else.
fn set(config: &mut toml::Table, section: &str, key: &str, value: toml::Value) {
    let mut table = match config.remove(section) {
        Some(toml::Value::Table(table)) => table,
        _ => toml::Table::new(),
    };
    table.insert(key.to_owned(), value);
    config.insert(section.to_owned(), table.into());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direct(config: Option<&Path>) -> Direct<'_> {
        Direct {
            payload: Path::new("/p.tar.gz"),
            config,
            kernel: Path::new("/k"),
            modules: Path::new("/m"),
            authorized_keys: None,
            serial: "s1",
            board: Board::default(),
            memory_mib: 512,
            outside: &Outside::Host,
            faults: &[],
            disks: Vec::new(),
            work: PathBuf::new(),
        }
    }

    #[test]
    fn the_users_configuration_is_kept_where_the_machine_does_not_decide() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "[failure]\ntimeout = 5\n[network]\nmode = 'none'\n[disk]\nselect = 'root'\n\
                    [initramfs]\nbase = 'http://10.0.2.100/base/b.cpio'\n";
        fs::write(file.path(), text).unwrap();
        let served = [Served { name: "base".to_owned(), folder: PathBuf::from("/served") }];
        insta::assert_snapshot!(configuration(&direct(Some(file.path())), &served).unwrap(), @r#"
        [access]
        authorized-keys = "none"
        host-keys = "new"

        [disk.select]
        serial = "s1"

        [failure]
        timeout = 5

        [firmware]
        mode = "none"

        [initramfs]
        base = "/served/b.cpio"

        [kernel]
        command-line = "console=ttyS0,115200"
        modules = "/m"
        source = "/k"

        [network]
        mode = "none"
        "#);
    }
}
