//! Parses the command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    base, build, conformance, deploy, facts, fixture, inspect, makeimg, pack, plan, reset, retry,
    serve_guest, status, test, write_network,
};

/// Redeploy a running Linux machine in place
#[derive(Debug, Parser)]
#[command(name = "anemos", version = env!("ANEMOS_BUILD"), max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Exit status: 0 done or passed, 1 failure or verdict failed, 2 usage, \
                        3 refusal (nothing was changed), 4 broken (could not be tried, or not be judged)")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Rehearse the deployment of a payload in QEMU and print a verdict
    Test(test::Args),
    /// Take this machine over: all data on the selected disk is lost
    Deploy(deploy::Args),
    /// Print what deploy would do; change nothing
    Plan(plan::Args),
    /// Write the final initramfs only
    Build(build::Args),
    /// Undo everything that deploy prepared before the jump
    Reset(reset::Args),
    /// Show how the last deployment or rehearsal ended
    Status(status::Args),
    /// Run the payload again in a rescue
    Retry(retry::Args),
    /// Print the facts of this machine as JSON
    Facts(facts::Args),
    /// Make a payload from a folder
    Pack(pack::Args),
    /// Check and describe a payload
    Inspect(inspect::Args),
    /// Build an image from an IMGBUILD
    Makeimg(makeimg::Args),
    /// Build the base initramfs
    Base(base::Args),
    /// List, build or boot simulated VPS images
    Fixture(fixture::Args),
    /// Run the conformance suite
    Conformance(conformance::Args),
    /// Answer a connection from a guest; QEMU runs this
    #[command(hide = true)]
    ServeGuest(serve_guest::Args),
    /// Write configuration files for network managers
    #[command(hide = true)]
    WriteNetwork(write_network::Args),
}

impl Cli {
    /// Runs the selected command.
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Test(args) => args.run(),
            Command::Deploy(args) => args.run(),
            Command::Plan(args) => args.run(),
            Command::Build(args) => args.run(),
            Command::Reset(args) => args.run(),
            Command::Status(args) => args.run(),
            Command::Retry(args) => args.run(),
            Command::Facts(args) => args.run(),
            Command::Pack(args) => args.run(),
            Command::Inspect(args) => args.run(),
            Command::Makeimg(args) => args.run(),
            Command::Base(args) => args.run(),
            Command::Fixture(args) => args.run(),
            Command::Conformance(args) => args.run(),
            Command::ServeGuest(args) => args.run(),
            Command::WriteNetwork(args) => args.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Collects the help of a command and its subcommands, as a terminal of 100 columns shows it.
    fn helps(command: &mut clap::Command, path: &str, into: &mut Vec<(String, String)>) {
        let help = command.render_help().to_string();
        into.push((path.to_owned(), help));
        for below in command.get_subcommands_mut().filter(|it| !it.is_hide_set()) {
            let path = format!("{path}-{}", below.get_name());
            if below.get_name() != "help" {
                helps(below, &path, into);
            }
        }
    }

    #[test]
    fn every_command_has_the_help_that_was_read_last() {
        let mut found = Vec::new();
        let mut command = Cli::command().term_width(100);
        command.build();
        helps(&mut command, "anemos", &mut found);
        for (name, help) in found {
            insta::assert_snapshot!(name, help);
        }
    }
}
