//! Fetches a file by HTTP, resuming interrupted downloads and computing its digest as it arrives.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use contract::payload::hexadecimal;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use ureq::http::{HeaderMap, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};

use super::digests::{Trust, compare};
use super::resolver::FileResolver;
use super::trust;
use crate::config::shown;
use crate::report::{self, Refused};
use crate::room;

const CONNECT_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
/// A limit that is long enough for a root file system over a slow line.
const LIMIT: Duration = Duration::from_hours(1);
/// How much is read at a time.
const CHUNK: usize = 64 << 10;

/// How long to wait for a silent server, and before it is asked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) stall: Duration,
    /// The pauses before the second attempt, the third, …; after any progress they start anew.
    pub(super) pauses: &'static [Duration],
}

impl Default for Patience {
    fn default() -> Self {
        const PAUSES: &[Duration] = &[
            Duration::from_secs(1),
            Duration::from_secs(3),
            Duration::from_secs(10),
            Duration::from_secs(30),
        ];
        Self { stall: Duration::from_mins(1), pauses: PAUSES }
    }
}

/// Why an attempt failed.
#[derive(Debug)]
enum Trouble {
    /// It may work the next time.
    Passing(anyhow::Error),
    /// It will be the same the next time.
    Lasting(anyhow::Error),
}

/// Fetches a file into `folder`; nothing is left there if it is not the expected one.
pub(super) fn fetch(
    url: &str,
    trust: Trust<'_>,
    folder: &Path,
    patience: Patience,
) -> anyhow::Result<PathBuf> {
    check(url, trust)?;
    let name = shown(url);
    report::step(&format!("fetching {name}"));
    let deadline = Instant::now() + LIMIT;
    let mut download = Download::new(url, trust, folder)?;
    let mut pauses = patience.pauses.iter();
    loop {
        let before = download.have;
        let error = match download.attempt(patience.stall) {
            Ok(()) => break,
            Err(Trouble::Lasting(error)) => return Err(error.context(format!("fetching {name}"))),
            Err(Trouble::Passing(error)) => error,
        };
        if download.have > before {
            pauses = patience.pauses.iter();
        }
        let pause = pauses.next().filter(|pause| Instant::now() + **pause < deadline);
        let Some(pause) = pause else { return Err(error.context(format!("fetching {name}"))) };
        let (have, secs) = (download.have, pause.as_secs());
        report::step(&format!("{error:#}; trying again in {secs} s, from byte {have} on"));
        wait(*pause);
    }
    if let Trust::Digest(digest) = trust {
        compare(&name, &hexadecimal(&download.digest.finalize()), digest)?;
    }
    let (_, path) = download.file.keep().context("keeping what was fetched")?;
    Ok(path)
}

#[expect(clippy::disallowed_methods, reason = "a server is given time before it is asked again")]
fn wait(pause: Duration) {
    std::thread::sleep(pause);
}

/// Refuses protocols that are not supported, or that could not be trusted.
fn check(url: &str, trust: Trust<'_>) -> anyhow::Result<()> {
    let name = shown(url);
    let refusal = match url.split_once("://") {
        Some(("https", _)) => return Ok(()),
        Some(("http", _)) if !matches!(trust, Trust::Origin) => return Ok(()),
        Some(("http", _)) => Refused::new(
            format!("{name} has no digest, and nothing else says that it is the right file"),
            "give its digest (sha256:…), or an https URL",
        ),
        _ => Refused::new(
            format!("{name} is neither an http nor an https URL"),
            "fetch the file first and give its path",
        ),
    };
    Err(refusal.into())
}

/// Makes an agent that trusts the system's certificates.
///
/// Names are resolved without the system's C library, which a static binary cannot rely on. If only
/// the server vouches for a file, no redirection may lead to a server that anybody on the way could
/// impersonate.
fn agent(trust: Trust<'_>) -> anyhow::Result<Agent> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .https_only(matches!(trust, Trust::Origin))
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_recv_response(Some(ANSWER_LIMIT))
        .timeout_recv_body(Some(LIMIT))
        .user_agent(concat!("anemos/", env!("CARGO_PKG_VERSION")))
        .build();
    let resolver = FileResolver::new().context("reading how names are resolved")?;
    Ok(Agent::with_parts(config, DefaultConnector::default(), resolver))
}

/// A file that has been fetched partially.
#[derive(Debug)]
struct Download<'a> {
    url: &'a str,
    agent: Agent,
    folder: &'a Path,
    file: NamedTempFile,
    digest: Sha256,
    have: u64,
    /// The server's name for this version of the file.
    edition: Option<String>,
    /// Whether a digest would reveal a mixture of two versions.
    vouched: bool,
}

impl<'a> Download<'a> {
    fn new(url: &'a str, trust: Trust<'_>, folder: &'a Path) -> anyhow::Result<Self> {
        let file = tempfile::Builder::new().prefix("fetched-").tempfile_in(folder);
        let file = file.with_context(|| format!("writing into {}", folder.display()))?;
        let (agent, digest) = (agent(trust)?, Sha256::new());
        let vouched = matches!(trust, Trust::Digest(_));
        Ok(Self { url, agent, folder, file, digest, have: 0, edition: None, vouched })
    }

    /// Requests the missing part, and stores what arrives.
    fn attempt(&mut self, stall: Duration) -> Result<(), Trouble> {
        let mut request = self.agent.get(self.url);
        if self.have > 0 && (self.vouched || self.edition.is_some()) {
            request = request.header(header::RANGE, format!("bytes={}-", self.have));
            if let Some(edition) = &self.edition {
                request = request.header(header::IF_RANGE, edition);
            }
        }
        let response = request.call().map_err(|error| of_call(self.url, error))?;
        let is_part = response.status() == StatusCode::PARTIAL_CONTENT;
        let resumes = is_part && begins_at(response.headers(), self.have);
        if !resumes {
            self.restart().map_err(Trouble::Lasting)?;
        }
        if is_part && !resumes {
            return Err(Trouble::Passing(anyhow!("the server sent another part of the file")));
        }
        self.edition = edition(response.headers());
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        self.check_space(length.unwrap_or(0))?;
        let wanted = length.map(|length| self.have + length);
        self.take(&read(response.into_body()), stall)?;
        match wanted {
            Some(wanted) if self.have < wanted => Err(Trouble::Passing(anyhow!(
                "the connection ended after {} of {wanted} bytes",
                self.have
            ))),
            _ => Ok(()),
        }
    }

    fn restart(&mut self) -> anyhow::Result<()> {
        let file = self.file.as_file_mut();
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).context("starting anew")?;
        (self.have, self.digest) = (0, Sha256::new());
        Ok(())
    }

    /// Refuses what does not fit before it arrives.
    fn check_space(&self, needed: u64) -> Result<(), Trouble> {
        let folder = self.folder.display();
        let free = room::free(self.folder).map_err(|errno| {
            Trouble::Lasting(anyhow::Error::new(errno).context(format!("looking at {folder}")))
        })?;
        if needed <= free {
            return Ok(());
        }
        let name = shown(self.url);
        let reason = format!("{name} has {needed} more bytes, and {folder} room for {free}");
        Err(Trouble::Lasting(Refused::new(reason, "make room, or name another TMPDIR").into()))
    }

    fn take(
        &mut self,
        chunks: &Receiver<io::Result<Vec<u8>>>,
        stall: Duration,
    ) -> Result<(), Trouble> {
        loop {
            let chunk = match chunks.recv_timeout(stall) {
                Ok(Ok(chunk)) => chunk,
                Ok(Err(error)) => {
                    let after = format!("the connection ended after {} bytes", self.have);
                    return Err(Trouble::Passing(anyhow::Error::new(error).context(after)));
                }
                Err(RecvTimeoutError::Timeout) => {
                    let secs = stall.as_secs();
                    return Err(Trouble::Passing(anyhow!("nothing came for {secs} s")));
                }
                // The reader has reached the end.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let written = self.file.write_all(&chunk).context("writing what was fetched");
            written.map_err(Trouble::Lasting)?;
            self.digest.update(&chunk);
            self.have += chunk.len() as u64;
        }
    }
}

/// Reads a body on a thread of its own, which may stay behind if the server falls silent.
fn read(body: Body) -> Receiver<io::Result<Vec<u8>>> {
    let (sender, receiver) = sync_channel(4);
    std::thread::spawn(move || {
        let mut reader = body.into_reader();
        loop {
            let mut chunk = vec![0; CHUNK];
            let read = match reader.read(&mut chunk) {
                Ok(0) => return,
                Ok(len) => {
                    chunk.truncate(len);
                    Ok(chunk)
                }
                Err(error) => Err(error),
            };
            let ends = read.is_err();
            if sender.send(read).is_err() || ends {
                return;
            }
        }
    });
    receiver
}

/// Decides whether another attempt makes sense.
fn of_call(url: &str, error: ureq::Error) -> Trouble {
    if let Some(complaint) = trust::complaint(&error) {
        let refusal = trust::refusal(url, complaint);
        return Trouble::Lasting(refusal.map_or_else(|| error.into(), Into::into));
    }
    if let ureq::Error::RequireHttpsOnly(there) = &error {
        let (name, there) = (shown(url), shown(there));
        let reason =
            format!("{name} leads to {there}, where nothing says that it is the right file");
        let hint = "give its digest (sha256:…), or an https URL that leads to https alone";
        return Trouble::Lasting(Refused::new(reason, hint).into());
    }
    let passing = match &error {
        ureq::Error::StatusCode(code) => matches!(code, 408 | 429 | 500..),
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed => true,
        _ => false,
    };
    if passing { Trouble::Passing(error.into()) } else { Trouble::Lasting(error.into()) }
}

/// Returns whether a part of the file is the requested one (RFC 9110, section 14.4).
fn begins_at(headers: &HeaderMap, have: u64) -> bool {
    let range = headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.is_some_and(|range| range.starts_with(&format!("bytes {have}-")))
}

/// Returns what `If-Range` may name: a strong entity tag (RFC 9110, section 13.1.5).
fn edition(headers: &HeaderMap) -> Option<String> {
    let tag = headers.get(header::ETAG)?.to_str().ok()?;
    (!tag.starts_with("W/")).then(|| tag.to_owned())
}
