//! Tests which deployments a receipt covers.

use super::*;

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

/// Makes a folder with the parts of a deployment, and the text of a configuration that names it.
fn inputs() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("payload", "the payload"), ("base", "the base"), ("kernel", "a kernel")] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let at = folder.path().display();
    let text = format!("[initramfs]\nbase = '{at}/base'\n[kernel]\nsource = '{at}/kernel'\n");
    (folder, text)
}

fn parts(folder: &Path, text: &str) -> Parts {
    let payload = source::digest(&folder.join("payload")).unwrap();
    Parts::read(&config(text), Some(&payload), None).unwrap()
}

fn receipt(rehearsed: Parts) -> Receipt {
    let verdict = Verdict::passed("it boots", Vec::new());
    Receipt::new(rehearsed, (Setup::default(), None), &verdict, "2026-01-01T00:00:00Z".to_owned())
}

#[test]
fn a_rehearsal_on_what_was_no_twin_is_worth_nothing() {
    let (folder, text) = inputs();
    let here = parts(folder.path(), &text);
    let twin_differs = vec!["missing: memory: 512 MiB".to_owned()];
    let receipt = Receipt { twin_differs, ..receipt(here.clone()) };
    assert_eq!(
        refused(&receipt, &here),
        ["the simulated machine of the receipt was no twin: missing: memory: 512 MiB"]
    );
}

/// Returns which parts are refused, without their values.
fn refused(receipt: &Receipt, here: &Parts) -> Vec<String> {
    let refusals = receipt.refusals(here, &Likeness::default());
    let what = |refusal: &Refusal| match refusal {
        Refusal::NotRehearsed { what, .. } => what.clone(),
        other => other.to_string(),
    };
    refusals.iter().map(what).collect()
}

#[test]
fn one_byte_of_payload_base_or_kernel_is_refused_by_its_name() {
    let (folder, text) = inputs();
    let receipt = receipt(parts(folder.path(), &text));
    assert_eq!(receipt.refusals(&parts(folder.path(), &text), &Likeness::default()), []);
    for (name, what) in
        [("payload", "the payload"), ("base", "the base initramfs"), ("kernel", "the kernel")]
    {
        let path = folder.path().join(name);
        let before = fs::read(&path).unwrap();
        let mut after = before.clone();
        after[0] ^= 1;
        fs::write(&path, &after).unwrap();
        assert_eq!(refused(&receipt, &parts(folder.path(), &text)), [what]);
        fs::write(&path, &before).unwrap();
    }
}

#[test]
fn another_binary_is_refused() {
    let (folder, text) = inputs();
    let here = parts(folder.path(), &text);
    let program = std::env::current_exe().unwrap();
    assert_eq!(here.anemos, format!("sha256:{}", source::digest(&program).unwrap()));
    let copy = folder.path().join("anemos");
    fs::copy(program, &copy).unwrap();
    let mut bytes = fs::read(&copy).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&copy, bytes).unwrap();
    let other = Parts { anemos: digest(&copy).unwrap(), ..here.clone() };
    assert_eq!(refused(&receipt(here), &other), ["the anemos binary"]);
}

#[test]
fn each_key_of_the_configuration_that_differs_is_named_and_defaults_are_no_difference() {
    let parts = |text: &str| Parts::read(&config(text), Some("ab"), None).unwrap();
    let receipt = receipt(parts(""));
    for (text, want) in [
        (
            "[failure]\ntimeout = 3600\n[network]\nmode = 'inherit'\n[disk]\nselect = 'root'",
            &[][..],
        ),
        ("[failure]\ntimeout = 3601", &["[failure] timeout"]),
        ("[kernel]\ncommand-line = 'quiet'", &["[kernel] command-line"]),
        ("[disk]\nselect = { serial = 'S1' }", &["[disk] select"]),
        ("[access]\nauthorized-keys = 'none'", &["[access] authorized-keys"]),
        ("[preflight]\noverride = ['clock']", &["[preflight] override"]),
        (
            "[network]\nmode = 'dhcp'\n[entry]\nmethod = 'kexec'",
            &["[entry] method", "[network] mode"],
        ),
    ] {
        assert_eq!(refused(&receipt, &parts(text)), want, "{text}");
    }
}

#[test]
fn what_differs_is_told_with_both_values_and_the_way_out() {
    let here = Parts::read(&config(""), Some("ab"), None).unwrap();
    let mut there = receipt(Parts { payload: "sha256:cd".to_owned(), ..here.clone() });
    there.verdict = Ending::Failed;
    there.reason = "the new system does not boot".to_owned();
    let lines = there.refusals(&here, &Likeness::default());
    let lines = lines.iter().map(|refusal| format!("{refusal}\n  {}", refusal.hint()));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @"
    the verdict of the receipt is failed, not passed: the new system does not boot
      mend what made it fail, and rehearse again: `anemos test --receipt FILE`
    the payload is sha256:ab, but sha256:cd was rehearsed
      deploy what was rehearsed, or rehearse this: `anemos test --receipt FILE`
    ");
}

#[test]
fn a_receipt_is_read_as_it_was_written_and_another_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("receipt.json");
    let receipt = receipt(Parts::read(&config(""), Some("ab"), None).unwrap());
    receipt.write(&path).unwrap();
    assert_eq!(Receipt::read(&path).unwrap(), receipt);
    fs::write(&path, "{}").unwrap();
    let error = Receipt::read(&path).unwrap_err();
    assert!(error.downcast_ref::<report::Refused>().is_some(), "{error:#}");
}

#[test]
fn a_base_by_url_is_known_by_its_digest_or_not_at_all() {
    let url = "[initramfs]\nbase = 'https://example.org/base.img'\n";
    let refused = Parts::read(&config(url), None, None).unwrap_err().to_string();
    assert_eq!(refused, "a receipt needs the digest of the base https://example.org/base.img");
    let digest = format!("sha256:{}", "ab".repeat(32));
    let named = format!("{url}digest = '{digest}'\n");
    assert_eq!(Parts::read(&config(&named), None, None).unwrap().base, digest);
}

#[test]
fn another_machine_than_the_original_of_the_twin_is_refused() {
    let (folder, text) = inputs();
    let original = Likeness { copied: vec!["memory: 1024 MiB".to_owned()], ..Likeness::default() };
    let here = parts(folder.path(), &text);
    let receipt = Receipt { twin_of: Some(original.clone()), ..receipt(here.clone()) };
    assert_eq!(receipt.refusals(&here, &original), []);
    let other = Likeness { copied: vec!["memory: 2048 MiB".to_owned()], ..Likeness::default() };
    let said: Vec<_> = receipt.refusals(&here, &other).iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["missing: memory: 1024 MiB", "added: memory: 2048 MiB"]
            .map(|it| format!("this is not the machine whose twin was rehearsed on: {it}"))
    );
}
