//! What the new system takes over from the machine before the project's own files are copied.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::alpine;
use crate::chroot;
use crate::error::{Problem, file};
use crate::machine::Machine;
use crate::project::{Project, Target};
use crate::root::Root;
use crate::step::Watch;

/// The services of systemd(1) that go with any program that configures the network.
const UNITS: &[&str] = &["systemd-resolved", "ssh", "sshd", "dropbear"];
/// The time service of systemd, and the packages of others, which conflict with it.
const TIME: &str = "systemd-timesyncd";
const OTHER_TIME: [&str; 4] = ["chrony", "ntp", "ntpsec", "openntpd"];

/// The services of Alpine with their runlevels, as its own installer chooses them.
const OPENRC: &[(&str, &str)] = &[
    ("devfs dmesg mdev hwdrivers", "sysinit"),
    ("hwclock modules sysctl hostname bootmisc syslog networking seedrng", "boot"),
    ("mount-ro killprocs savecache", "shutdown"),
    // acpid lets a hypervisor turn the machine off.
    ("sshd dropbear acpid crond chronyd openntpd ntpd", "default"),
];
/// The time service of busybox, which must not run beside another one.
const BUSYBOX_TIME: &str = "ntpd";

/// A program that configures the network, with the folder of its files.
struct Links {
    /// The subfolder of the folder with the network files.
    from: &'static str,
    to: &'static str,
    /// The unit that systemd(1) starts for it.
    ///
    /// No other one may be started: without a file of its own, networkd makes the system wait for
    /// links for two minutes.
    unit: &'static str,
}

/// Gives the new system the machine's name, network and keys, and starts the services it needs.
pub(crate) fn apply(
    machine: &Machine,
    project: &Project,
    (root, mirrors): (&Root, &[String]),
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    if let Some(name) = &machine.hostname {
        let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {name}\n::1 localhost\n");
        for (path, text) in [("etc/hostname", format!("{name}\n")), ("etc/hosts", hosts)] {
            put(root, path, text.as_bytes(), 0o644)?;
        }
    }
    if let Some(folder) = &machine.network {
        network(folder, project, root, watch)?;
    }
    if let Some(keys) = &machine.authorized_keys {
        let keys = read(keys)?;
        if keys.is_empty() {
            watch.line("no key of the machine lets anybody in");
        } else {
            put(root, "root/.ssh/authorized_keys", &keys, 0o600)?;
            root.set(Path::new("root/.ssh"), Some(0o700), None).map_err(file("closing .ssh"))?;
        }
    }
    host_keys(machine, root)?;
    if let (Target::Alpine, Some(console)) = (&project.target, &machine.console) {
        alpine::login_at(console, root)?;
    }
    mirror_list(&project.target, mirrors, root, watch)?;
    services(project, root, watch)
}

/// Names the mirrors that packages came from, if the packaged list names none.
///
/// Otherwise nothing could be updated.
fn mirror_list(
    target: &Target,
    mirrors: &[String],
    root: &Root,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let path = match target {
        Target::Arch => "etc/pacman.d/mirrorlist",
        Target::Alpine => "etc/apk/repositories",
        Target::Debian { .. } => return Ok(()),
    };
    let own = root.read(Path::new(path)).map_err(file(format!("reading /{path}")))?;
    let own = String::from_utf8_lossy(own.as_deref().unwrap_or_default()).into_owned();
    if own.lines().any(|line| !line.trim().is_empty() && !line.trim().starts_with('#')) {
        return Ok(());
    }
    if mirrors.is_empty() {
        watch.line(&format!(
            "/{path} names no mirror: the new system cannot be updated without one"
        ));
        return Ok(());
    }
    let text = own + "# Where this system was installed from\n" + &mirrors.join("\n") + "\n";
    put(root, path, text.as_bytes(), 0o644)
}

fn network(
    folder: &Path,
    project: &Project,
    root: &Root,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let links = links(project);
    watch.line(&format!("network: files of {} go to /{}", links.from, links.to));
    for (name, path) in files(&folder.join(links.from))? {
        // udev names the cards, whichever program configures the network.
        let is_link = Path::new(&name).extension() == Some(OsStr::new("link"));
        let to = if is_link { "etc/systemd/network" } else { links.to };
        let mode = if to.contains("systemd") || links.from == "alpine" { 0o644 } else { 0o600 };
        put(root, &format!("{to}/{name}"), &read(&path)?, mode)?;
    }
    let stub = Path::new("usr/lib/systemd/systemd-resolved");
    let resolver = Path::new("etc/resolv.conf");
    if root.has(stub) {
        let target = OsStr::new("../run/systemd/resolve/stub-resolv.conf");
        return root.symlink(resolver, target).map_err(file("linking resolv.conf"));
    }
    put(root, "etc/resolv.conf", &read(&folder.join("resolv.conf"))?, 0o644)
}

/// Returns the program that configures the network: what IMGBUILD asks for, or else the usual one.
fn links(project: &Project) -> Links {
    let has = |name: &str| project.packages.iter().any(|package| package == name);
    let (from, to, unit) = match &project.target {
        Target::Alpine => ("alpine", "etc/network", ""),
        _ if has("netplan.io") || has("netplan") => ("netplan", "etc/netplan", "systemd-networkd"),
        _ if has("network-manager") || has("networkmanager") => {
            ("networkmanager", "etc/NetworkManager/system-connections", "NetworkManager")
        }
        Target::Debian { .. } if has("ifupdown") || has("ifupdown2") => {
            ("ifupdown", "etc/network", "networking")
        }
        _ => ("networkd", "etc/systemd/network", "systemd-networkd"),
    };
    Links { from, to, unit }
}

/// Replaces the generated host keys by those of the running system, if it has any.
fn host_keys(machine: &Machine, root: &Root) -> Result<(), Problem> {
    let Some(folder) = &machine.host_keys else { return Ok(()) };
    let inherited = files(folder)?;
    if inherited.is_empty() {
        return Ok(());
    }
    let is_key = |name: &String| name.starts_with("ssh_host_");
    for name in root.names("etc/ssh").iter().filter(|name| is_key(name)) {
        root.remove(&Path::new("etc/ssh").join(name)).map_err(file("removing a host key"))?;
    }
    for (name, path) in inherited {
        let public = Path::new(&name).extension() == Some(OsStr::new("pub"));
        let mode = if public { 0o644 } else { 0o600 };
        put(root, &format!("etc/ssh/{name}"), &read(&path)?, mode)?;
    }
    Ok(())
}

/// Enables the services that the distribution leaves off.
fn services(project: &Project, root: &Root, watch: &mut dyn Watch) -> Result<(), Problem> {
    let script = starting(project, root);
    chroot::run(root, project, ("having services start", &script, b""), watch)
}

fn starting(project: &Project, root: &Root) -> String {
    let mut script = String::from("set -e\n");
    if project.target == Target::Alpine {
        let has = |service: &str| root.has(&Path::new("etc/init.d").join(service));
        for (services, level) in OPENRC {
            for service in services.split(' ') {
                let is_second = service == BUSYBOX_TIME && (has("chronyd") || has("openntpd"));
                if has(service) && !is_second {
                    let _infallible = writeln!(script, "rc-update --quiet add {service} {level}");
                }
            }
        }
        return script;
    }
    let other = project.packages.iter().any(|package| OTHER_TIME.contains(&package.as_str()));
    let time = (!other).then_some(&TIME);
    for unit in [links(project).unit].iter().chain(UNITS).chain(time) {
        if root.has(Path::new(&format!("usr/lib/systemd/system/{unit}.service"))) {
            let _infallible = writeln!(script, "systemctl --quiet enable {unit}");
        }
    }
    script
}

/// Returns the files of a folder by their names; none if there is no such folder.
fn files(folder: &Path) -> Result<Vec<(String, PathBuf)>, Problem> {
    let list = || -> io::Result<_> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                found.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
            }
        }
        found.sort();
        Ok(found)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(file(format!("reading {}", folder.display()))),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Problem> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(file(format!("reading {}", path.display()))),
    }
}

fn put(root: &Root, path: &str, mut bytes: &[u8], mode: u32) -> Result<(), Problem> {
    root.place(Path::new(path), &mut bytes, mode).map_err(file(format!("writing /{path}")))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::step::tests::Said;

    fn project(target: Target, packages: &[&str]) -> Project {
        let values = [("imgname", "i"), ("target", "arch"), ("format", "dir")];
        let values = values.map(|(name, value)| (name.to_owned(), value.into()));
        let made = Project::from_variables(Path::new("/"), values.into(), [].into(), None);
        let packages = packages.iter().map(|name| (*name).to_owned()).collect();
        Project { target, packages, ..made.unwrap() }
    }

    #[test]
    fn the_program_that_is_installed_gets_the_network() {
        let debian = || Target::Debian { suite: "stable".to_owned() };
        for (target, packages, want) in [
            (debian(), &[][..], "networkd"),
            (debian(), &["ifupdown"], "ifupdown"),
            (debian(), &["network-manager"], "networkmanager"),
            (debian(), &["netplan.io", "network-manager"], "netplan"),
            (Target::Arch, &["networkmanager"], "networkmanager"),
            (Target::Arch, &[], "networkd"),
            (Target::Alpine, &[], "alpine"),
        ] {
            assert_eq!(links(&project(target, packages)).from, want, "{packages:?}");
        }
    }

    #[test]
    fn what_sets_links_up_starts_and_nothing_else_that_would() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        let units = ["systemd-networkd", "NetworkManager", "sshd", "dropbear"];
        for unit in units {
            let path = format!("usr/lib/systemd/system/{unit}.service");
            put(&root, &path, b"", 0o644).unwrap();
        }
        for service in ["networking", "dropbear"] {
            put(&root, &format!("etc/init.d/{service}"), b"", 0o755).unwrap();
        }
        let ssh = "systemctl --quiet enable sshd\nsystemctl --quiet enable dropbear\n";
        for (target, package, want) in [
            (Target::Arch, "base", format!("systemctl --quiet enable systemd-networkd\n{ssh}")),
            (
                Target::Arch,
                "networkmanager",
                format!("systemctl --quiet enable NetworkManager\n{ssh}"),
            ),
            (
                Target::Alpine,
                "alpine-base",
                "rc-update --quiet add networking boot\nrc-update --quiet add dropbear default\n"
                    .to_owned(),
            ),
        ] {
            let script = starting(&project(target, &[package]), &root);
            assert_eq!(script, format!("set -e\n{want}"), "{package}");
        }
    }

    #[test]
    fn mirrors_are_named_where_no_package_names_any() {
        let mirrors = ["Server = https://mirror.invalid/$repo".to_owned()];
        for (own, want) in [
            (
                None,
                "# Where this system was installed from\nServer = https://mirror.invalid/$repo\n",
            ),
            (
                Some("## Arch\n#Server = https://other.invalid\n"),
                "## Arch\n#Server = https://other.invalid\n# Where this system was installed from\n\
                 Server = https://mirror.invalid/$repo\n",
            ),
            (Some("Server = https://other.invalid\n"), "Server = https://other.invalid\n"),
        ] {
            let image = tempfile::tempdir().unwrap();
            let root = Root::open(image.path()).unwrap();
            if let Some(own) = own {
                put(&root, "etc/pacman.d/mirrorlist", own.as_bytes(), 0o644).unwrap();
            }
            let mut said = Said::default();
            mirror_list(&Target::Arch, &mirrors, &root, &mut said).unwrap();
            let text = root.read(Path::new("etc/pacman.d/mirrorlist")).unwrap().unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), want);
            assert_eq!(said.0, [""; 0]);
        }
        let image = tempfile::tempdir().unwrap();
        let mut said = Said::default();
        mirror_list(&Target::Alpine, &[], &Root::open(image.path()).unwrap(), &mut said).unwrap();
        assert_eq!(said.0.len(), 1, "{:?}", said.0);
    }

    #[test]
    fn keys_and_network_are_taken_over_with_their_modes() {
        let folder = tempfile::tempdir().unwrap();
        let (image, from) = (folder.path().join("image"), folder.path().join("from"));
        fs::create_dir_all(image.join("etc/ssh")).unwrap();
        fs::write(image.join("etc/ssh/ssh_host_rsa_key"), "drawn").unwrap();
        fs::create_dir_all(from.join("networkd")).unwrap();
        fs::create_dir_all(from.join("keys")).unwrap();
        for (path, text) in [
            ("networkd/10-eth0.network", "[Match]\n"),
            ("networkd/10-eth0.link", "[Match]\n"),
            ("resolv.conf", "nameserver 192.0.2.1\n"),
            ("keys/ssh_host_ed25519_key", "inherited"),
        ] {
            fs::write(from.join(path), text).unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let key = from.join("keys/ssh_host_ed25519_key");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let machine = Machine {
            network: Some(from.clone()),
            host_keys: Some(from.join("keys")),
            ..Machine::from_environment(Path::new("/dev/null"))
        };
        let root = Root::open(&image).unwrap();
        let debian = project(Target::Debian { suite: "stable".to_owned() }, &[]);
        network(&from, &debian, &root, &mut Said::default()).unwrap();
        host_keys(&machine, &root).unwrap();
        assert_eq!(root.names("etc/systemd/network"), ["10-eth0.link", "10-eth0.network"]);
        assert_eq!(root.names("etc/ssh"), ["ssh_host_ed25519_key"]);
        assert_eq!(mode(&image.join("etc/ssh/ssh_host_ed25519_key")), 0o600);
        let text = root.read(Path::new("etc/resolv.conf")).unwrap().unwrap();
        assert_eq!(text, b"nameserver 192.0.2.1\n");
    }
}
