//! Makes initramfs generators include the drivers of any machine while an image is built.
//!
//! Some look at the machine that they run on: mkinitcpio's hook `autodetect`, dracut's `hostonly`,
//! and initramfs-tools with `MODULES=dep`. The image boots on another machine, or from another
//! kernel. Alpine's mkinitfs has a fixed list.

use std::path::Path;

use crate::error::{Problem, file};
use crate::project::{Project, Target};
use crate::root::Root;

/// A file of settings, which its generator reads after all others.
struct Setting {
    path: &'static str,
    text: &'static str,
    /// The folders that it is in, which are removed with it if they are empty then.
    folders: &'static [&'static str],
    /// The generator, whose packages own these folders.
    program: &'static str,
}

/// Settings for mkinitcpio.conf(5), which is a Bash script, and so is this.
const MKINITCPIO: Setting = Setting {
    path: "etc/mkinitcpio.conf.d/zz-makeimg.conf",
    text: "for makeimg in \"${!HOOKS[@]}\"; do\n    \
           [ \"${HOOKS[makeimg]}\" != autodetect ] || unset \"HOOKS[makeimg]\"\ndone\nunset makeimg\n",
    folders: &["etc/mkinitcpio.conf.d"],
    program: "usr/bin/mkinitcpio",
};
/// Settings for initramfs.conf(5).
const INITRAMFS_TOOLS: Setting = Setting {
    path: "etc/initramfs-tools/conf.d/zz-makeimg",
    text: "MODULES=most\n",
    folders: &["etc/initramfs-tools/conf.d", "etc/initramfs-tools"],
    program: "usr/sbin/update-initramfs",
};
/// Settings for dracut.conf(5).
const DRACUT: Setting = Setting {
    path: "etc/dracut.conf.d/zz-makeimg.conf",
    text: "hostonly=\"no\"\n",
    folders: &["etc/dracut.conf.d"],
    program: "usr/bin/dracut",
};

fn settings(target: &Target) -> &'static [Setting] {
    match target {
        Target::Arch => &[MKINITCPIO, DRACUT],
        Target::Debian { .. } => &[INITRAMFS_TOOLS, DRACUT],
        Target::Alpine => &[],
    }
}

/// Writes the settings before any package is installed.
pub(crate) fn prepare(project: &Project, root: &Root) -> Result<(), Problem> {
    for Setting { path, text, .. } in settings(&project.target) {
        root.place(Path::new(path), &mut text.as_bytes(), 0o644)
            .map_err(file(format!("writing /{path}")))?;
    }
    Ok(())
}

/// Removes them again: from now on, an initramfs is made on the machine that it is for.
pub(crate) fn restore(project: &Project, root: &Root) -> Result<(), Problem> {
    for Setting { path, folders, program, .. } in settings(&project.target) {
        let path = Path::new(path);
        let removing = || file(format!("removing /{}", path.display()));
        if root.has(path) {
            root.remove(path).map_err(removing())?;
        }
        if !root.has(Path::new(program)) {
            for folder in *folders {
                root.remove_empty(Path::new(folder)).map_err(removing())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(target: &str) -> Project {
        let values = [("imgname", "i"), ("target", target), ("format", "dir")];
        let values = values.map(|(name, value)| (name.to_owned(), value.into()));
        Project::from_variables(Path::new("/"), values.into(), [].into(), None).unwrap()
    }

    #[test]
    fn nothing_of_the_settings_is_left() {
        for target in ["arch", "alpine", "debian"] {
            let image = tempfile::tempdir().unwrap();
            let root = Root::open(image.path()).unwrap();
            let project = project(target);
            root.folder("etc").unwrap();
            prepare(&project, &root).unwrap();
            assert_eq!(root.names("etc").is_empty(), target == "alpine", "{target}");
            restore(&project, &root).unwrap();
            assert_eq!(root.names("etc"), [""; 0], "{target}");
        }
    }

    #[test]
    fn a_folder_of_a_generator_that_is_installed_stays() {
        let image = tempfile::tempdir().unwrap();
        let root = Root::open(image.path()).unwrap();
        let project = project("arch");
        prepare(&project, &root).unwrap();
        root.place(Path::new(MKINITCPIO.program), &mut &b""[..], 0o755).unwrap();
        restore(&project, &root).unwrap();
        assert_eq!(root.names("etc"), ["mkinitcpio.conf.d"]);
    }

    #[test]
    fn a_shell_takes_autodetect_out_of_the_hooks() {
        let bash = crate::command::Command::new("bash");
        let script = format!(
            "HOOKS=(base autodetect modconf autodetect)\n{}echo \"${{HOOKS[*]}}\"",
            MKINITCPIO.text
        );
        let mut said = crate::step::tests::Said::default();
        let output = bash.args(["-euc", &script]).output(&mut said).unwrap();
        assert_eq!(String::from_utf8(output).unwrap(), "base modconf\n");
    }
}
