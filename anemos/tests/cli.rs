//! Tests the binary as a user meets it, in an emptied environment: output, exit codes, questions.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_anemos");

#[expect(clippy::disallowed_methods, reason = "the one place of this file that runs the binary")]
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.args(arguments).current_dir(folder).env_clear();
    command
}

/// The output of a run, and how it ended.
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        Self {
            status: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs the binary in a folder that contains only these files.
#[expect(clippy::expect_used, reason = "a helper of tests")]
fn run(files: &[(&str, &str)], arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().expect("making a folder");
    for (name, text) in files {
        fs::write(folder.path().join(name), text).expect("writing a file");
    }
    Run::of(&command(folder.path(), arguments).output().expect("running anemos"))
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let help = run(&[], &["--help"]);
    assert_eq!((help.status, help.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(help.stdout, @r"
    Redeploy a running Linux machine in place

    Usage: anemos <COMMAND>

    Commands:
      test         Rehearse the deployment of a payload in QEMU and print a verdict
      deploy       Take this machine over: all data on the selected disk is lost
      plan         Print what deploy would do; change nothing
      build        Write the final initramfs only
      reset        Undo everything that deploy prepared before the jump
      status       Show how the last deployment or rehearsal ended
      retry        Run the payload again in a rescue
      facts        Print the facts of this machine as JSON
      pack         Make a payload from a folder
      inspect      Check and describe a payload
      makeimg      Build an image from an IMGBUILD
      base         Build the base initramfs
      fixture      List, build or boot simulated VPS images
      conformance  Run the conformance suite
      help         Print this message or the help of the given subcommand(s)

    Options:
      -h, --help     Print help
      -V, --version  Print version

    Exit status: 0 done or passed, 1 failure or verdict failed, 2 usage, 3 refusal (nothing was
    changed), 4 broken (could not be tried, or not be judged)
    ");
}

#[test]
fn the_first_line_of_a_help_fits_a_terminal() {
    for name in
        ["test", "deploy", "plan", "build", "reset", "facts", "pack", "inspect", "makeimg", "base"]
    {
        let help = run(&[], &[name, "--help"]);
        let first = help.stdout.lines().next().unwrap_or_default().to_owned();
        assert_eq!(help.status, Some(0), "{name}");
        assert!(!first.is_empty() && first.len() <= 80 && !first.ends_with('.'), "{name}: {first}");
    }
}

#[test]
fn a_wrong_command_line_is_usage() {
    for arguments in [
        vec![],
        vec!["destroy"],
        vec!["plan", "--nonsense"],
        vec!["build"],
        vec!["deploy", "--rehearse", "--dry-run"],
        vec!["deploy", "--rehearse", "--stage-only"],
        vec!["test", "p.tgz", "--receipt", "r.json", "--quick"],
    ] {
        let wrong = run(&[], &arguments);
        assert_eq!((wrong.status, wrong.stdout.as_str()), (Some(2), ""), "{arguments:?}");
    }
}

#[test]
fn a_word_that_no_flag_knows_is_usage_and_the_nearest_one_is_suggested() {
    for (arguments, want) in [
        (vec!["plan", "--network", "statik"], "'static'"),
        (vec!["deploy", "--override", "memmory"], "'memory'"),
        (vec!["deploy", "--after-commit", "poweroff"], "'power-off'"),
        (vec!["plan", "--entry", "kexex"], "'kexec'"),
        (vec!["plan", "--host-keys", "kep"], "'keep'"),
        (vec!["plan", "--firmware", "atuo"], "'auto'"),
        (vec!["test", "p", "--bus", "nvm"], "'nvme'"),
        (vec!["test", "p", "--disk", "virtio"], "'virtio-blk'"),
        (vec!["test", "p", "--platform-firmware", "efi"], "'uefi'"),
        (vec!["test", "p", "--entry", "bootloder"], "'bootloader'"),
    ] {
        let run = run(&[], &arguments);
        assert_eq!(run.status, Some(2), "{arguments:?}: {}", run.stderr);
        assert!(run.stderr.contains("possible values: "), "{arguments:?}: {}", run.stderr);
        let tip = run.stderr.lines().find(|line| line.contains("tip: ")).unwrap_or_default();
        assert!(tip.contains("similar value") && tip.contains(want), "{}", run.stderr);
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_key() {
    let refused = run(&[("anemos.toml", "[network]\nmode = \"dhcp\"\nadress = []\n")], &["plan"]);
    assert_eq!((refused.status, refused.stdout.as_str()), (Some(3), ""));
    insta::assert_snapshot!(refused.stderr, @r#"
    error: reading anemos.toml: line 3: unknown key "adress"
    hint: the nearest known key is "address"; known here: mode, link, address, gateway, dns
    "#);
}

#[test]
fn the_configuration_that_is_named_wins_over_the_one_that_is_found() {
    let files = [("anemos.toml", "[found]\n"), ("other.toml", "[named]\n")];
    let refused = run(&files, &["plan", "-c", "other.toml"]);
    assert_eq!(refused.status, Some(3));
    assert!(
        refused.stderr.contains("other.toml: line 1: unknown key \"named\""),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_configuration_that_is_not_there_is_a_failure() {
    let failed = run(&[], &["plan", "-c", "nowhere.toml"]);
    assert_eq!(failed.status, Some(1));
    insta::assert_snapshot!(failed.stderr, @r"error: reading nowhere.toml: No such file or directory (os error 2)");
}

/// Like `anemos facts | head`: the pipe is closed before anything is written to it.
#[test]
fn a_reader_that_is_gone_is_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command(folder.path(), &["facts"]).stdout(writer).output().unwrap();
    let facts = Run::of(&output);
    assert_eq!((facts.status, facts.stderr.as_str()), (Some(0), ""));
}

#[test]
fn facts_are_json_about_this_machine() {
    let facts = run(&[], &["facts"]);
    assert_eq!(facts.status, Some(0), "{}", facts.stderr);
    let facts: serde_json::Value = serde_json::from_str(&facts.stdout).unwrap();
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(facts["kernel"]["release"], release.trim());
    assert!(facts["memory"]["total"].as_u64().unwrap() > 0);
}

#[test]
fn redacted_facts_keep_the_kernel_and_hide_the_host() {
    let facts = |arguments: &[&str]| -> serde_json::Value {
        serde_json::from_str(&run(&[], arguments).stdout).unwrap()
    };
    let (open, hidden) = (facts(&["facts"]), facts(&["facts", "--redact"]));
    assert_eq!(open["kernel"]["release"], hidden["kernel"]["release"]);
    assert!(open["hostname"].is_string() && open["hostname"] != hidden["hostname"], "{hidden}");
}

/// This test cannot know whether this machine could be taken over, but there is always a plan.
#[test]
fn a_plan_needs_no_payload() {
    let plan = run(&[], &["plan", "--network", "none"]);
    let headings: Vec<_> = plan
        .stdout
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let want = "config machine payload kernel initramfs entry watchdog disk network access memory";
    assert_eq!(headings.join(" "), want, "{}", plan.stderr);
    let refused = plan.stderr.contains("\nhint: ");
    assert_eq!(plan.status, Some(if refused { 3 } else { 0 }), "{}", plan.stderr);
    assert!(!plan.stderr.contains("no payload"), "{}", plan.stderr);
}

#[test]
fn a_plan_is_json_for_programs() {
    let plan = run(&[], &["plan", "--json", "--network", "none"]);
    let plan: serde_json::Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["restore"]["mode"], "none");
    assert_eq!(plan["payload"], serde_json::Value::Null);
    assert_eq!(plan["configuration"], serde_json::Value::Null);
}

#[test]
fn a_plan_names_the_configuration_that_it_has_read() {
    let first = |run: &Run| run.stdout.lines().next().unwrap_or_default().to_owned();
    let files = [("anemos.toml", "[network]\nmode = \"none\"\n"), ("other.toml", "")];
    for (arguments, want) in [
        (vec!["plan"], "config     anemos.toml"),
        (vec!["plan", "-c", "other.toml"], "config     other.toml"),
    ] {
        let plan = run(&files, &arguments);
        assert_eq!(first(&plan), want, "{}", plan.stderr);
    }
    let plan = run(&[], &["plan", "--network", "none"]);
    let want = "config     defaults: there is no anemos.toml or /etc/anemos.toml";
    assert_eq!(first(&plan), want, "{}", plan.stderr);
}

#[test]
fn the_version_names_commit_and_date() {
    let version = run(&[], &["--version"]).stdout;
    let pattern = r"^anemos \d+\.\d+\.\d+( \([0-9a-f]{7,} \d{4}-\d\d-\d\d\))?\n$";
    assert!(regex::Regex::new(pattern).unwrap().is_match(&version), "{version:?}");
}

#[test]
fn what_is_no_receipt_is_refused_by_its_name() {
    for command in [&["plan"][..], &["deploy", "--yes"]] {
        let arguments = [command, &["--require-receipt", "r.json"]].concat();
        let refused = run(&[("r.json", "{}")], &arguments);
        assert_eq!(refused.status, Some(3), "{}", refused.stderr);
        assert!(refused.stderr.contains("error: r.json is not a receipt"), "{}", refused.stderr);
    }
}

#[test]
fn a_payload_that_is_none_is_refused_before_anything_else() {
    for name in ["plan", "inspect"] {
        let refused = run(&[("p.tar.gz", "not a tarball")], &[name, "p.tar.gz"]);
        assert_eq!((refused.status, refused.stdout.as_str()), (Some(3), ""), "{name}");
        assert!(
            refused.stderr.contains("the payload is not a tarball"),
            "{name}: {}",
            refused.stderr
        );
    }
}

#[test]
fn an_imgbuild_that_is_wrong_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().expect("making a folder");
    fs::write(folder.path().join("IMGBUILD"), "imgname=a\n").expect("writing an IMGBUILD");
    let mut makeimg = command(folder.path(), &["makeimg"]);
    let refused = Run::of(&makeimg.env("PATH", "/usr/bin:/bin").output().expect("running anemos"));
    assert_eq!((refused.status, refused.stdout.as_str()), (Some(3), ""), "{}", refused.stderr);
    insta::with_settings!({ filters => [(r"ended failed [\d.]+s", "ended failed [time]")] }, {
        insta::assert_snapshot!(refused.stderr, @r#"
        makeimg: step evaluate begins
        makeimg: step evaluate ended failed [time]
        error: target is not set
        hint: set it in IMGBUILD: target="arch", "alpine" or "debian"
        "#);
    });
}

#[test]
fn a_payload_with_another_digest_is_refused() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let refused = run(&[("p", "x")], &["plan", "p", "--digest", &digest]);
    assert_eq!(refused.status, Some(3));
    assert!(refused.stderr.contains("p has the digest sha256:2d71"), "{}", refused.stderr);
}

/// The files are those of a scenario, in which a guest accepts the same payload.
#[test]
fn a_payload_is_refused_for_its_signature_before_it_is_looked_into() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/payloads");
    let signature = fs::read_to_string(folder.join("signed.tgz.minisig")).unwrap();
    let (key, other) = (
        "RWQS9SgomyS78E2LWzzP374LJ1OZ2kVlFJnNjlkBMzUJSjptQbBtaftU",
        "RWQKsIvfUp6PI7jIHV8gEZ8Us2LLq+n2bymOw9BL/p+ydInyrRyRDQLP",
    );
    for (signature, key, want) in [
        (&*signature, other, "p.tgz was signed with another key"),
        (&signature, key, "p.tgz is not what was signed"),
        ("nonsense", key, "p.tgz has a signature that is none"),
    ] {
        let config = format!("[payload]\npublic-key = \"{key}\"\n");
        let files =
            [("p.tgz", "no tarball"), ("p.tgz.minisig", signature), ("anemos.toml", &*config)];
        let refused = run(&files, &["plan", "p.tgz"]);
        assert_eq!((refused.status, refused.stdout.as_str()), (Some(3), ""), "{want}");
        assert!(refused.stderr.contains(want), "{want}: {}", refused.stderr);
        assert!(refused.stderr.contains("\nhint: "), "{want}: {}", refused.stderr);
    }
}

#[test]
fn a_kernel_that_is_none_is_refused_by_its_name() {
    let kernel = ("kernel", "not a kernel");
    let arguments = ["plan", "--kernel", "kernel", "--modules", ".", "--disk", "serial"];
    let refused = run(&[kernel, ("modules.dep", "")], &arguments);
    assert_eq!(refused.status, Some(3));
    assert!(refused.stderr.contains("kernel is not a kernel for "), "{}", refused.stderr);
    assert!(refused.stderr.contains("name the bzImage"), "{}", refused.stderr);
}

#[test]
fn deploy_asks_on_a_terminal_or_not_at_all() {
    let refused = run(&[], &["deploy"]);
    assert_eq!((refused.status, refused.stdout.as_str()), (Some(3), ""));
    insta::assert_snapshot!(refused.stderr, @r"
    error: there is no terminal to ask for the host name on
    hint: say --yes to go on without being asked
    ");
}

/// This test has no payload, so that it can never take a machine over.
#[test]
fn on_a_terminal_deploy_goes_on_to_look_at_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let deploy = command(folder.path(), &["deploy"]);
    let mut terminal = rexpect::session::spawn_command(deploy, Some(60_000)).unwrap();
    terminal.exp_string("looking at the machine").unwrap();
    terminal.exp_string("no payload is").unwrap();
    terminal.exp_eof().unwrap();
}

const SCENARIO: &str =
    "claim = 'It is so.'\ntags = ['each']\npayload = 'p'\nexpect = { exit = 0 }\n";

#[test]
fn the_suite_lists_what_it_would_run_and_refuses_to_run_nothing() {
    let files = [("one.toml", SCENARIO), ("two.toml", SCENARIO)];
    let list = |more: &[&str]| {
        run(&files, &[&["conformance", "--scenarios", ".", "--list"], more].concat())
    };
    for (more, status, want) in [
        (&[][..], 0, "one #each  It is so.\ntwo #each  It is so.\n"),
        (&["--tag", "each", "--shard", "2/2"], 0, "two #each  It is so.\n"),
        (&["two"], 0, "two #each  It is so.\n"),
        (&["--tag", "none"], 3, ""),
        (&["--shard", "3/2"], 2, ""),
        (&["--shard", "3/3"], 3, ""),
    ] {
        let said = list(more);
        let found = (said.status, said.stdout.as_str());
        assert_eq!(found, (Some(status), want), "{more:?}: {}", said.stderr);
    }
    let said = list(&["--tag", "none"]).stderr;
    assert!(said.contains("error: no scenario has the tag none"), "{said}");
}

/// These are scenarios of refusals, which need no guest; each shard writes its own file.
#[test]
fn the_files_of_all_shards_together_have_each_scenario_once() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = tempfile::tempdir().unwrap();
    let cases = |shard: &str, file: &str| {
        let file = folder.path().join(file).display().to_string();
        let evidence = folder.path().join("evidence").display().to_string();
        let arguments = ["conformance", "--junit", &file, "--evidence", &evidence];
        let mut command = command(&repository, &arguments);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("XDG_CACHE_HOME", folder.path());
        // None of them needs a payload that must be built first, which would take minutes.
        command.args(["no-deploy", "no-tarball", "outside", "wrong-digest", "executable"]);
        let run = Run::of(&command.args(["--shard", shard]).output().unwrap());
        assert_eq!(run.status, Some(0), "{}{}", run.stdout, run.stderr);
        let text = fs::read_to_string(file).unwrap();
        let names = text
            .split("<testcase ")
            .skip(1)
            .map(|case| case.split(" time=").next().unwrap_or_default().to_owned());
        names.collect::<Vec<_>>()
    };
    let mut parts = [cases("1/3", "1.xml"), cases("2/3", "2.xml"), cases("3/3", "3.xml")].concat();
    parts.sort();
    let mut whole = cases("1/1", "whole.xml");
    whole.sort();
    assert!(whole.len() > 5, "{whole:?}");
    assert_eq!(parts, whole);
}

#[test]
fn scenarios_without_a_payload_are_listed_and_refused_until_one_is_named() {
    let scenario = "claim = 'It is so.'\ntags = ['own']\nexpect = { exit = 0 }\n";
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.toml"), scenario).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = command(folder.path(), &["conformance", "--scenarios", "."]);
        Run::of(&command.args(arguments).output().unwrap())
    };
    let listed = run(&["--list", "--json", "list"]);
    assert_eq!((listed.status, listed.stderr.as_str()), (Some(0), ""));
    insta::assert_snapshot!(fs::read_to_string(folder.path().join("list")).unwrap(), @r#"
    [
      {
        "claim": "It is so.",
        "name": "mine",
        "tags": [
          "own"
        ]
      }
    ]
    "#);
    let refused = run(&[]);
    assert_eq!(refused.status, Some(3));
    insta::assert_snapshot!(refused.stderr, @r"
    error: the scenario mine names no payload
    hint: name one: --payload PATH
    ");
}
