//! Lines that fresh guests said, with their judgement.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;
use crate::verdict::Ending;

fn expectation() -> Expectation {
    Expectation {
        old_identity: "anemos fixture debian-12".into(),
        old_root: Some("UUID=0a1b".into()),
        login: "login:".into(),
        expect: None,
        tcp: None,
        speaks: false,
        hold: 10.0,
    }
}

/// Shows the lines, one per second, then lets a minute pass.
fn judge(expectation: Expectation, seen: &[Seen]) -> Verdict {
    let mut judge = Judge::new(expectation);
    let mut at = 0.0;
    for seen in seen {
        at += 1.0;
        if let Some(verdict) = judge.observe(at, seen).or_else(|| judge.tick(at)) {
            return verdict;
        }
    }
    judge.tick(at + 60.0).unwrap_or_else(|| judge.gave_up("60s"))
}

fn line(text: &str) -> Seen {
    Seen::Line(text.into())
}

fn prompt() -> Seen {
    Seen::Pending("new login: ".into())
}

#[test]
fn a_prompt_that_holds_is_a_pass() {
    let verdict = judge(expectation(), &[line("Linux version 6.1"), prompt()]);
    assert_eq!(verdict.verdict, Ending::Passed, "{verdict:?}");
    assert_eq!(verdict.evidence, ["console: new login: "]);
}

#[test]
fn the_old_systems_prompt_does_not_count() {
    for seen in [
        line("anemos fixture debian-12"),
        line("[    0.0] Command line: BOOT_IMAGE=/vmlinuz root=UUID=0a1b ro"),
        Seen::Screen("anemos fixture debian-12".into()),
    ] {
        let verdict = judge(expectation(), &[seen.clone(), prompt()]);
        assert_eq!(verdict.class, Some(Class::OldSystem), "{seen:?}");
        assert_eq!(verdict.old_system_back, Some(true), "{seen:?}");
    }
}

#[test]
fn each_way_of_not_booting_has_its_own_class() {
    for (seen, want) in [
        (vec![Seen::Firmware("No bootable device.".into())], Class::FirmwareNoBoot),
        (vec![Seen::Screen("grub rescue> _".into())], Class::BootLoader),
        (vec![line("ALERT!  UUID=1 does not exist.  Dropping to a shell!")], Class::InitramfsShell),
        (vec![line("You are in emergency mode.")], Class::Emergency),
        (
            vec![line("Kernel panic - not syncing: VFS: Unable to mount root fs")],
            Class::KernelNoRoot,
        ),
        (
            vec![line("Kernel panic - not syncing: Fatal"), line("---[ end ]---")],
            Class::KernelPanic,
        ),
        (vec![line("Linux version 6.1"), Seen::Reset], Class::ResetLoop),
        (vec![line("Linux version 6.1"), prompt(), Seen::Reset], Class::ResetLoop),
        (vec![line("Kernel panic - not syncing: Fatal"), Seen::Reset], Class::KernelPanic),
        (vec![line("Linux version 6.1")], Class::Silent),
        (vec![], Class::Silent),
        (vec![Seen::Firmware("Booting from 0000:7c00".into())], Class::BootLoader),
    ] {
        assert_eq!(judge(expectation(), &seen).class, Some(want), "{seen:?}");
    }
}

#[test]
fn a_boot_loaders_complaint_that_a_boot_follows_is_none() {
    let seen = [line("error: no such device: 0a1b."), line("Linux version 6.1"), prompt()];
    assert_eq!(judge(expectation(), &seen).verdict, Ending::Passed);
}

#[test]
fn what_is_expected_must_be_seen_though_a_prompt_is_there() {
    let expect = Some(Regex::new("^hello from (the )?payload$").unwrap());
    let wanted = Expectation { expect, ..expectation() };
    let verdict = judge(wanted.clone(), &[prompt()]);
    assert_eq!(verdict.class, Some(Class::Expectation));
    assert_eq!(verdict.reason, "the new system never said /^hello from (the )?payload$/ (60s)");
    let seen = [line("Linux version 6.1"), line("hello from payload")];
    assert_eq!(judge(wanted, &seen).verdict, Ending::Passed);
}

#[test]
fn a_port_that_must_accept_is_waited_for() {
    let wanted = Expectation { tcp: Some(22), ..expectation() };
    assert_eq!(judge(wanted.clone(), &[prompt()]).class, Some(Class::Expectation));
    let verdict = judge(wanted, &[Seen::Connected(22)]);
    assert_eq!(verdict.evidence, ["network: TCP port 22 accepts"]);
}

#[test]
fn a_boot_sector_that_leads_nowhere_is_told_from_a_system_that_breaks_its_word() {
    let expect = Regex::new("hello").ok();
    let boots = Seen::Firmware("Booting from 0000:7c00".into());
    for (seen, want) in [
        (vec![boots.clone()], Class::BootLoader),
        (vec![boots, line("Linux version 6.1")], Class::Expectation),
        (vec![], Class::Silent),
    ] {
        let verdict = judge(Expectation { expect: expect.clone(), ..expectation() }, &seen);
        assert_eq!(verdict.class, Some(want), "{seen:?}");
    }
}

#[test]
fn words_of_firmware_and_boot_menu_are_not_the_systems() {
    let expect = Regex::new("Debian").ok();
    let menu = || line("*Debian GNU/Linux");
    let banner = || line("[    0.0] Linux version 6.1 (debian-kernel@lists) (gcc Debian 12)");
    let says = || line("Debian GNU/Linux 12 new ttyS0");
    for (seen, want) in [
        (vec![Seen::Firmware("Debian".into()), menu()], Ending::Failed),
        (vec![menu(), banner()], Ending::Failed),
        (vec![menu(), banner(), says()], Ending::Passed),
        (vec![menu(), says(), prompt()], Ending::Passed),
    ] {
        let verdict = judge(Expectation { expect: expect.clone(), ..expectation() }, &seen);
        assert_eq!(verdict.verdict, want, "{seen:?}");
    }
}

/// Lines that guests of each class really said, one per observation, after the sensor's name.
#[test]
fn transcripts_of_real_guests_have_the_class_of_their_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/classify/testdata");
    let mut classes = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let seen: Vec<Seen> = text.lines().map(observation).collect();
        let verdict = judge(expectation(), &seen);
        let class = verdict.class.map(|class| serde_json::to_value(class).unwrap());
        let class = class.as_ref().and_then(|class| class.as_str()).unwrap_or("passed").to_owned();
        assert_eq!(class, name.split('.').next().unwrap(), "{name}: {}", verdict.reason);
        classes.insert(class);
    }
    for class in [
        "boot-loader",
        "emergency",
        "firmware-no-boot",
        "init-died",
        "initramfs-shell",
        "kernel-no-root",
        "kernel-panic",
        "old-system",
        "passed",
        "reset-loop",
    ] {
        assert!(classes.contains(class), "there is no transcript of {class}");
    }
}

fn observation(line: &str) -> Seen {
    let (sensor, text) = line.split_once(' ').unwrap_or((line, ""));
    match sensor {
        "console" => Seen::Line(text.to_owned()),
        "prompt" => Seen::Pending(text.to_owned()),
        "firmware" => Seen::Firmware(text.to_owned()),
        "screen" => Seen::Screen(text.to_owned()),
        "reset" => Seen::Reset,
        _ => panic!("{sensor:?} is not a sensor"),
    }
}
