//! `chancery`: see [`chancery::cli`].

use std::process::ExitCode;

use clap::Parser as _;
use mimalloc::MiMalloc;

/// What an event or a request is made of is allocated on one thread and freed on another, many times over.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    chancery::cli::run(chancery::cli::Cli::parse())
}
