//! Makes a root file system of Debian packages by mmdebstrap.

use std::io;
use std::path::Path;
use std::process::Stdio;

use anyhow::Context as _;
use initramfs::base;

use super::maker::Maker;
use crate::command;
use crate::report::Refused;

/// Where packages of Debian come from.
#[derive(Debug, clap::Args)]
pub(super) struct Mirrors {
    /// Release of Debian
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// Mirror of Debian or line of sources.list; mmdebstrap's own default when there is none
    #[arg(long, value_name = "MIRROR")]
    mirror: Vec<String>,
}

impl Mirrors {
    /// Starts mmdebstrap, which prints a tarball.
    pub(super) fn start(&self, added: &[String], latest: u64) -> anyhow::Result<Maker> {
        let mut names: Vec<&str> = base::lines(base::DEBIAN.packages).collect();
        names.extend(added.iter().map(String::as_str));
        let mut command = command::start(Path::new("mmdebstrap"));
        command
            .args(["--quiet", "--mode=auto", "--format=tar", "--variant=essential"])
            .arg(format!("--include={}", names.join(",")))
            .args([self.suite.as_str(), "-"])
            .args(&self.mirror)
            .env("SOURCE_DATE_EPOCH", latest.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let hint = "install it: apt-get install mmdebstrap";
                let reason = "mmdebstrap, which the full base is made with, is missing";
                return Err(Refused::new(reason, hint).into());
            }
            other => other.context("running mmdebstrap")?,
        };
        Ok(Maker { name: "mmdebstrap", child, content: base::DEBIAN })
    }
}
