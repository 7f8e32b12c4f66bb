//! Fetching a file by HTTP, its digest checked while it comes.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};
use ureq::unversioned::transport::DefaultConnector;

use crate::config::Digest;
use crate::report::{self, Refusal};
use crate::source::resolver::FileResolver;
use crate::source::{Digesting, compare};

const CONNECT_LIMIT: Duration = Duration::from_secs(30);
const ANSWER_LIMIT: Duration = Duration::from_mins(1);
/// Long enough for a root file system over a slow line, and still an end.
const BODY_LIMIT: Duration = Duration::from_hours(1);

/// Fetches a file into `folder`; nothing stays there when it is not as wanted.
pub(super) fn fetch(url: &str, digest: Option<&Digest>, folder: &Path) -> anyhow::Result<PathBuf> {
    check(url, digest)?;
    report::step(&format!("fetching {url}"));
    let fetching = || format!("fetching {url}");
    let response = agent()?.get(url).call().with_context(fetching)?;
    let mut file = tempfile::Builder::new()
        .prefix("fetched-")
        .tempfile_in(folder)
        .with_context(|| format!("writing into {}", folder.display()))?;
    let mut digesting = Digesting::new(&mut file);
    io::copy(&mut response.into_body().into_reader(), &mut digesting).with_context(fetching)?;
    if let Some(digest) = digest {
        compare(url, &digesting.hex(), digest)?;
    }
    let (_, path) = file.keep().context("keeping what was fetched")?;
    Ok(path)
}

/// Refuses what could not be trusted or is not spoken here.
fn check(url: &str, digest: Option<&Digest>) -> anyhow::Result<()> {
    let refusal = match url.split_once("://") {
        Some(("https", _)) => return Ok(()),
        Some(("http", _)) if digest.is_some() => return Ok(()),
        Some(("http", _)) => Refusal::new(
            format!("{url} has no digest, and nothing else says that it is the right file"),
            "give its digest (sha256:…), or an https URL",
        ),
        _ => Refusal::new(
            format!("{url} is neither an http nor an https URL"),
            "fetch the file first and give its path",
        ),
    };
    Err(refusal.into())
}

/// The system's certificates decide whom to trust; names are resolved without its C library,
/// which a static binary cannot count on.
fn agent() -> anyhow::Result<Agent> {
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    let config = Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(CONNECT_LIMIT))
        .timeout_recv_response(Some(ANSWER_LIMIT))
        .timeout_recv_body(Some(BODY_LIMIT))
        .user_agent(concat!("anemos/", env!("CARGO_PKG_VERSION")))
        .build();
    let resolver = FileResolver::new().context("reading how names are resolved")?;
    Ok(Agent::with_parts(config, DefaultConnector::default(), resolver))
}
