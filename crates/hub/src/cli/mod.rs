//! The command line.
//!
//! Exit codes: 0 when it was done, 1 when it failed, 2 when the command line makes no sense. What was asked for goes to
//! standard output, everything else to standard error.

mod api_keys;
pub mod args;
mod backup;
pub mod client;
mod clients;
mod data;
mod health;
mod history;
mod messages;
mod passwords;
mod projections;
mod store;
pub mod table;
mod teams_app;

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use clap::CommandFactory as _;

pub use args::{Cli, Command};

use crate::config::{Config, Sources};

/// Runs the command, and says what went wrong.
pub fn run(cli: Cli) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(std::thread::available_parallelism().map_or(1, std::num::NonZero::get))
        .max_blocking_threads(32)
        .enable_all()
        .build();
    let result = runtime.context("the asynchronous runtime can't be started").and_then(|runtime| {
        let result = runtime.block_on(execute(cli));
        // Whatever still runs was dropped by the lifecycle already; nothing is waited for.
        runtime.shutdown_background();
        result
    });
    result.unwrap_or_else(|error| {
        eprintln!("chancery: {error:#}");
        ExitCode::FAILURE
    })
}

async fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Config { command: args::ConfigCommand::Check { config, json } } => {
            check_config(&Sources::of_process(config.config), json)?;
        }
        #[cfg(feature = "dev")]
        Command::Dev(args) => return crate::dev::run(args).await,
        #[cfg(feature = "dev")]
        Command::Simulator { listen } => return crate::dev::run_simulator(listen).await,
        Command::Health(args) => return health::run(&args).await,
        Command::Serve { config } => return crate::app::serve(&Sources::of_process(config.config)).await,
        Command::Backup(args) => backup::take(args).await?,
        Command::Restore(args) => backup::restore(&args).await?,
        Command::Clients { command, hub, json } => clients::run(command, &hub, json).await?,
        Command::ApiKeys { command, hub, json } => api_keys::run(command, &hub, json).await?,
        Command::Projections { command, data, json } => projections::run(command, &data, json).await?,
        Command::Messages { command, server, json } => messages::run(command, &server, json).await?,
        Command::History { of, page, server, json } => history::run(&of, &page, &server, json).await?,
        Command::Keys { command: args::KeysCommand::Create { file } } => {
            custody::KeyEncryptionKey::create_file(&file)?;
            eprintln!(
                "{} written. Back it up apart from the data: without it nothing can be read.",
                file.display()
            );
        }
        Command::Passwords { command } => passwords::run(&command)?,
        Command::Store { command: args::StoreCommand::Serve(args) } => return store::serve(args).await,
        Command::Store { command: args::StoreCommand::Users { command } } => store::users(&command)?,
        Command::TeamsApp { command } => teams_app::run(&command)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "chancery", &mut script);
            print(&String::from_utf8(script)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check_config(sources: &Sources, json: bool) -> anyhow::Result<()> {
    let config = Config::load(sources)?;
    crate::app::refuse_dev_data(&config.data.directory)?;
    if json {
        print(&format!("{:#}\n", serde_json::to_value(config.effective().parse::<toml::Table>()?)?))?;
    } else {
        print(config.effective())?;
    }
    eprintln!("The configuration is good.");
    Ok(())
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
pub fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
