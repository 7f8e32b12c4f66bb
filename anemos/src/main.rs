//! Command `anemos`; the same binary is PID 1 of the deploy environment.

mod cli;
mod commands;
mod config;
mod report;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => report::failure(&error),
    }
}
