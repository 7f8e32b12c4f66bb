//! Command `anemos`; the same binary is PID 1 of the deploy environment.

mod amount;
mod assemble;
mod base;
mod cli;
mod command;
mod commands;
mod config;
mod contents;
mod elf;
mod entry;
mod facts;
mod files;
mod firmware;
mod full_base;
mod grub_environment;
mod json;
mod last_attempt;
mod member;
mod modules;
mod places;
mod plan;
mod preflight;
mod prepare;
mod receipt;
mod refusal;
mod report;
mod room;
mod source;
mod staging;
mod toml_mistake;
mod twin;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    // Check this before the command line, because the kernel passes on words that it does not know.
    if std::process::id() == 1 {
        return initramfs::init::run();
    }
    match cli::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => report::failure(&error),
    }
}
