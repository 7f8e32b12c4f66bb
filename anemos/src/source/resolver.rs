//! Resolves names by `/etc/hosts` and `/etc/resolv.conf`, without the C library.
//!
//! A static glibc loads the services of `nsswitch.conf` at run time, and on other systems these
//! belong to a C library that is not its own.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::{ResolverBuilder, TokioResolver};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// A resolver without its own thread, because names are few and resolved one after another.
#[derive(Debug)]
pub(super) struct FileResolver {
    resolver: Option<TokioResolver>,
    runtime: tokio::runtime::Runtime,
}

impl FileResolver {
    /// Reads the system's settings; without any, only addresses work.
    pub(super) fn new() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        // Without settings there is no resolver, but a machine without name servers can still fetch
        // by address.
        let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build).ok();
        Ok(Self { resolver, runtime })
    }

    /// Returns where the server of a URL listens.
    pub(super) fn servers(&self, uri: &Uri) -> io::Result<Vec<SocketAddr>> {
        let host = uri.host().ok_or_else(|| io::Error::other("the URL names no host"))?;
        let standard = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(standard);
        let addresses = self.addresses(host)?.into_iter();
        Ok(addresses.map(|address| SocketAddr::new(address, port)).collect())
    }

    fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        let missing = || io::Error::other(format!("no name server is known to resolve {host}"));
        let resolver = self.resolver.as_ref().ok_or_else(missing)?;
        let found = self.runtime.block_on(resolver.lookup_ip(host)).map_err(io::Error::other)?;
        Ok(found.iter().collect())
    }
}

impl Resolver for FileResolver {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut found = self.empty();
        // The first ones are enough; more do not fit.
        for address in self.servers(uri).map_err(ureq::Error::Io)?.into_iter().take(16) {
            found.push(address);
        }
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(found) }
    }
}
