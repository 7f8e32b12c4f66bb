//! Explains why a server is not trusted, and what to do about it.

use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{CertificateError, Error};

use crate::config::shown;
use crate::report::Refused;

const ELSEWHERE: &str = "or fetch the file another way and give its path";

/// Finds the complaint of TLS in an error of a request; it would be the same the next time.
pub(super) fn complaint(error: &ureq::Error) -> Option<&Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

/// Turns a complaint about a certificate into a refusal; other complaints are not refusals.
pub(super) fn refusal(url: &str, complaint: &Error) -> Option<Refused> {
    let server = server(url);
    let (reason, hint) = match complaint {
        Error::InvalidCertificate(error) => about_certificate(error),
        // The verifier says this if it finds no certificates at all.
        Error::General(words) if words.starts_with("No CA certificates") => (
            "cannot be checked: this system has no certificates to trust".to_owned(),
            "install the ca-certificates of this system,",
        ),
        _ => return None,
    };
    Some(Refused::new(
        format!("the certificate of {server} {reason}"),
        format!("{hint} {ELSEWHERE}"),
    ))
}

fn about_certificate(error: &CertificateError) -> (String, &'static str) {
    const CLOCK: &str = "correct the clock of this machine if it is wrong; if it is right, the \
                         server needs a new certificate,";
    let plain = match error {
        CertificateError::ExpiredContext { time, not_after } => {
            let since = between(*not_after, *time);
            return (format!("has expired {since} ago by this machine's clock"), CLOCK);
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            let until = between(*time, *not_before);
            return (format!("is valid in {until} only by this machine's clock"), CLOCK);
        }
        CertificateError::UnknownIssuer => {
            return (
                "is vouched for by nobody whom this system trusts".to_owned(),
                "update the ca-certificates of this system, add the server's authority to them,",
            );
        }
        // There are forms with and without context, but only this one is too long.
        CertificateError::NotValidForNameContext { .. } => &CertificateError::NotValidForName,
        other => other,
    };
    let words = Error::InvalidCertificate(plain.clone()).to_string();
    (
        format!("is not accepted: {words}"),
        "check the address, report it to the operator of the server,",
    )
}

fn between(earlier: UnixTime, later: UnixTime) -> String {
    let secs = Duration::from_secs(later.as_secs().saturating_sub(earlier.as_secs())).as_secs();
    match secs {
        0..3600 => format!("{} min", secs / 60),
        3600..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86400),
    }
}

/// Returns host and port of a URL.
fn server(url: &str) -> String {
    let shown = shown(url);
    let rest = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_secs(secs))
    }

    #[test]
    fn every_reason_not_to_trust_a_server_has_words() {
        let bad = Error::InvalidCertificate;
        let (time, other) = (at(10_000_000), at(9_000_000));
        for (complaint, want) in [
            (
                bad(CertificateError::ExpiredContext { time, not_after: other }),
                "the certificate of here has expired 11 days ago by this machine's clock",
            ),
            (
                bad(CertificateError::NotValidYetContext { time: at(0), not_before: at(7200) }),
                "the certificate of here is valid in 2 h only by this machine's clock",
            ),
            (
                bad(CertificateError::UnknownIssuer),
                "the certificate of here is vouched for by nobody whom this system trusts",
            ),
            (
                bad(CertificateError::Revoked),
                "the certificate of here is not accepted: invalid peer certificate: Revoked",
            ),
            (
                Error::General("No CA certificates were loaded from the system".to_owned()),
                "the certificate of here cannot be checked: this system has no certificates to trust",
            ),
            (Error::HandshakeNotComplete, ""),
        ] {
            let refusal = refusal("https://here/p.tar.gz", &complaint);
            let said = refusal.map(|refusal| refusal.to_string()).unwrap_or_default();
            assert_eq!(said, want, "{complaint:?}");
        }
    }

    #[test]
    fn a_server_is_named_without_its_passwords() {
        for (url, want) in [
            ("https://example.org/a@b?c", "example.org"),
            ("https://me:secret@example.org:8443", "example.org:8443"),
            ("https://[::1]:1/p", "[::1]:1"),
        ] {
            assert_eq!(server(url), want);
        }
    }
}
