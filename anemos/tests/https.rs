//! Tests the binary with servers that it must not trust, on this machine only.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

#[expect(clippy::disallowed_methods, reason = "the one place of this file that runs the binary")]
fn plan(folder: &Path, url: &str, trusted: &str) -> std::io::Result<Output> {
    fs::write(folder.join("trusted.pem"), trusted)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_anemos"));
    command.args(["plan", url, "--network", "none"]).current_dir(folder).env_clear();
    command.env("SSL_CERT_FILE", "trusted.pem").env("TMPDIR", folder).output()
}

/// Somebody who signs certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Result<Self, rcgen::Error> {
        let mut params = CertificateParams::new([])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { pem, issuer: Issuer::new(params, key) })
    }

    /// Configures a server with a certificate for this name that is valid until the end of a year.
    fn server(&self, name: &str, until: i32) -> Result<ServerConfig, Box<dyn std::error::Error>> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(until, 12, 31));
        let key = KeyPair::generate()?;
        let certificate: CertificateDer<'static> =
            params.signed_by(&key, &self.issuer)?.der().clone();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(config.with_no_client_auth().with_single_cert(vec![certificate], key)?)
    }
}

/// An answer that is not a payload.
const NONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnone";

/// Gives an answer to one client; returns the URL.
fn serve(config: ServerConfig, answer: &'static str) -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://{}/p.tar.gz", listener.local_addr()?);
    let serving = move || -> std::io::Result<()> {
        let (mut client, _) = listener.accept()?;
        let connection = ServerConnection::new(Arc::new(config));
        let mut connection = connection.map_err(std::io::Error::other)?;
        let mut stream = Stream::new(&mut connection, &mut client);
        // The request fits into one read; a client that does not trust us stops here.
        let _asked = stream.read(&mut [0; 4096])?;
        stream.write_all(answer.as_bytes())?;
        stream.flush()
    };
    // It ends with its client, which the test waits for.
    let _serving = std::thread::spawn(serving);
    Ok(url)
}

#[test]
fn a_server_that_is_not_to_be_trusted_is_refused_and_what_is_wrong_with_it_is_said() {
    let (known, unknown) = (Authority::new("known").unwrap(), Authority::new("unknown").unwrap());
    let clock = "hint: correct the clock of this machine if it is wrong; if it is right, the server \
                 needs a new certificate, or fetch";
    for (what, authority, name, until, want, hint) in [
        ("trusted", &known, "127.0.0.1", 2999, "p.tar.gz: the payload is not a tarball", "hint: "),
        ("expired", &known, "127.0.0.1", 2020, " has expired ", clock),
        (
            "unknown",
            &unknown,
            "127.0.0.1",
            2999,
            " is vouched for by nobody whom this system trusts",
            "hint: update the ca-certificates of this system",
        ),
        (
            "another name",
            &known,
            "example.org",
            2999,
            " is not accepted: invalid peer certificate: NotValidForName",
            "hint: check the address",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let url = serve(authority.server(name, until).unwrap(), NONE).unwrap();
        let output = plan(folder.path(), &url, &known.pem).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{what}: {said}");
        assert!(said.contains(want) && said.contains(hint), "{what}: {said}");
        let about = format!("error: fetching {url}: the certificate of 127.0.0.1:");
        assert_eq!(said.contains(&about), what != "trusted", "{what}: {said}");
        assert!(!said.contains("trying again"), "{what}: {said}");
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "{what}: only the trusted certificates are left");
    }
}

#[test]
fn a_system_without_certificates_is_told_where_they_come_from() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("known").unwrap();
    let url = serve(authority.server("127.0.0.1", 2999).unwrap(), NONE).unwrap();
    let output = plan(folder.path(), &url, "").unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("this system has no certificates to trust"), "{said}");
    assert!(said.contains("hint: install the ca-certificates of this system"), "{said}");
}

#[test]
fn a_redirection_away_from_https_is_not_followed_to_a_file_without_a_digest() {
    const AWAY: &str = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/there.tar.gz?secret\r\n\
                        Content-Length: 0\r\n\r\n";
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("known").unwrap();
    let url = serve(authority.server("127.0.0.1", 2999).unwrap(), AWAY).unwrap();
    let output = plan(folder.path(), &format!("{url}?secret"), &authority.pem).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    let about = format!("{url} leads to http://127.0.0.1:9/there.tar.gz, where nothing says");
    assert!(said.contains(&about), "{said}");
    assert!(!said.contains("secret"), "{said}");
    assert!(said.contains("hint: give its digest (sha256:…), or an https URL"), "{said}");
    assert!(!said.contains("trying again"), "{said}");
}
