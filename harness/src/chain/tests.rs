//! Good and bad transcripts, with what the chain makes of them.

use super::*;
use crate::fault::{Fault, Moment};

const OLD: &str = "anemos fixture debian-12";

fn route() -> Route {
    let (identity, login) = (OLD.into(), "login:".into());
    Route { entry: Entry::Jump, identity, login, aim: Aim::Deployment }
}

/// Plays a transcript at one line per second: `!reset` and so on are events, the rest is console.
fn play(route: Route, transcript: &str) -> (Chain, Option<End>) {
    let mut chain = Chain::new(route, 0.0);
    let mut at = 0.0;
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        at += 1.0;
        let end = chain.observe(at, &seen(line));
        if end.is_some() {
            return (chain, end);
        }
    }
    (chain, None)
}

fn seen(line: &str) -> Seen {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("!reset", _) => Seen::Reset,
        ("!off", _) => Seen::PoweredOff,
        ("!pushed", _) => Seen::Pushed,
        ("!started", _) => Seen::CommandStarted,
        ("!said", text) => Seen::CommandSaid(text.into()),
        ("!ended", status) => Seen::CommandEnded(status.parse().ok()),
        ("!pending", text) => Seen::Pending(text.into()),
        _ => Seen::Line(line.into()),
    }
}

const UP_TO_START: &str = "
    [    0.000000] Linux version 6.1.0-31-cloud-amd64
    [    0.000000] Command line: BOOT_IMAGE=/boot/vmlinuz root=UUID=0a1b ro console=ttyS0
    Debian GNU/Linux 12 vps ttyS0
    anemos fixture debian-12
    !pending vps login:
    !pushed
    !started
";
const JUMP: &str = "
    [   40.000000] kexec_core: Starting new kernel
    [    0.000000] Linux version 6.1.0-31-cloud-amd64
    anemos: stage verify-initramfs begins
    anemos: stage verify-initramfs ended ok 0.2s
    anemos: stage mount begins
    anemos: stage mount ended ok 0.0s
";

fn run(rest: &str) -> (Chain, Option<End>) {
    play(route(), &format!("{UP_TO_START}{rest}"))
}

fn failed(end: Option<End>) -> (Class, String) {
    match end {
        Some(End::Failed(verdict) | End::Returned(verdict)) => {
            (verdict.class.expect("a class"), verdict.reason)
        }
        other => panic!("not a failure: {other:?}"),
    }
}

#[test]
fn every_link_in_its_order_is_a_deployment() {
    let (chain, end) = run(&format!(
        "{JUMP}
        anemos: stage deploy begins
        [   12.0] EXT4-fs (vda1): mounted filesystem
        anemos: stage deploy ended ok 41.2s
        anemos: stage settle begins
        anemos: stage settle ended ok 0.4s
        anemos: stage reboot begins
        anemos: verdict deployed
        !reset"
    ));
    assert_eq!(end, Some(End::Deployed));
    assert_eq!(chain.old_root(), Some("UUID=0a1b"));
    let names: Vec<_> = chain.times().iter().map(|timed| timed.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "boot old system",
            "push",
            "start command",
            "anemos deploy",
            "boot deploy environment",
            "verify-initramfs",
            "mount",
            "deploy",
            "settle",
            "reset"
        ]
    );
}

#[test]
fn a_line_said_twice_counts_once() {
    let (_, end) = run(&format!(
        "{JUMP}
        anemos: stage deploy begins
        [    9.0] anemos: stage deploy begins
        anemos: stage deploy ended ok 4.0s
        [   13.0] anemos: stage deploy ended ok 4.0s
        anemos: verdict deployed
        [   13.1] anemos: verdict deployed
        !reset"
    ));
    assert_eq!(end, Some(End::Deployed));
}

#[test]
fn a_reset_before_the_new_banner_is_no_jump() {
    let (_, end) = run("!said loading the new kernel\n!reset\nLinux version 6.1");
    assert_eq!(
        failed(end),
        (Class::RebootedInstead, "the machine rebooted instead of jumping by kexec".into())
    );
}

#[test]
fn a_refusal_in_the_guest_keeps_its_words_and_its_way_out() {
    let (_, end) =
        run("!said error: 1024 MiB of memory are too little\n!said hint: use more\n!ended 3");
    let Some(End::Failed(verdict)) = end else { panic!("not a failure: {end:?}") };
    assert_eq!(verdict.class, Some(Class::Refused));
    assert_eq!(verdict.reason, "1024 MiB of memory are too little");
    assert_eq!(verdict.hint.as_deref(), Some("use more"));
    assert_eq!(verdict.exit_code(), 3);
}

#[test]
fn a_command_that_fails_is_told_from_one_that_refuses() {
    let (_, end) = run("!said error: loading the new kernel: Exec format error\n!ended 1");
    let want = "anemos deploy failed on the running system: \
                loading the new kernel: Exec format error";
    assert_eq!(failed(end), (Class::CommandFailed, want.into()));
}

#[test]
fn a_broken_connection_is_no_end_of_the_command() {
    for status in ["!ended", "!ended 255", "!ended 0"] {
        let (chain, end) = run(status);
        assert_eq!(end, None, "{status}");
        assert_eq!(failed(Some(chain.gave_up("60s"))).0, Class::NotExecuted, "{status}");
    }
}

#[test]
fn silence_after_the_announcement_is_a_jump_that_was_not_survived() {
    let (chain, _) = run("[   40.0] kexec_core: Starting new kernel");
    assert_eq!(failed(Some(chain.gave_up("60s"))).0, Class::JumpSilent);
}

#[test]
fn a_failed_stage_and_its_outcome_become_the_reason() {
    for (word, event, class, want) in [
        (
            "returned",
            "!reset",
            Class::Returned,
            "the deployment failed before it had written: stage deploy failed: status 1",
        ),
        (
            "rescue",
            "",
            Class::Rescue,
            "the deployment failed after it had written: stage deploy failed: status 1",
        ),
    ] {
        let (chain, end) = run(&format!(
            "{JUMP}
            anemos: stage deploy begins
            anemos: stage deploy ended failed 3.0s: status 1
            anemos: error: status 1
            anemos: verdict {word}
            {event}"
        ));
        assert_eq!(failed(end), (class, want.into()), "{word}");
        assert_eq!(chain.outcome(), Some(word));
    }
}

#[test]
fn returned_lets_the_old_system_be_looked_for() {
    let (_, end) = run(&format!("{JUMP}\nanemos: verdict returned\n!reset"));
    assert!(matches!(end, Some(End::Returned(_))), "{end:?}");
}

#[test]
fn stages_out_of_order_are_no_deployment() {
    for (rest, want) in [
        ("anemos: stage mount begins", "stage mount began a second time or too late"),
        ("anemos: stage unpack ended ok 1.0s", "stage unpack ended without having begun"),
        ("anemos: verdict deployed", "the verdict is deployed, and stage deploy never ended"),
        (
            "anemos: stage deploy begins\nanemos: stage settle ended ok 1.0s",
            "stage settle ended during deploy",
        ),
    ] {
        let (_, end) = run(&format!("{JUMP}\n{rest}"));
        assert_eq!(failed(end), (Class::StageOrder, want.into()), "{rest}");
    }
}

#[test]
fn a_stage_that_hangs_is_named() {
    let (chain, _) = run(&format!("{JUMP}\nanemos: stage deploy begins"));
    let (class, reason) = failed(Some(chain.gave_up("nothing for 60s")));
    assert_eq!(
        (class, reason.as_str()),
        (Class::Stalled, "stage deploy stalled (nothing for 60s)")
    );
}

#[test]
fn the_stage_that_is_to_blame_is_known_apart_from_the_words() {
    for (lines, stage, want) in [
        (
            "anemos: stage disks begins\nanemos: stage disks ended failed 0.1s: no disk",
            Some("disks"),
            "stage disks failed: no disk",
        ),
        (
            "anemos: stage deploy begins\nanemos: error: stage deploy hangs",
            Some("deploy"),
            "stage deploy hangs",
        ),
        ("anemos: error: stage deploy is a word of mine", None, "stage deploy is a word of mine"),
    ] {
        let (_, end) = run(&format!("{JUMP}\n{lines}\nanemos: verdict rescue"));
        let Some(End::Failed(verdict)) = end else { panic!("{lines}: {end:?}") };
        assert_eq!(verdict.stage.as_deref(), stage, "{lines}");
        assert!(verdict.reason.ends_with(want), "{lines}: {}", verdict.reason);
    }
}

#[test]
fn a_machine_that_is_off_is_known_to_be() {
    for (transcript, want) in [("!off", true), ("!reset", false)] {
        let (chain, end) = play(route(), transcript);
        assert!(end.is_some(), "{transcript}");
        assert_eq!(chain.is_off(), want, "{transcript}");
    }
}

#[test]
fn a_panic_of_the_deploy_environment_is_not_the_new_systems() {
    let (_, end) = run(&format!(
        "{JUMP}\n[    2.0] Kernel panic - not syncing: Attempted to kill init!\n!reset"
    ));
    let Some(End::Returned(verdict)) = end else { panic!("{end:?}") };
    let want = "the deploy environment panicked: the first process of the system ended";
    assert_eq!((verdict.class, verdict.reason.as_str()), (Some(Class::KernelPanic), want));
}

#[test]
fn a_panic_that_no_reset_follows_is_told_all_the_same() {
    let (chain, end) = run(&format!("{JUMP}\n[    2.0] Kernel panic - not syncing: Fatal"));
    assert_eq!(end, None);
    assert_eq!(failed(Some(chain.gave_up("nothing for 60s"))).0, Class::KernelPanic);
}

#[test]
fn a_fault_that_resets_the_machine_names_the_stage() {
    let (mut chain, _) = run(&format!("{JUMP}\nanemos: stage network begins"));
    let reset = Fault { kind: Kind::Reset, at: Moment::Stage("network".into()) };
    let end = chain.observe(9.0, &Seen::Cut(reset));
    let Some(End::Returned(verdict)) = end else { panic!("{end:?}") };
    let want = "the machine was reset in stage network (reset at stage network)";
    assert_eq!((verdict.class, verdict.reason.as_str()), (Some(Class::Cut), want));
}

#[test]
fn a_fixture_that_does_not_come_up_is_broken_not_failed() {
    for transcript in ["(initramfs)", "anemos fixture debian-12\n!reset", "!off"] {
        let (_, end) = play(route(), transcript);
        let Some(End::Failed(verdict)) = end else { panic!("{transcript:?}: {end:?}") };
        assert_eq!(verdict.exit_code(), 4, "{transcript:?}");
    }
}

#[test]
fn a_rescue_may_be_told_to_try_again() {
    let (mut chain, end) = run(&format!(
        "{JUMP}
        anemos: stage deploy begins
        anemos: stage deploy ended failed 3.0s: `deploy` ended with status 7
        anemos: verdict rescue"
    ));
    assert_eq!(failed(end).0, Class::Rescue);
    chain.again();
    for line in [
        "anemos: stage deploy begins",
        "anemos: stage deploy ended ok 3.0s",
        "anemos: stage settle begins",
        "anemos: stage settle ended ok 0.1s",
        "anemos: stage reboot begins",
        "anemos: verdict deployed",
    ] {
        assert_eq!(chain.observe(90.0, &seen(line)), None, "{line}");
    }
    assert_eq!(chain.observe(91.0, &Seen::Reset), Some(End::Deployed));
}

const BOOTS: &str = "!said rebooting into the one-time boot entry: this connection ends";

#[test]
fn a_boot_entry_leads_on_through_a_reset() {
    let after = JUMP.replace("[   40.000000] kexec_core: Starting new kernel", "GRUB loading.");
    let (chain, end) = run(&format!("{BOOTS}\n!reset\n{after}"));
    assert_eq!((end, chain.link()), (None, Link::Jumped));
    let names: Vec<_> = chain.times().iter().map(|timed| timed.name.as_str()).collect();
    assert_eq!(
        names[2..6],
        ["start command", "anemos deploy", "boot loader", "boot deploy environment"]
    );
}

#[test]
fn an_entry_that_is_not_booted_leaves_the_old_system() {
    let (_, end) = run(&format!(
        "{BOOTS}
        !reset
        [    0.000000] Linux version 6.1.0-31-cloud-amd64
        {OLD}"
    ));
    let want = "the old system was booted instead of the deploy environment";
    assert_eq!(failed(end), (Class::RebootedInstead, want.to_owned()));
}

#[test]
fn a_prompt_without_identity_is_not_the_old_system() {
    let (chain, end) = play(route(), "!pending debian login:");
    assert_eq!((chain.link(), end), (Link::PowerOn, None));
}

#[test]
fn a_direct_entry_needs_no_old_system() {
    let direct = Route { entry: Entry::Direct, ..route() };
    let (_, end) = play(
        direct,
        "Linux version 6.1
        anemos: stage deploy begins
        anemos: stage deploy ended ok 1.0s
        anemos: verdict deployed
        !reset",
    );
    assert_eq!(end, Some(End::Deployed));
}

#[test]
fn a_rehearsal_passes_when_every_stage_before_deploy_has_ended() {
    let rehearsal = || Route { aim: Aim::Rehearsal, ..route() };
    let stages = |names: &[&str]| -> String {
        let lines = names.iter().map(|name| {
            format!("anemos: stage {name} begins\nanemos: stage {name} ended ok 0.1s\n")
        });
        lines.collect()
    };
    let before = ["verify-initramfs", "mount", "modules", "disks", "network"];
    let all = stages(&[&before[..], &["verify-payload", "unpack"]].concat());
    let last = "anemos: stage reboot begins\nanemos: verdict returned\n!reset";
    let start = format!("{UP_TO_START}\nLinux version 6.1\n");
    let (_, end) = play(rehearsal(), &format!("{start}{all}{last}"));
    let Some(End::Returned(verdict)) = end else { panic!("it did not return: {end:?}") };
    assert_eq!((verdict.verdict, verdict.class), (crate::verdict::Ending::Passed, None));
    let failed_network = "anemos: stage network ended failed 1.0s: no carrier\n";
    for (stages, want) in [
        (stages(&before), "the rehearsal came to its end, and stage verify-payload never did"),
        (
            format!("{}anemos: stage network begins\n{failed_network}", stages(&before[..4])),
            "the deployment failed before it had written: stage network failed: no carrier",
        ),
        (format!("{all}anemos: stage deploy begins\n"), "a rehearsal came to stage deploy"),
    ] {
        let (_, end) = play(rehearsal(), &format!("{start}{stages}{last}"));
        assert_eq!(failed(end).1, want);
    }
}
