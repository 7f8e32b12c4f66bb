//! Tests bringing files that a user names.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use super::fetch::{Patience, fetch};
use super::{Trust, bring};
use crate::config::{Digest, Location};
use crate::report::Refused;

const CONTENT: &[u8] = b"a base initramfs";
/// Printed by sha256sum(1).
const DIGEST: &str = "sha256:5a69ec0b2613cdd2bd1cbbe30426792770401a7acb50f9a136d560cc79425ec1";

fn digest(text: &str) -> Digest {
    Digest::try_from(text.to_owned()).unwrap()
}

fn other_digest() -> Digest {
    digest(&format!("sha256:{}", "0".repeat(64)))
}

/// Asks again at once, and not for long.
const HASTY: Patience =
    Patience { stall: Duration::from_secs(20), pauses: &[Duration::ZERO, Duration::ZERO] };

/// Serves one answer to each client in a row; returns the address and the requests.
pub(super) fn serve(answers: Vec<Vec<u8>>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |answer: Vec<u8>| {
        let (mut client, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() == 1 {
            asked.push(byte[0]);
        }
        client.write_all(&answer).unwrap();
        String::from_utf8(asked).unwrap()
    };
    let server = std::thread::spawn(move || answers.into_iter().map(answer).collect());
    (format!("http://{address}/base.cpio.zst"), server)
}

/// Renders a part of the file, from this byte on.
fn part(from: usize, headers: &str) -> Vec<u8> {
    let (length, rest) = (CONTENT.len(), &CONTENT[from..]);
    let range = format!("Content-Range: bytes {from}-{}/{length}\r\n{headers}", length - 1);
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n{range}Connection: close\r\n\r\n",
        rest.len()
    );
    [head.as_bytes(), rest].concat()
}

pub(super) fn answer(status: &str, length: usize, content: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    [head.as_bytes(), content].concat()
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_path_with_its_digest_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base");
    fs::write(&path, CONTENT).unwrap();
    let location = Location::Path(path.clone());
    for trust in [Trust::Origin, Trust::Digest(&digest(DIGEST))] {
        assert_eq!(bring(&location, trust, folder.path()).unwrap(), path);
    }
}

#[test]
fn another_digest_is_refused_with_both_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base");
    fs::write(&path, CONTENT).unwrap();
    let error =
        bring(&Location::Path(path), Trust::Digest(&other_digest()), folder.path()).unwrap_err();
    let words = error.downcast_ref::<Refused>().unwrap().to_string();
    assert!(words.contains(DIGEST) && words.contains(other_digest().hex()), "{words}");
}

#[test]
fn a_path_to_nothing_is_a_failure_that_names_it() {
    let location = Location::Path("/nowhere/base".into());
    let error = bring(&location, Trust::Origin, Path::new("/")).unwrap_err();
    assert_eq!(error.to_string(), "reading /nowhere/base");
}

#[test]
fn a_url_is_fetched_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = serve(vec![answer("200 OK", CONTENT.len(), CONTENT)]);
    let path = bring(&Location::Url(url), Trust::Digest(&digest(DIGEST)), folder.path()).unwrap();
    assert_eq!(fs::read(path).unwrap(), CONTENT);
    assert!(server.join().unwrap()[0].starts_with("GET /base.cpio.zst HTTP/1.1\r\n"));
}

#[test]
fn nothing_stays_of_what_is_not_as_wanted() {
    for (what, answer, wanted) in [
        ("another digest", answer("200 OK", CONTENT.len(), CONTENT), other_digest()),
        ("not found", answer("404 Not Found", 0, b""), digest(DIGEST)),
        ("cut off", answer("200 OK", CONTENT.len() + 1, CONTENT), digest(DIGEST)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (url, server) = serve(vec![answer]);
        let once = Patience { pauses: &[], ..HASTY };
        let outcome = fetch(&url, Trust::Digest(&wanted), folder.path(), once);
        assert!(outcome.is_err(), "{what}: {outcome:?}");
        assert_eq!(count(folder.path()), 0, "{what}");
        server.join().unwrap();
    }
}

#[test]
fn what_nobody_vouches_for_is_refused_without_asking() {
    for (url, want) in [
        (
            "http://127.0.0.1:9/base",
            "http://127.0.0.1:9/base has no digest, and nothing else says that it is the right file",
        ),
        (
            "http://me:secret@127.0.0.1:9/base?token=secret",
            "http://127.0.0.1:9/base has no digest, and nothing else says that it is the right file",
        ),
        ("ftp://127.0.0.1/base", "ftp://127.0.0.1/base is neither an http nor an https URL"),
    ] {
        let error =
            bring(&Location::Url(url.to_owned()), Trust::Origin, Path::new("/")).unwrap_err();
        assert_eq!(error.downcast_ref::<Refused>().unwrap().to_string(), want);
    }
}

#[test]
fn what_was_cut_off_is_fetched_from_there_on() {
    let folder = tempfile::tempdir().unwrap();
    let cut = answer("200 OK\r\nETag: \"1\"", CONTENT.len(), &CONTENT[..5]);
    let (url, server) = serve(vec![cut, part(5, "ETag: \"1\"\r\n")]);
    let path = fetch(&url, Trust::Digest(&digest(DIGEST)), folder.path(), HASTY).unwrap();
    assert_eq!(fs::read(path).unwrap(), CONTENT);
    let asked = server.join().unwrap()[1].to_lowercase();
    assert!(asked.contains("range: bytes=5-") && asked.contains("if-range: \"1\""), "{asked}");
}

#[test]
fn a_server_that_begins_anew_is_followed() {
    let whole = || answer("200 OK", CONTENT.len(), CONTENT);
    for (what, second) in
        [("no parts", whole()), ("another part", part(3, "")), ("busy", answer("503 Busy", 0, b""))]
    {
        let folder = tempfile::tempdir().unwrap();
        let cut = answer("200 OK", CONTENT.len(), &CONTENT[..5]);
        let more = if what == "no parts" { vec![cut, second] } else { vec![cut, second, whole()] };
        let (url, server) = serve(more);
        let path = fetch(&url, Trust::Digest(&digest(DIGEST)), folder.path(), HASTY).unwrap();
        assert_eq!(fs::read(path).unwrap(), CONTENT, "{what}");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_hangs_or_stays_away_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let shown = format!("http://{}/base", listener.local_addr().unwrap());
    let url = format!("{shown}?token=secret");
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(&answer("200 OK", CONTENT.len(), &CONTENT[..5])).unwrap();
        // Keep it open until the test has run out of patience.
        (client, listener)
    });
    let brief = Patience { stall: Duration::from_millis(50), pauses: &[] };
    let error = fetch(&url, Trust::Digest(&digest(DIGEST)), folder.path(), brief).unwrap_err();
    assert_eq!(format!("{error:#}"), format!("fetching {shown}: nothing came for 0 s"));
    drop(server.join().unwrap());
    let error = fetch(&url, Trust::Digest(&digest(DIGEST)), folder.path(), HASTY).unwrap_err();
    assert!(format!("{error:#}").starts_with(&format!("fetching {shown}: ")), "{error:#}");
    assert_eq!(count(folder.path()), 0);
}

#[test]
fn what_has_no_room_is_refused_before_it_comes() {
    let folder = tempfile::tempdir().unwrap();
    let (url, _server) = serve(vec![answer("200 OK", 1 << 60, CONTENT)]);
    let error = fetch(&url, Trust::Digest(&digest(DIGEST)), folder.path(), HASTY).unwrap_err();
    let refusal = error.downcast_ref::<Refused>().unwrap();
    assert!(refusal.to_string().contains("has 1152921504606846976 more bytes"), "{refusal}");
}
