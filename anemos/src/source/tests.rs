//! Claims about files that a user names.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread::JoinHandle;

use super::bring;
use crate::config::{Digest, Location};
use crate::report::Refusal;

const CONTENT: &[u8] = b"a base initramfs";
/// As sha256sum(1) says.
const DIGEST: &str = "sha256:5a69ec0b2613cdd2bd1cbbe30426792770401a7acb50f9a136d560cc79425ec1";

fn digest(text: &str) -> Digest {
    Digest::try_from(text.to_owned()).unwrap()
}

fn other_digest() -> Digest {
    digest(&format!("sha256:{}", "0".repeat(64)))
}

/// A server that gives one answer to one client; returns the address and what was asked.
fn serve(answer: Vec<u8>) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut asked = Vec::new();
        let mut byte = [0];
        while !asked.ends_with(b"\r\n\r\n") && client.read(&mut byte).unwrap() == 1 {
            asked.push(byte[0]);
        }
        client.write_all(&answer).unwrap();
        String::from_utf8(asked).unwrap()
    });
    (format!("http://{address}/base.cpio.zst"), server)
}

fn answer(status: &str, length: usize, content: &[u8]) -> Vec<u8> {
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
    for digest in [None, Some(&digest(DIGEST))] {
        assert_eq!(bring(&location, digest, folder.path()).unwrap(), path);
    }
}

#[test]
fn another_digest_is_refused_with_both_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("base");
    fs::write(&path, CONTENT).unwrap();
    let error = bring(&Location::Path(path), Some(&other_digest()), folder.path()).unwrap_err();
    let words = error.downcast_ref::<Refusal>().unwrap().to_string();
    assert!(words.contains(DIGEST) && words.contains(other_digest().hex()), "{words}");
}

#[test]
fn a_path_to_nothing_is_a_failure_that_names_it() {
    let location = Location::Path("/nowhere/base".into());
    let error = bring(&location, None, Path::new("/")).unwrap_err();
    assert_eq!(error.to_string(), "reading /nowhere/base");
}

#[test]
fn a_url_is_fetched_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (url, server) = serve(answer("200 OK", CONTENT.len(), CONTENT));
    let path = bring(&Location::Url(url), Some(&digest(DIGEST)), folder.path()).unwrap();
    assert_eq!(fs::read(path).unwrap(), CONTENT);
    assert!(server.join().unwrap().starts_with("GET /base.cpio.zst HTTP/1.1\r\n"));
}

#[test]
fn nothing_stays_of_what_is_not_as_wanted() {
    for (what, answer, wanted) in [
        ("another digest", answer("200 OK", CONTENT.len(), CONTENT), other_digest()),
        ("not found", answer("404 Not Found", 0, b""), digest(DIGEST)),
        ("cut off", answer("200 OK", CONTENT.len() + 1, CONTENT), digest(DIGEST)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (url, server) = serve(answer);
        let outcome = bring(&Location::Url(url), Some(&wanted), folder.path());
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
        ("ftp://127.0.0.1/base", "ftp://127.0.0.1/base is neither an http nor an https URL"),
    ] {
        let error = bring(&Location::Url(url.to_owned()), None, Path::new("/")).unwrap_err();
        assert_eq!(error.downcast_ref::<Refusal>().unwrap().to_string(), want);
    }
}
