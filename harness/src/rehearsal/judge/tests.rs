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
        ssh: false,
        speaks: false,
        hold: 10.0,
    }
}

/// Shows the lines, one per second, then lets a minute pass.
fn judge(expectation: Expectation, seen: &[Seen]) -> Verdict {
    let timed: Vec<_> = (1..).map(f64::from).zip(seen.iter().cloned()).collect();
    judge_timed(expectation, &timed)
}

/// Shows the lines at their times, then lets a minute pass.
fn judge_timed(expectation: Expectation, seen: &[(f64, Seen)]) -> Verdict {
    let mut judge = Judge::new(expectation);
    let mut at = 0.0;
    for (then, seen) in seen {
        at = *then;
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
fn an_answer_of_its_ssh_server_counts_as_much_as_a_prompt() {
    let mute = [line("Linux version 6.1"), Seen::Connected(22)];
    let by_ssh = Expectation { ssh: true, ..expectation() };
    assert!(!Judge::new(by_ssh.clone()).must_speak(), "it may be mute");
    assert_eq!(judge(by_ssh.clone(), &mute).verdict, Ending::Passed);
    assert_eq!(judge(by_ssh.clone(), &[Seen::Connected(22)]).verdict, Ending::Passed);
    assert_eq!(judge(by_ssh, &mute[..1]).class, Some(Class::Silent));
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
        (vec![], Class::Unheard),
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
        (vec![], Class::Unheard),
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
        (vec![Seen::Firmware("Debian".into()), menu()], Ending::Broken),
        (vec![menu(), banner()], Ending::Failed),
        (vec![menu(), banner(), says()], Ending::Passed),
        (vec![menu(), says(), prompt()], Ending::Passed),
    ] {
        let verdict = judge(Expectation { expect: expect.clone(), ..expectation() }, &seen);
        assert_eq!(verdict.verdict, want, "{seen:?}");
    }
}

#[test]
fn healthy_systems_that_look_sick_pass() {
    let boots =
        || vec![line("[    0.0] Linux version 6.1"), line("Welcome to Debian GNU/Linux 12!")];
    let pause = |seconds| std::iter::repeat_n(Seen::Resumed { old_root: None }, seconds);
    let waits = line("Press any key to continue...");
    for (name, seen) in [
        (
            "a service's error",
            [boots(), vec![line("error: no such device: eth7."), prompt()]].concat(),
        ),
        ("GRUB in a banner", [boots(), vec![line("grub> is not a shell"), prompt()]].concat()),
        (
            "an old panic in a journal",
            [boots(), vec![line("[  812.4] Kernel panic - not syncing: Fatal"), prompt()]].concat(),
        ),
        (
            "a panic in the words of syslog",
            [boots(), vec![line("vps kernel: Kernel panic - not syncing: Fatal"), prompt()]]
                .concat(),
        ),
        ("one reset", [boots(), vec![Seen::Reset], boots(), vec![prompt()]].concat()),
        (
            "two resets",
            [boots(), vec![Seen::Reset], boots(), vec![Seen::Reset], boots(), vec![prompt()]]
                .concat(),
        ),
        (
            "a reset after a prompt",
            [boots(), vec![prompt(), Seen::Reset], boots(), vec![prompt()]].concat(),
        ),
        (
            "a prompt on the screen alone",
            [boots(), vec![Seen::Screen("vps login: ".into())]].concat(),
        ),
        (
            "a boot loader that waits for a key",
            [
                vec![line("error: no such device: 0a1b."), waits],
                pause(12).collect(),
                boots(),
                vec![prompt()],
            ]
            .concat(),
        ),
        (
            "a menu that counts",
            [
                vec![
                    line("Use the ^ and v keys to select which entry is highlighted."),
                    line("The highlighted entry will be executed automatically in 5s."),
                ],
                boots(),
                vec![prompt()],
            ]
            .concat(),
        ),
        ("FreeBSD", vec![line("FreeBSD 14.0-RELEASE #0 releng/14.0-n265380"), line("login: ")]),
    ] {
        let verdict = judge(expectation(), &seen);
        assert_eq!(verdict.verdict, Ending::Passed, "{name}: {verdict:?}");
    }
}

#[test]
fn resets_are_counted_and_three_are_a_loop() {
    let boots = || vec![line("Linux version 6.1"), Seen::Reset];
    let verdict =
        judge(expectation(), &[boots(), vec![line("Linux version 6.1"), prompt()]].concat());
    let want = "the new system boots from its own disk and holds; it was reset once before";
    assert_eq!(verdict.reason, want);
    let verdict = judge(expectation(), &[boots(), boots(), boots()].concat());
    assert_eq!(verdict.class, Some(Class::ResetLoop));
    let want = "the new system was reset 3 times, the last time before it had come up";
    assert_eq!(verdict.reason, want);
    let verdict = judge(expectation(), &boots());
    let want = "the new system was reset once, and did not come up after that (60s)";
    assert_eq!(verdict.reason, want);
}

#[test]
fn a_reason_names_what_was_missing() {
    let kernel = || line("[    0.0] Linux version 6.1");
    for (seen, want) in [
        (
            vec![kernel(), line("ALERT!  UUID=1 does not exist.  Dropping to a shell!")],
            "the new system does not boot: the initramfs gave up: it did not find the root file \
             system (ALERT!  UUID=1 does not exist.  Dropping to a shell!)",
        ),
        (
            vec![
                kernel(),
                line("[ TIME ] Timed out waiting for device dev-vdb1.device - /dev/vdb1."),
                line("[DEPEND] Dependency failed for srv.mount - /srv."),
                line("You are in emergency mode. After logging in, type"),
            ],
            "the new system does not boot: the system ended in emergency mode: Timed out waiting \
             for device dev-vdb1.device - /dev/vdb1.",
        ),
        (
            vec![line("Use the ^ and v keys to select which entry is highlighted.")],
            "the boot menu waits for somebody to choose (60s)",
        ),
    ] {
        assert_eq!(judge(expectation(), &seen).reason, want);
    }
}

#[test]
fn a_system_whose_unit_failed_passes_with_a_warning_however_much_follows() {
    let failed = line("[FAILED] Failed to start apache2.service - The Apache HTTP Server.");
    let mut seen = vec![line("[    0.0] Linux version 6.1"), failed];
    seen.extend((0..30).map(|number| line(&format!("[  OK  ] Started {number}."))));
    seen.push(prompt());
    let verdict = judge(expectation(), &seen);
    assert_eq!(verdict.verdict, Ending::Passed);
    let want = "unit: Failed to start apache2.service - The Apache HTTP Server.";
    assert_eq!(verdict.warnings, [want]);
}

#[test]
fn a_loader_that_spoke_last_proves_nothing_about_the_system() {
    let seen = [Seen::Firmware("Booting from 0000:7c00".into()), line("Loading Linux 6.1 ...")];
    let verdict = judge(expectation(), &seen);
    assert_eq!((verdict.verdict, verdict.class), (Ending::Broken, Some(Class::Unheard)));
    assert_eq!(verdict.hint.as_deref(), Some("name a port that it answers on: --tcp 22"));
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
        // A kernel's clock says when its line was said, unless it is an old one; others follow at once.
        let mut at = 0.0;
        let timed = text.lines().map(|line| {
            let said = line.split_once(' ').map_or("", |(_, said)| said);
            let of_now = |clock: &f64| (at..at + 200.0).contains(clock);
            at = classify::clock(said).filter(of_now).unwrap_or(at + 0.01);
            (at, observation(line))
        });
        let verdict = judge_timed(expectation(), &timed.collect::<Vec<_>>());
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
