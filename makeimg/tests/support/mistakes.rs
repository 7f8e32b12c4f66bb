//! Tests mistakes in an IMGBUILD: each is an error that names the thing, and leaves nothing behind.
use std::fs;

use crate::world::{Log, SMALLEST, World};

/// A mistake that is made in a working project, and the resulting error.
struct Mistake {
    name: &'static str,
    imgbuild: &'static str,
    make: fn(&mut World),
    /// The beginning of the error, without the causes that other programs word.
    error: &'static str,
    /// Words from the causes.
    says: &'static str,
    refused: bool,
}

const NO: fn(&mut World) = |_| {};

const fn mistake(
    name: &'static str,
    imgbuild: &'static str,
    make: fn(&mut World),
    error: &'static str,
) -> Mistake {
    Mistake { name, imgbuild, make, error, says: "", refused: true }
}

impl Mistake {
    /// Marks a mistake that is only found during the build.
    const fn fails(self, says: &'static str) -> Self {
        Self { refused: false, says, ..self }
    }
}

const PROJECT: &[Mistake] = &[
    mistake("unset imgname", "imgname=\n", NO, "step evaluate: imgname is not set"),
    mistake(
        "imgname with a slash",
        "imgname=a/b\n",
        NO,
        "step evaluate: imgname \"a/b\" is not a file name",
    ),
    mistake("missing target", "unset target\n", NO, "step evaluate: target is not set"),
    mistake(
        "unknown target",
        "target=gentoo\n",
        NO,
        "step evaluate: target \"gentoo\" is not known",
    ),
    mistake(
        "bad format",
        "format=iso\n",
        NO,
        "step evaluate: format \"iso\": this is not a known format",
    ),
    mistake(
        "bad size",
        "format='raw 8Q'\n",
        NO,
        "step evaluate: format \"raw 8Q\": \"8Q\" is not a size, such as 8G",
    ),
    mistake(
        "bad parttype",
        "format='raw 8G mbr'\n",
        NO,
        "step evaluate: format \"raw 8G mbr\": \"mbr\" is neither msdos nor gpt",
    ),
    mistake(
        "a size that is too large",
        "format='raw 3T msdos'\n",
        NO,
        "step prepare: a partition table msdos has no numbers for 3072 GiB",
    ),
    mistake(
        "bad compression",
        "format='tar rar'\n",
        NO,
        "step prepare: format tar: \"rar\" is not a compression that tar(1) knows",
    ),
    mistake(
        "unknown file system",
        "format='raw 8G gpt nofs'\n",
        NO,
        "step prepare: mkfs.nofs is missing, which this file system needs",
    ),
    mistake(
        "a disk image that its own initramfs does not mount",
        "target=alpine\npackages=linux-virt\nformat='raw 8G gpt btrfs'\n",
        NO,
        "step prepare: the initramfs of Alpine does not mount btrfs",
    ),
    mistake(
        "custom without setup",
        "format=custom\n",
        NO,
        "step prepare: format custom needs a function setup in IMGBUILD",
    ),
    mistake(
        "unknown hostconf",
        "hostconf=locale\n",
        NO,
        "step evaluate: hostconf has no item \"locale\"",
    ),
    mistake(
        "a package that is an option",
        "packages=--force\n",
        NO,
        "step evaluate: packages: \"--force\" is not a package",
    ),
    mistake("syntax error", "packages='x'\nif then\n", NO, "step evaluate: IMGBUILD, line 5: "),
    mistake("exit", "exit 0\n", NO, "step evaluate: IMGBUILD ended the shell that read it"),
    mistake(
        "what is not set",
        "set -u\npackages=$none\n",
        NO,
        "step evaluate: IMGBUILD ended the shell that read it, with exit status: 2: ",
    ),
    mistake(
        "no IMGBUILD",
        "",
        |world| fs::remove_file(world.path("project/IMGBUILD")).expect("a file"),
        "step evaluate: there is no IMGBUILD in [project]",
    ),
    mistake(
        "bad anemos.env",
        "",
        |world| world.write("project/anemos.env", "A=1\nexport B=2\n"),
        "step evaluate: anemos.env, line 2: what is before = is not a variable name",
    ),
    mistake(
        "unreadable DIR",
        "",
        |world| world.options.inputs = vec!["nowhere".into()],
        "step prepare: the input folder [project]/nowhere is unreadable: No such file or directory (os error 2)",
    ),
    mistake(
        "a pipe among files",
        "",
        |world| drop(world.output("mkdir project/files; mkfifo project/files/pipe")),
        "step prepare: [project]/files/pipe is neither a file, a symlink nor a folder",
    ),
    mistake(
        "bad modes",
        "",
        |world| world.write("project/modes", "rw root:root /etc\n"),
        "step prepare: modes, line 1: \"rw\" is not a mode, such as 0640",
    ),
    mistake(
        "missing keyring",
        "debian_keyring=none.gpg\n",
        NO,
        "step prepare: there is no keyring [project]/none.gpg",
    ),
    mistake(
        "missing tool",
        "target=alpine\n",
        |world| {
            fs::remove_file(world.path("bin/apk")).expect("a file");
            let bare = world.bare_path();
            world.environment.push(("PATH".to_owned(), bare));
        },
        "step prepare: apk is missing, which target alpine needs",
    ),
    mistake(
        "a mirror for pacstrap",
        "target=arch\n",
        |world| world.options.mirror = Some("x".to_owned()),
        "step prepare: pacstrap takes no mirror on its command line",
    ),
    mistake(
        "unknown template name",
        "",
        |world| world.write("project/files/a.makeimg.template", "x\n${Name}\n"),
        "step prepare: [project]/files/a.makeimg.template, line 2: there is no variable Name",
    ),
    mistake(
        "unknown secret",
        "format=custom\nsetup() { :; }\n",
        |world| world.write("project/files/a.makeimg.template", "${secret:key}\n"),
        "step prepare: [project]/files/a.makeimg.template, line 1: there is no secret key",
    ),
    mistake(
        "a result in place of the project",
        "imgname=project\n",
        |world| world.options.output = Some("out/..".into()),
        "step prepare: the result would replace [project], which it is made from",
    ),
    mistake(
        "a result in place of an input folder",
        "imgname=files\n",
        |world| {
            world.write("project/files/etc/a", "x");
            world.options.output = Some("project".into());
        },
        "step prepare: [project]/files is there, and no build has made it",
    ),
    mistake(
        "a folder in place of an archive",
        "format=tar\nimgname=a\n",
        |world| {
            world.write("project/a.tar.gz/x", "");
            world.options.output = Some("project".into());
        },
        "step prepare: a folder is in the place of the result: [project]/a.tar.gz",
    ),
    mistake(
        "a bad time",
        "",
        |world| world.environment.push(("SOURCE_DATE_EPOCH".to_owned(), "now".into())),
        "step prepare: SOURCE_DATE_EPOCH is \"now\", no number of seconds",
    ),
];

const fn tool(name: &'static str, says: &'static str) -> Mistake {
    let make: fn(&mut World) = |world| {
        world.program("bin/mmdebstrap", "#!/bin/sh\necho \"$SAYS\" >&2\nexit 25\n");
    };
    mistake(
        name,
        "packages=nosuch\n",
        make,
        "step bootstrap: mmdebstrap ended with exit status: 25: ",
    )
    .fails(says)
}

const BUILDING: &[Mistake] = &[
        tool("package that does not exist", "E: Unable to locate package nosuch"),
        tool("mirror gone", "Could not connect to 127.0.0.1:9"),
        tool("signature wrong", "The following signatures were invalid: BADSIG"),
        mistake("failing setup", "format=custom\nsetup() { mount -t tmpfs none \"$1\"; echo no disk; false; }\n", NO, "step prepare: setup of IMGBUILD ended with exit status: 1: ").fails("no disk"),
        mistake("failing provision", "provision() { echo no user; false; }\n", NO, "step provision: provision of IMGBUILD ended with exit status: 1: ").fails("no user"),
        mistake("failing cleanup", "format=custom\nsetup() { :; }\ncleanup() { echo no more; false; }\n", NO, "step cleanup: cleanup of IMGBUILD ended with exit status: 1: ").fails("no more"),
        mistake("patch that does not apply", "", |world| world.write("project/files/etc/numbers.makeimg.patch", "--- a\n+++ b\n@@ -1,3 +1,3 @@\n one\n-2\n+zwei\n three\n"), "step patches: applying [project]/files/etc/numbers.makeimg.patch to /etc/numbers: patch ").fails("1 out of 1 hunk"),
        mistake("patch that needs fuzz", "", |world| world.write("project/files/etc/numbers.makeimg.patch", "--- a\n+++ b\n@@ -1,5 +1,5 @@\n 1\n two\n-three\n+drei\n four\n five\n"), "step patches: applying [project]/files/etc/numbers.makeimg.patch to /etc/numbers: patch ").fails("1 out of 1 hunk"),
        mistake("patch without target", "", |world| world.write("project/files/etc/none.makeimg.patch", ""), "step patches: applying [project]/files/etc/none.makeimg.patch to /etc/none: there is no /etc/none in the image").fails(""),
        mistake("unknown template name after setup", "format=custom\nsetup() { :; }\n", |world| world.write("project/files/a.makeimg.template", "x\n${Name}\n"), "step templates: [project]/files/a.makeimg.template, line 2: there is no variable Name").fails(""),
        mistake("secret program fails", "", |world| world.program("project/secrets/etc/key", "#!/bin/sh\necho no agent >&2\nexit 7\n"), "step secrets: revealing the secret etc/key: [project]/secrets/etc/key ended with exit status: 7: no agent").fails(""),
        mistake("modes with an unknown user", "", |world| world.write("project/modes", "0640 alice:root /etc/numbers\n"), "step secrets: modes, line 1: /etc/passwd of the image has no alice").fails(""),
        mistake("modes with a missing file", "", |world| world.write("project/modes", "0640 root:root /etc/none\n"), "step secrets: modes, line 1: setting mode and owner of /etc/none: No such file or directory (os error 2)").fails(""),
        mistake("a file where a folder is", "", |world| world.write("project/files/etc", "x"), "step files: copying [project]/files/etc to /etc: Is a directory (os error 21)").fails(""),
        mistake("disk too small", "format='raw 3M'\n", |world| world.output("mkdir project/files; truncate -s 4M project/files/large").clear(), "step finish: ").fails("of files are too much for a file system of 2 MiB"),
];

#[test]
fn a_way_out_is_told_in_every_step() {
    let world = World::new(SMALLEST);
    world.write("project/files/etc/none.makeimg.patch", "");
    let outcome = world.build();
    assert!(!outcome.refused && outcome.hint.starts_with("a patch is for "), "{}", outcome.error);
    let none = makeimg::reveal(&world.path("project"), &mut Log::default()).expect_err("a refusal");
    let (reason, _) = none.refusal().expect("a refusal");
    assert_eq!(reason, "there are no secrets to reveal");
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("procfs")
}

fn check(mistake: &Mistake) {
    let name = mistake.name;
    let mut world = World::new(&format!("{SMALLEST}{}", mistake.imgbuild));
    (mistake.make)(&mut world);
    world.environment.push(("SAYS".to_owned(), mistake.says.into()));
    let before = mounts();
    let outcome = world.build();
    let project = world.path("project").display().to_string();
    let root = world.path("out/.small.makeimg/root").display().to_string();
    let error = outcome.error.replace(&project, "[project]").replace(&root, "[root]");
    assert_eq!(outcome.made, None, "{name}");
    assert!(error.starts_with(mistake.error), "{name}: {error}\n{}", outcome.told);
    assert!(error.contains(mistake.says), "{name}: {error}");
    assert_eq!(outcome.refused, mistake.refused, "{name}: {error}");
    assert_eq!(mounts(), before, "{name}: something is still mounted");
    let left = fs::read_dir(world.path("out")).expect("a folder").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert!(left.is_empty(), "{name}: {left:?} is left\n{}", outcome.told);
}

#[test]
fn a_mistake_in_the_project_is_refused_by_its_name() {
    for mistake in PROJECT {
        check(mistake);
    }
}

#[test]
fn a_mistake_that_shows_while_building_is_named_and_leaves_nothing() {
    for mistake in BUILDING {
        check(mistake);
    }
}

#[test]
fn what_a_killed_build_has_left_is_removed_by_the_next() {
    let world = World::new(SMALLEST);
    world.write("out/.small.makeimg/root/etc/left", "x");
    let outcome = world.builds();
    assert!(outcome.told.contains("which a build has left"), "{}", outcome.told);
    assert!(!world.path("out/small/etc/left").exists());
    assert!(!world.path("out/.small.makeimg").exists());
}

#[test]
fn keep_leaves_the_root_folder_of_a_build_that_failed() {
    let mut world = World::new(&format!("{SMALLEST}provision() {{ echo x >/x; false; }}\n"));
    world.options.keep = true;
    let outcome = world.build();
    assert!(outcome.told.contains("| kept: "), "{}", outcome.told);
    assert_eq!(world.read("out/.small.makeimg/root/x"), "x\n");
    assert!(!world.path("out/small").exists());
}
