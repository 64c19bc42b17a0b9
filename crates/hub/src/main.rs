//! `chancery`: see [`chancery::cli`].

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    chancery::cli::run(chancery::cli::Cli::parse())
}
