//! Runs a script in the image, in namespaces of its own, so that nothing of it is left behind.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use contract::environment::PATH;

use crate::command::Command;
use crate::error::{Problem, file};
use crate::private;
use crate::project::Project;
use crate::root::Root;
use crate::step::Watch;

/// Mounts what programs expect, then changes into the image.
///
/// `$1` is its root folder, `$2` the folder of the script, `$3` the project. Everything is in a
/// mount namespace, and every process in a PID namespace, so both end with this shell. A user
/// namespace may not mount a proc if the host hides parts of its own, nor may it mount a sysfs of
/// its own.
const ENTER: &str = r#"
mount -t proc proc "$1/proc" 2>/dev/null || mount --rbind /proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
mount -t tmpfs -o mode=755 run "$1/run"
mkdir "$1/run/makeimg" "$1/run/lock"
chmod 1777 "$1/run/lock"
mount --bind "$2" "$1/run/makeimg"
mount --bind "$3" "$1/run/makeimg/project"
mount -o remount,bind,ro "$1/run/makeimg/project" 2>/dev/null || :
set +e
chroot "$1" /bin/sh /run/makeimg/script
exit $?
"#;

/// Runs a script in the image; errors call it `shown`.
///
/// The script finds `values` as `/run/makeimg/values` and the project as `/run/makeimg/project`.
pub(crate) fn run(
    root: &Root,
    project: &Project,
    (shown, script, values): (&str, &str, &[u8]),
    watch: &mut dyn Watch,
) -> Result<(), Problem> {
    let private = private::folder(project.scratch.as_deref())?;
    // Other users in the image may look at the project, whose own modes decide whether they can.
    let work = private.path().join("makeimg");
    for folder in [&work, &work.join("project")] {
        let making = file(format!("making {}", folder.display()));
        DirBuilder::new().mode(0o755).create(folder).map_err(making)?;
    }
    private::write(&work.join("script"), script.as_bytes())?;
    private::write(&work.join("values"), values)?;
    for folder in ["proc", "sys", "dev", "run"] {
        root.folder(folder).map_err(file(format!("making /{folder} of the image")))?;
    }
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", ENTER, "sh"])
        .args([root.path(), &work, &project.folder])
        .envs(&project.environment)
        .env("HOME", "/root")
        .env("PATH", PATH)
        // adduser of busybox gives this shell to new users, and the image may not have the host's.
        .env("SHELL", "/bin/sh")
        .without("TMPDIR")
        .without("TMP")
        .without("TEMP")
        .shown(shown)
        .run(watch)?;
    Ok(())
}
