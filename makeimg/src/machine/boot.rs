//! Makes a machine boot the system that was installed on it, by fstab(5) and GRUB.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::alpine;
use crate::boot_files;
use crate::chroot;
use crate::error::{Problem, file};
use crate::fstab;
use crate::machine::Machine;
use crate::machine::disk::Disk;
use crate::project::{Project, Target};
use crate::root::Root;
use crate::step::Watch;
use contract::firmware::Firmware;
use contract::quote;

/// Where Debian's grub-mkconfig finds more settings files.
const MORE_SETTINGS: &str = "etc/default/grub.d";

/// The settings files of GRUB by their paths.
pub(crate) type Settings = BTreeMap<String, Vec<u8>>;

/// Reads the settings that a system has for GRUB.
pub(crate) fn settings(root: &Root) -> Result<Settings, Problem> {
    let more = root.names(MORE_SETTINGS).into_iter().map(|name| format!("{MORE_SETTINGS}/{name}"));
    let mut found = Settings::new();
    for path in more.chain(["etc/default/grub".to_owned()]) {
        let text = root.read(Path::new(&path)).map_err(file(format!("reading /{path}")))?;
        found.extend(text.map(|text| (path, text)));
    }
    Ok(found)
}

/// Writes the table of file systems and installs GRUB, by the new system's own programs.
///
/// If the settings of GRUB differ from what the packages brought, they are the project's.
pub(crate) fn install(
    machine: &Machine,
    disk: &Disk,
    (project, packaged): (&Project, &Settings),
    folder: &Path,
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let root = Root::open(folder).map_err(file("opening the root folder"))?;
    has_kernel(&root)?;
    boot_files::check(project, &root, &[])?;
    if !fstab::write(&root, &disk.table())? {
        watch.line("/etc/fstab is as the project has it");
    }
    let parameter = alpine::root_parameter(&project.target, &disk.filesystem);
    let settings = written(&root, packaged, machine.console.as_deref(), parameter)?;
    let placed = match project.target {
        Target::Debian { .. } => {
            let place = Path::new("etc/default/grub.d/anemos.cfg");
            root.place(place, &mut settings.as_bytes(), 0o644)
        }
        // Their grub-mkconfig reads only one file.
        Target::Arch | Target::Alpine => {
            let place = Path::new("etc/default/grub");
            root.read(place).and_then(|own| {
                let text =
                    [&own.unwrap_or_default(), "\n".as_bytes(), settings.as_bytes()].concat();
                root.place(place, &mut &*text, 0o644)
            })
        }
    };
    placed.map_err(file("writing the settings of GRUB"))?;
    name_by_uuid(disk)?;
    disk.mount_esp(folder, watch)?;
    watch.line("installing GRUB");
    let script = script(machine.firmware, &project.target, disk);
    chroot::run(&root, project, ("installing GRUB in the new system", &script, b""), watch)
}

/// Refuses a system without a kernel, which GRUB's programs would accept.
fn has_kernel(root: &Root) -> Result<(), Problem> {
    if !boot_files::kernels(root).is_empty() {
        return Ok(());
    }
    let hint = "name a package of a kernel, or leave all of them out to get the usual one";
    Err(Problem::refused("there is no kernel in /boot of the new system", hint))
}

/// Refuses a system that would name its root by device, which changes with the kernel or bus.
///
/// Without udev there are no names by UUID, and grub-mkconfig falls back to the device's name.
fn name_by_uuid(disk: &Disk) -> Result<(), Problem> {
    let names = Path::new("/dev/disk/by-uuid");
    let link = names.join(&disk.uuid);
    if link.exists() {
        return Ok(());
    }
    let made = fs::create_dir_all(names).and_then(|()| symlink(disk.root(), &link));
    made.map_err(file(format!("making {}", link.display())))
}

fn script(firmware: Firmware, target: &Target, disk: &Disk) -> String {
    let install = match (firmware, target) {
        (Firmware::Bios, _) => {
            let device = quote::word(&disk.device.to_string_lossy());
            format!("grub-install --target=i386-pc {device}")
        }
        // Boot by shim, so that secure boot works, and also from where firmware without boot
        // entries looks. The signed GRUB has its configuration in EFI/debian, whatever name the
        // distribution's settings give it.
        (Firmware::Uefi, Target::Debian { .. }) => {
            "grub-install --target=x86_64-efi --efi-directory=/boot/efi --bootloader-id=debian \
             --no-nvram --force-extra-removable"
                .to_owned()
        }
        (Firmware::Uefi, _) => {
            "grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --removable"
                .to_owned()
        }
    };
    // Programs of the distribution are in folders that may not be in the PATH of a deploy
    // environment.
    format!("set -e\n{install}\ngrub-mkconfig -o /boot/grub/grub.cfg\n")
}

/// Returns the text that is added to the settings of GRUB.
fn written(
    root: &Root,
    packaged: &Settings,
    console: Option<&str>,
    parameter: Option<String>,
) -> Result<String, Problem> {
    let parameters = parameters(console, parameter);
    let as_packaged = settings(root)? == *packaged;
    Ok(if as_packaged { defaults(console) + &parameters } else { parameters })
}

/// Returns the setting for the kernel's parameters.
///
/// The last console named becomes `/dev/console`, so the one that people look at comes last.
/// Parameters from other settings stay, because a shell reads those before.
fn parameters(console: Option<&str>, root: Option<String>) -> String {
    let mut consoles = vec!["tty0"];
    consoles.extend(console.filter(|console| *console != "tty0"));
    let consoles = consoles.iter().map(|console| format!("console={console}"));
    let parameters: Vec<_> = root.into_iter().chain(consoles).collect();
    format!("GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {}\"\n", parameters.join(" "))
}

/// Returns what replaces the packaged settings, which suit somebody at a screen.
fn defaults(console: Option<&str>) -> String {
    let mut text = "GRUB_TIMEOUT=1\nGRUB_CMDLINE_LINUX_DEFAULT=\n".to_owned();
    if let Some(serial) = console.and_then(|console| console.strip_prefix("ttyS")) {
        let (unit, options) = serial.split_once(',').unwrap_or((serial, "115200"));
        let speed = options.split(|other: char| !other.is_ascii_digit()).next();
        let speed = speed.filter(|speed| !speed.is_empty()).unwrap_or("115200");
        let _infallible = write!(
            text,
            "GRUB_TERMINAL=\"console serial\"\n\
             GRUB_SERIAL_COMMAND=\"serial --unit={unit} --speed={speed}\"\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_a_kernel_is_refused() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        root.place(Path::new("boot/initramfs-lts"), &mut &b""[..], 0o600).unwrap();
        let said = has_kernel(&root).unwrap_err().to_string();
        assert_eq!(said, "there is no kernel in /boot of the new system");
        root.place(Path::new("boot/vmlinuz-lts"), &mut &b""[..], 0o600).unwrap();
        has_kernel(&root).unwrap();
    }

    #[test]
    fn grub_talks_where_the_kernel_does() {
        let text = |console, root| defaults(console) + &parameters(console, root);
        insta::assert_snapshot!(text(Some("ttyS1,57600n8"), None), @r#"
        GRUB_TIMEOUT=1
        GRUB_CMDLINE_LINUX_DEFAULT=
        GRUB_TERMINAL="console serial"
        GRUB_SERIAL_COMMAND="serial --unit=1 --speed=57600"
        GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX console=tty0 console=ttyS1,57600n8"
        "#);
        insta::assert_snapshot!(text(Some("tty0"), Some("rootfstype=ext4".into())), @r#"
        GRUB_TIMEOUT=1
        GRUB_CMDLINE_LINUX_DEFAULT=
        GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX rootfstype=ext4 console=tty0"
        "#);
    }

    #[test]
    fn only_settings_of_packages_give_way() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        let place = |path: &str, text: &str| {
            root.place(Path::new(path), &mut text.as_bytes(), 0o644).unwrap();
        };
        place("etc/default/grub", "GRUB_CMDLINE_LINUX_DEFAULT=quiet\n");
        let packaged = settings(&root).unwrap();
        let written = |root: &Root| written(root, &packaged, Some("ttyS0"), None).unwrap();
        let (ours, parameters) = (defaults(Some("ttyS0")), parameters(Some("ttyS0"), None));
        assert_eq!(written(&root), format!("{ours}{parameters}"));
        place("etc/default/grub.d/own.cfg", "GRUB_CMDLINE_LINUX_DEFAULT=mitigations=off\n");
        assert_eq!(written(&root), parameters, "a file of the project");
        root.remove(Path::new("etc/default/grub.d/own.cfg")).unwrap();
        place("etc/default/grub", "GRUB_TIMEOUT=10\n");
        assert_eq!(written(&root), parameters, "a file that the project has changed");
    }
}
