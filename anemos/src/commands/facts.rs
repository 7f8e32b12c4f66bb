//! Command `anemos facts`: prints this machine as JSON, or how its network differs.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use contract::network::Network;
use serde_json::Value;

use crate::facts::{Facts, Keyring, Redaction};
use crate::report::{self, Refused};

/// The command line of `anemos facts`.
const EXAMPLES: &str = "\
Examples:
  anemos facts --redact >facts.json   for a bug report, or for `anemos test --twin facts.json`
  anemos facts --against facts.json   fail if the network is no longer the same";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Compare the network with the one in FILE (facts or a network.json), print the differences,
    /// and fail if there are any
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Replace names, addresses and identities by made-up ones that are consistent with each other
    #[arg(long, conflicts_with = "against")]
    redact: bool,
}

impl Args {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let facts = Facts::gather(&Keyring::here())?;
        let Some(path) = &self.against else {
            let text = if self.redact {
                let redacted = Redaction::new(random()?).redact(serde_json::to_value(&facts)?);
                serde_json::to_string_pretty(&redacted)?
            } else {
                serde_json::to_string_pretty(&facts)?
            };
            report::result(&text);
            return Ok(ExitCode::SUCCESS);
        };
        let differences = read_network(path)?.in_use().differences(&facts.network.in_use());
        for difference in &differences {
            report::result(&difference.to_string());
        }
        if differences.is_empty() {
            report::step("the network is the same in every field");
            return Ok(ExitCode::SUCCESS);
        }
        let number = differences.len();
        report::step(&format!("the network differs in {number} statements"));
        Ok(ExitCode::FAILURE)
    }
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let source = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    source.context("reading /dev/urandom")?;
    Ok(bytes)
}

/// Reads a network, from facts or from a file of its own.
fn read_network(path: &Path) -> anyhow::Result<Network> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    parse(&text).map_err(|reason| {
        let reason = format!("{} holds no network: {reason}", path.display());
        Refused::new(reason, "give what `anemos facts` printed, or a network.json").into()
    })
}

fn parse(text: &str) -> serde_json::Result<Network> {
    let mut value: Value = serde_json::from_str(text)?;
    let network = value.get_mut("network").map(Value::take);
    serde_json::from_value(network.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_network_is_read_alone_and_out_of_facts() {
        let alone = r#"{ "links": [], "routes": [], "resolvers": ["192.0.2.53"] }"#;
        let facts = format!(r#"{{ "hostname": "vps", "network": {alone} }}"#);
        assert_eq!(parse(alone).unwrap(), parse(&facts).unwrap());
        let error = parse(r#"{ "links": [], "rutes": [] }"#).unwrap_err();
        assert!(error.to_string().contains("rutes"), "{error}");
    }
}
