//! Verifies the minisign(1) signature of a payload, a file beside it with the suffix `.minisig`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use anyhow::Context;
use minisign_verify::{Error, Signature};

use super::bring;
use super::digests::Trust;
use crate::config::{Location, PublicKey};
use crate::report::Refused;

/// The suffix of the signature's name.
const ENDING: &str = ".minisig";

/// Checks that a file, brought here from `location`, was signed with a key.
pub(crate) fn check(
    location: &Location,
    path: &Path,
    key: &PublicKey,
    folder: &Path,
) -> anyhow::Result<()> {
    let place = match location {
        Location::Url(url) => Location::Url(beside(url)),
        Location::Path(path) => {
            let mut name = path.clone().into_os_string();
            name.push(ENDING);
            Location::Path(name.into())
        }
    };
    let signature = bring(&place, Trust::Itself, folder)
        .and_then(|path| fs::read_to_string(path).context("reading it"))
        .with_context(|| {
            let hint = "sign it with `minisign -S`, and leave the signature beside it";
            Refused::new(format!("the signature {place} cannot be had"), hint)
        })?;
    let file = File::open(path).with_context(|| format!("reading {}", path.display()))?;
    match verify(file, &signature, key).with_context(|| format!("reading {}", path.display()))? {
        Ok(()) => Ok(()),
        Err(error) => Err(refusal(&location.to_string(), &error).into()),
    }
}

/// Returns the URL of the signature, which has another suffix and the same query.
fn beside(url: &str) -> String {
    let (path, query) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    format!("{path}{ENDING}{query}")
}

/// Reads the file once, in pieces.
fn verify(mut file: impl Read, signature: &str, key: &PublicKey) -> io::Result<Result<(), Error>> {
    let signature = match Signature::decode(signature) {
        Ok(signature) => signature,
        Err(error) => return Ok(Err(error)),
    };
    let mut verifier = match key.0.verify_stream(&signature) {
        Ok(verifier) => verifier,
        Err(error) => return Ok(Err(error)),
    };
    let mut bytes = vec![0; 64 << 10];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(verifier.finalize()),
            count => verifier.update(bytes.get(..count).unwrap_or_default()),
        }
    }
}

fn refusal(name: &str, error: &Error) -> Refused {
    let (reason, hint) = match error {
        Error::UnexpectedKeyId => {
            ("was signed with another key", "check [payload] public-key, or who made the payload")
        }
        Error::InvalidSignature => {
            ("is not what was signed", "get it again; if it stays so, somebody has changed it")
        }
        Error::UnsupportedLegacyMode => (
            "is signed in the old way, which wants all of it in memory",
            "sign it with minisign 0.10 or later, or with -H",
        ),
        _ => ("has a signature that is none", "sign it with `minisign -S`"),
    };
    Refused::new(format!("{name} {reason}"), hint)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Location, PublicKey, check};
    use crate::source::tests::{answer, serve};

    const KEY: &str = "RWTgsnV4nz0nJtpvt24Igg7M9eoSL98c3TXDy9y8gIO2eT+Ojd/4Omdn";
    /// Made by minisign 0.10, for the eight bytes `payload` and a newline.
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\nRUTgsnV4nz0nJnuZquLyICr/gPKUJ9x9XgWCQakVuVDWCfzIzXiF662lX2qvv3W8Vgmt2cTcm/5/HqLWvlhyCQh5CGG3+eKGmgs=\ntrusted comment: a payload\n+jrZb7tTlQYgiTo2LRwwkukCFpWNF9d7jcVZoAuTwaC8ICk3qdJltNql7EFUBNcMxe2a2BqCBMR8WlHGo1mLCg==\n";

    fn said(payload: &str, signature: Option<&str>, key: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.tar.gz");
        fs::write(&path, payload).unwrap();
        if let Some(signature) = signature {
            fs::write(folder.path().join("p.tar.gz.minisig"), signature).unwrap();
        }
        let key = PublicKey::try_from(key.to_owned()).unwrap();
        let checked = check(&Location::Path(path.clone()), &path, &key, folder.path());
        let text = checked.map_or_else(|error| format!("{error:#}"), |()| "signed".to_owned());
        text.replace(&format!("{}/", folder.path().display()), "")
    }

    #[test]
    fn only_what_was_signed_with_the_key_is_taken() {
        let other = "RWRBmY2gZc1gRRLb2pWvWpPfMBZDF4Kc4Ob3bIHRSUhzXNj4yv0LsNU6";
        let old = SIGNATURE.replacen("RUT", "RWT", 1);
        for (payload, signature, key, want) in [
            ("payload\n", Some(SIGNATURE), KEY, "signed"),
            ("payloaD\n", Some(SIGNATURE), KEY, "p.tar.gz is not what was signed"),
            ("payload\n", Some(SIGNATURE), other, "p.tar.gz was signed with another key"),
            ("payload\n", Some("nonsense"), KEY, "p.tar.gz has a signature that is none"),
        ] {
            assert_eq!(said(payload, signature, key), want);
        }
        let missing = said("payload\n", None, KEY);
        assert!(missing.starts_with("the signature p.tar.gz.minisig cannot be had: "), "{missing}");
        let old = said("payload\n", Some(&old), KEY);
        assert!(old.starts_with("p.tar.gz is signed in the old way"), "{old}");
    }

    #[test]
    fn a_signature_may_come_by_plain_http_from_beside_the_payload_whatever_the_query() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fetched");
        fs::write(&path, "payload\n").unwrap();
        let key = PublicKey::try_from(KEY.to_owned()).unwrap();
        for query in ["", "?token=1", "?a=b?c#d"] {
            let (url, server) =
                serve(vec![answer("200 OK", SIGNATURE.len(), SIGNATURE.as_bytes())]);
            let location = Location::Url(format!("{url}{query}"));
            check(&location, &path, &key, folder.path()).unwrap();
            let asked = server.join().unwrap().remove(0);
            let sent = query.split('#').next().unwrap_or_default();
            let want = format!("GET /base.cpio.zst.minisig{sent} HTTP/1.1\r\n");
            assert!(asked.starts_with(&want), "{asked}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused_as_it_is_read() {
        let error = PublicKey::try_from("RWQ".to_owned()).unwrap_err();
        assert_eq!(error, "\"RWQ\" is not a public key of minisign, the second line of its file");
    }
}
