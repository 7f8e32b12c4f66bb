//! The contract: one test for each row of the table of features that concerns IMGBUILD and makeimg.
#![expect(clippy::expect_used, reason = "the helpers of a test may fail it")]

#[path = "support/alpine.rs"]
mod alpine;
#[path = "support/arch.rs"]
mod arch;
#[path = "support/debian.rs"]
mod debian;
#[path = "support/formats.rs"]
mod formats;
#[path = "support/mistakes.rs"]
mod mistakes;
#[path = "support/world.rs"]
mod world;

use std::fs;

use makeimg::Step;
use world::{Log, SMALLEST, World};

/// Runs the build that the others start in namespaces of its own; this is not a row.
#[test]
fn worker() {
    world::work();
}

/// Says why a test did nothing.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(reason: &str) {
    eprintln!("skipped: {reason}");
}

fn smallest(more: &str) -> World {
    World::new(&format!("{SMALLEST}{more}"))
}

#[test]
fn row_36_a_posix_shell_script_with_one_value_per_line() {
    for shell in ["/usr/bin/dash", "/bin/busybox"] {
        let world = smallest(
            "packages=\"\n  first\n# not this\n\n$(echo second)\n${HOST_PACKAGE:-third}\n\"\n\
             provision() { printf %s \"$packages\" >/packages; }\n",
        );
        world.link("bin/sh", shell);
        let world = world.with("HOST_PACKAGE", "fourth");
        world.builds();
        let calls = world.read("calls");
        assert!(calls.contains("--include=first,second,fourth "), "{shell}: {calls}");
        let packages = world.read("out/small/packages");
        assert_eq!(packages, "\n  first\n# not this\n\nsecond\nfourth\n", "{shell}");
    }
}

#[test]
fn row_37_imgname_names_the_result() {
    let world = World::new("imgname=\"my image\"\ntarget=debian\nformat=dir\n");
    assert_eq!(world.builds().made, Some(world.path("out/my image")));
}

#[test]
fn row_38_target_is_arch_alpine_or_debian() {
    for (target, tool) in [("arch", "pacstrap"), ("alpine", "apk"), ("debian", "mmdebstrap")] {
        let world = smallest(&format!("target={target}\n"));
        world.builds();
        let calls = world.read("calls");
        assert_eq!(calls.split(' ').next(), Some(tool), "{calls}");
    }
}

#[test]
fn row_39_debian_suite_is_stable_by_default() {
    for (line, suite) in [("", " stable "), ("debian_suite=bookworm\n", " bookworm ")] {
        let world = smallest(&format!("{line}provision() {{ echo \"$debian_suite\" >/suite; }}\n"));
        world.builds();
        assert!(world.read("calls").contains(suite), "{}", world.read("calls"));
        assert_eq!(world.read("out/small/suite").trim(), suite.trim());
    }
}

#[test]
fn row_39_anemos_env_names_mirror_and_time() {
    let world = smallest("provision() { touch /now; }\n").with("MIRROR", "http://caller.invalid");
    let world = world.with("SOURCE_DATE_EPOCH", "1");
    world.write("project/anemos.env", "MIRROR=http://own.invalid\nSOURCE_DATE_EPOCH=1000000000\n");
    world.builds();
    assert!(world.read("calls").contains(" http://own.invalid "), "{}", world.read("calls"));
    assert_eq!(world.output("stat -c %Y out/small/now"), "1000000000\n");
}

#[test]
fn row_40_packages_are_installed() {
    for (target, want) in [
        ("arch", "/root base vim http_proxy="),
        ("alpine", " add base vim http_proxy="),
        ("debian", " --include=base,vim stable "),
    ] {
        let world = smallest(&format!("target={target}\npackages='base\nvim'\n"));
        world.builds();
        assert!(world.read("calls").contains(want), "{}", world.read("calls"));
    }
}

#[test]
fn row_41_hostconf_keyring() {
    for (hostconf, want) in [
        ("", "pacstrap -G -M "),
        ("keyring", "pacstrap -M "),
        ("keyring\nmirrorlist", "pacstrap /"),
    ] {
        let world = smallest(&format!("target=arch\nhostconf='{hostconf}'\n"));
        world.builds();
        assert!(world.read("calls").starts_with(want), "{}", world.read("calls"));
    }
}

#[test]
fn row_46_provision_runs_in_the_image() {
    let world = smallest(
        "x=\"a'b\"\nhelper() { echo \"$x $imgname $target $format\"; }\n\
         provision() { helper >/x; id -u >/id; ls /proc/self /dev/null /sys/kernel >/dev/null\n\
         cat /etc/resolv.conf >/resolver; chown www:www /etc/numbers; echo said; }\n",
    );
    let outcome = world.builds();
    assert_eq!(world.read("out/small/x"), "a'b small debian dir\n");
    assert_eq!(world.read("out/small/id"), "0\n");
    assert_eq!(
        world.read("out/small/resolver"),
        fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
    );
    assert!(!world.path("out/small/etc/resolv.conf").exists(), "it is restored");
    assert_eq!(world.stat("out/small/etc/numbers"), (0o640, 33, 33));
    assert!(outcome.told.contains("| said\n"), "{}", outcome.told);
    for folder in ["proc", "sys", "dev", "run"] {
        let left = fs::read_dir(world.path("out/small").join(folder)).expect("a folder").count();
        assert_eq!(left, 0, "/{folder}");
    }
}

#[test]
fn row_46_shell_and_folders_of_the_host_are_unknown_in_the_image() {
    let world = smallest("provision() { echo \"$SHELL ${TMPDIR-} ${TMP-} ${TEMP-}\" >/known; }\n");
    let world =
        ["TMPDIR", "TMP", "TEMP"].iter().fold(world, |world, name| world.with(name, "/tmp"));
    let world = world.with("SHELL", "/bin/none");
    world.builds();
    assert_eq!(world.read("out/small/known"), "/bin/sh   \n");
}

#[test]
fn row_46_values_of_variables_are_for_root_alone() {
    let world = smallest(
        "format=custom\nsetup() { stat -c %a \"$__makeimg_values\"; echo \"$__makeimg_values\"; }\n\
         cleanup() { :; }\nprovision() { stat -c '%a %n' /run/makeimg /run/makeimg/values; }\n",
    );
    let told = world.builds().told;
    let work = world.path("out/.small.makeimg/.tmp");
    for line in [
        "| 600\n".to_owned(),
        "| 755 /run/makeimg\n".to_owned(),
        "| 600 /run/makeimg/values\n".to_owned(),
        // If this one is killed, the next build removes it there.
        format!("| {}", work.display()),
    ] {
        assert!(told.contains(&line), "{line}: {told}");
    }
}

#[test]
fn row_46_provision_fails_the_build() {
    let world = smallest("provision() { echo before; cat /missing; echo never >/after; }\n");
    let outcome = world.build();
    assert!(
        !outcome.refused
            && outcome
                .error
                .contains("provision of IMGBUILD ended with exit status: 1: before\ncat: "),
        "{}",
        outcome.error
    );
    assert!(!outcome.told.contains("finish begins"), "{}", outcome.told);
}

#[test]
fn row_47_format_is_overridden_on_the_command_line() {
    let mut world = smallest("provision() { echo \"$format\" >/format; }\n");
    world.options.format = Some("tar gz".to_owned());
    assert_eq!(world.builds().made, Some(world.path("out/small.tar.gz")));
    assert_eq!(world.output("tar -xOf out/small.tar.gz ./format"), "tar gz\n");
}

#[test]
fn row_48_files_is_the_default_input_folder() {
    let mut world = smallest("");
    world.write("project/files/etc/a", "files");
    world.write("project/other/etc/b", "other");
    world.builds();
    assert_eq!(world.read("out/small/etc/a"), "files");
    world.options.inputs = vec!["other".into()];
    world.builds();
    assert_eq!(world.read("out/small/etc/b"), "other");
    assert!(!world.path("out/small/etc/a").exists(), "folders that are given replace the default");
}

#[test]
fn row_49_of_several_input_folders_later_ones_win() {
    let mut world = smallest("");
    for folder in ["one", "two"] {
        world.write(&format!("project/{folder}/etc/{folder}"), folder);
        world.write(&format!("project/{folder}/etc/both"), folder);
    }
    world.options.inputs = vec!["one".into(), "two".into()];
    world.builds();
    let read = |name: &str| world.read(&format!("out/small/etc/{name}"));
    assert_eq!([read("one"), read("two"), read("both")], ["one", "two", "two"]);
}

#[test]
fn row_50_files_are_copied_with_mode_and_owner_root() {
    let world = smallest("");
    for (path, mode) in [("usr/local/bin/tool", 0o755), ("etc/private", 0o600), ("bin/x", 0o4711)] {
        world.write(&format!("project/files/{path}"), path);
        world.mode(&format!("project/files/{path}"), mode);
    }
    std::os::unix::fs::chown(world.path("project/files/etc/private"), Some(1000), Some(1000))
        .unwrap_or_default();
    world.builds();
    let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    for (path, mode) in
        [("usr/local/bin/tool", 0o755), ("etc/private", 0o600), ("usr/bin/x", 0o4711)]
    {
        assert_eq!(world.stat(&format!("out/small/{path}")), (mode, user, group), "{path}");
    }
    assert_eq!(world.stat("out/small/usr/local").0, 0o755);
    assert_eq!(
        fs::read_link(world.path("out/small/bin")).expect("a symlink").as_os_str(),
        "usr/bin"
    );
}

#[test]
fn row_51_symlinks_are_copied_as_they_are() {
    let world = smallest("");
    world.link("project/files/etc/here", "numbers");
    world.link("project/files/etc/dangling", "/no/such/file");
    world.link("project/files/etc/named.makeimg.patch", "numbers");
    world.builds();
    for (name, want) in
        [("here", "numbers"), ("dangling", "/no/such/file"), ("named.makeimg.patch", "numbers")]
    {
        let link = fs::read_link(world.path("out/small/etc").join(name)).expect("a symlink");
        assert_eq!(link.as_os_str(), want);
    }
}

const PATCH: &str = "--- a/x\n+++ b/x\n@@ -3,4 +3,4 @@\n three\n-four\n+vier\n five\n six\n";

#[test]
fn row_52_patches_are_applied() {
    let world = smallest("");
    world.write("project/files/etc/numbers.makeimg.patch", PATCH);
    world.builds();
    assert_eq!(world.read("out/small/etc/numbers"), "one\ntwo\nthree\nvier\nfive\nsix\nseven\n");
    assert_eq!(world.stat("out/small/etc/numbers").0, 0o640, "the mode of the target stays");
    let names = fs::read_dir(world.path("out/small/etc")).expect("a folder");
    let odd = names.flatten().filter(|entry| entry.file_name().to_string_lossy().contains('.'));
    assert_eq!(odd.count(), 0, "nothing is left over");
}

#[test]
fn row_53_templates_are_rendered() {
    let world = smallest("port=8080\n").with("FROM_OUTSIDE", "yes");
    let template = "listen ${port}; # $${port} $host\nimage ${imgname} ${format} ${FROM_OUTSIDE} ${debian_suite}\n";
    world.write("project/files/etc/app.conf.makeimg.template", template);
    world.mode("project/files/etc/app.conf.makeimg.template", 0o640);
    world.builds();
    let want = "listen 8080; # ${port} $host\nimage small dir yes stable\n";
    assert_eq!(world.read("out/small/etc/app.conf"), want);
    assert_eq!(world.stat("out/small/etc/app.conf").0, 0o640);
}

#[test]
fn row_54_older_folders_for_patches_and_templates() {
    let world = smallest("port=80\n");
    world.write("project/patches/etc/numbers", PATCH);
    world.write("project/templates/etc/a", "${port}");
    world.write("project/templates/etc/b.makeimg.template", "${port}");
    world.builds();
    let read = |name: &str| world.read(&format!("out/small/etc/{name}"));
    assert!(read("numbers").contains("vier"));
    assert_eq!([read("a"), read("b")], ["80", "80"]);
}

#[test]
fn row_55_secrets_are_placed_and_available_to_templates() {
    let world = smallest("format='tar'\n");
    world.write("project/secrets/etc/app/key", "plain\n");
    world
        .program("project/secrets/password", "#!/bin/sh\necho \"from $PWD\" >&2\necho \"$WORD\"\n");
    world.write("project/anemos.env", "WORD=s3cret\n");
    world.write(
        "project/files/etc/app.conf.makeimg.template",
        "p=${secret:password}\nk=${secret:etc/app/key}\n",
    );
    let outcome = world.builds();
    let read = |name: &str| world.output(&format!("tar -xOf out/small.tar.gz ./{name}"));
    assert_eq!(read("etc/app/key"), "plain\n");
    assert_eq!(read("etc/app.conf"), "p=s3cret\nk=plain\n");
    let list = world.output("tar -tvf out/small.tar.gz --numeric-owner");
    for name in ["etc/app/key", "etc/app.conf"] {
        let line = list.lines().find(|line| line.ends_with(name)).unwrap_or_default();
        assert!(line.starts_with("-rw------- 0/0 "), "{line}");
    }
    assert!(!list.contains("password"), "one without a folder is for templates alone");
    assert!(
        !outcome.told.contains("s3cret") && !outcome.told.contains("plain"),
        "{}",
        outcome.told
    );
}

#[test]
fn row_56_secrets_are_revealed_and_then_used() {
    let world = smallest("");
    world.program("project/secrets/etc/key", "#!/bin/sh\necho once >>ran\necho revealed\n");
    let folder = makeimg::reveal(&world.path("project"), &mut Log::default()).expect("secrets");
    assert_eq!(folder, world.path("project/secrets.revealed"));
    assert_eq!(world.read("project/secrets.revealed/etc/key"), "revealed\n");
    assert_eq!(world.stat("project/secrets.revealed").0, 0o700);
    assert_eq!(world.stat("project/secrets.revealed/etc/key").0, 0o600);
    world.builds();
    assert_eq!(world.read("out/small/etc/key"), "revealed\n");
    assert_eq!(world.read("project/ran"), "once\n", "a build runs nothing once they are revealed");
}

#[test]
fn row_57_modes_and_owners_by_a_file() {
    let world = smallest("");
    world.write("project/files/etc/app.conf", "x");
    world.write("project/secrets/etc/key", "x");
    world.write(
        "project/modes",
        "# what git cannot keep\n0440 www:www /etc/app.conf\n2750 - /etc\n- 0:33 /etc/key\n",
    );
    world.builds();
    assert_eq!(world.stat("out/small/etc/app.conf"), (0o440, 33, 33));
    assert_eq!(world.stat("out/small/etc").0, 0o2750);
    let (mode, _, group) = world.stat("out/small/etc/key");
    assert_eq!((mode, group), (0o600, 33));
}

#[test]
fn row_58_pacman_conf_is_for_pacstrap_and_not_copied() {
    let world = smallest("target=arch\n");
    world.write("project/pacman.conf", "[options]\n");
    world.builds();
    let want = format!("pacstrap -C {} -G -M ", world.path("project/pacman.conf").display());
    assert!(world.read("calls").starts_with(&want), "{}", world.read("calls"));
    assert!(!world.path("out/small/etc/pacman.conf").exists());
}

#[test]
fn row_59_repositories_and_keys_are_for_apk() {
    let world = smallest("target=alpine\n");
    world.write("project/repositories", "/srv/main\n");
    world.write("project/keys/own.rsa.pub", "key");
    world.builds();
    let project = world.path("project");
    let project = project.display();
    let want = format!(
        " --keys-dir {project}/keys --repositories-file {project}/repositories add alpine-base "
    );
    assert!(world.read("calls").contains(&want), "{}", world.read("calls"));
    assert_eq!(world.read("out/small/etc/apk/keys/own.rsa.pub"), "key");
    assert!(!world.path("out/small/etc/apk/repositories").exists());
}

#[test]
fn row_60_tools_are_needed_by_target_alone() {
    for (target, tool, package) in
        [("arch", "pacstrap", "arch-install-scripts"), ("alpine", "apk", "apk-tools")]
    {
        let world = smallest(&format!("target={target}\n"));
        fs::remove_file(world.path("bin").join(tool)).expect("a tool");
        let bare = world.bare_path();
        let outcome = world.with("PATH", bare).build();
        assert!(outcome.refused, "{}", outcome.error);
        assert_eq!(
            outcome.error,
            format!("step prepare: {tool} is missing, which target {target} needs")
        );
        assert!(outcome.hint.contains(package), "{}", outcome.hint);
    }
    let world = smallest("");
    for tool in ["apk", "pacstrap"] {
        fs::remove_file(world.path("bin").join(tool)).expect("a tool");
    }
    let bare = world.bare_path();
    world.with("PATH", bare).builds();
}

#[test]
fn row_60_a_setpriv_that_knows_little_is_done_without() {
    let world = smallest("");
    world.program("bin/setpriv", "#!/bin/sh\nexit 1\n");
    // The test's own environment differs, so it must be the worker that makes the namespaces.
    let world = world.with("MAKEIMG_OUTER", "1");
    assert_eq!(world.builds().made, Some(world.path("out/small")));
}

#[test]
fn row_61_everything_but_imgbuild_and_bootstrapping_is_optional() {
    let world = smallest("");
    let outcome = world.builds();
    let mut log = outcome.told.replace(&world.path("").display().to_string(), "[world]/");
    log = log.replace("//", "/");
    insta::assert_snapshot!(log);
    let entries = fs::read_dir(world.path("project")).expect("a folder").count();
    assert_eq!(entries, 1, "the project is left as it was");
    assert!(Step::Evaluate < Step::Bootstrap);
}
