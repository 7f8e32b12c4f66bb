use initramfs::payload::Kind;

use super::{Refusal, check, missing_programs};
use crate::facts::{Facts, Lockdown, Memory};
use crate::plan::Purpose;
use crate::plan::tests::{cloud, plan_of};

/// What is said of a machine that was made unfit, with the way out of each reason.
fn said(config: &str, purpose: Purpose, unfit: impl Fn(&mut Facts)) -> String {
    let mut facts = cloud();
    facts.memory = Memory { total: 2 << 30, available: 1 << 30 };
    unfit(&mut facts);
    let plan = plan_of(&facts, config, purpose);
    let refusals = check(&facts, &plan);
    let lines = refusals.iter().map(|refusal| format!("{refusal}\n  {}", refusal.hint()));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_fit_machine_is_not_refused() {
    assert_eq!(said("", Purpose::Deploy, |_| {}), "");
}

#[test]
fn each_unfit_machine_is_refused_with_reason_and_way_out() {
    type Unfit = fn(&mut Facts);
    let other_kernel = "[kernel]\nsource = \"/k\"\nmodules = \"/m/6.2\"\n";
    let cases: [(&str, &str, Unfit); 16] = [
        ("user", "", |facts| facts.privileged = false),
        ("no kexec", "", |facts| facts.kexec.built_in = false),
        ("kexec disabled", "", |facts| facts.kexec.disabled = true),
        ("lockdown", other_kernel, |facts| facts.kexec.lockdown = Lockdown::Integrity),
        ("boot loader", "[entry]\nmethod = \"bootloader\"", |_| {}),
        ("no image", "", |facts| facts.kernel.image = None),
        ("no kernel", "", |facts| facts.kernel.image.as_mut().unwrap().format = None),
        ("no modules", "", |facts| facts.kernel.modules = None),
        ("modules not given", "[kernel]\nsource = \"/k\"", |_| {}),
        ("no disk", "[disk]\nselect = { serial = \"x\" }", |_| {}),
        ("no root disk", "", |facts| facts.root_disks.clear()),
        ("two root disks", "", |facts| {
            let mut second = facts.disks[0].clone();
            second.candidate.name = "vdb".to_owned();
            facts.disks.push(second);
            facts.root_disks.push("vdb".to_owned());
        }),
        ("nameless disk", "", |facts| facts.disks[0].candidate.identity.serial = None),
        ("read-only disk", "", |facts| facts.disks[0].candidate.read_only = true),
        ("no memory to load", "", |facts| facts.memory.available = 300 << 20),
        ("no memory to deploy", "", |facts| facts.memory.total = 512 << 20),
    ];
    let told: Vec<_> = cases
        .iter()
        .map(|(name, config, unfit)| format!("[{name}] {}", said(config, Purpose::Deploy, unfit)))
        .collect();
    insta::assert_snapshot!(told.join("\n"), @"");
}

#[test]
fn building_needs_neither_root_nor_kexec() {
    let unfit = |facts: &mut Facts| {
        facts.privileged = false;
        facts.kexec.disabled = true;
    };
    assert_eq!(said("", Purpose::Build, unfit), "");
}

#[test]
fn another_machine_inherits_nothing_and_its_memory_is_not_judged() {
    let config = "[disk]\nselect = { serial = \"x\" }\n";
    let said = said(config, Purpose::Build, |facts| facts.memory.total = 0);
    insta::assert_snapshot!(said, @"");
}

#[test]
fn programs_that_the_base_lacks_are_named() {
    let has = |program: &str| ["/bin/sh", "sfdisk"].contains(&program);
    let kind = |interpreter: &str, program: Option<&str>| Kind::Deploy {
        interpreter: Some(interpreter.to_owned()),
        program: program.map(str::to_owned),
    };
    for (kind, tools, want) in [
        (kind("/bin/sh", None), vec!["sfdisk"], ""),
        (kind("/bin/bash", None), vec![], "deploy is run by /bin/bash, which"),
        (kind("/bin/sh", Some("python3")), vec![], "deploy is run by python3, which"),
        (kind("/bin/sh", None), vec!["mkfs.zfs"], "payload.toml asks for mkfs.zfs, which"),
        (Kind::Imgbuild, vec![], ""),
    ] {
        let tools: Vec<_> = tools.into_iter().map(str::to_owned).collect();
        let missing = missing_programs(&kind, &tools, has);
        let said = missing.first().map(Refusal::to_string).unwrap_or_default();
        assert!(said.starts_with(want) && said.is_empty() == want.is_empty(), "{kind:?}: {said}");
    }
}
