//! `chancery store`: the embedded store without a hub, and the users of its port.

use std::{
    io::{BufRead as _, Read as _},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use eventstoredb_server::{Cost, PasswordHash};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    args::{StoreServeArgs, StoreUsersCommand},
    print,
};
use crate::{
    clock::{SystemClock, SystemIds},
    config::{Sources, StoreOnlyConfig},
    hub::open_store,
    lifecycle::{Lifecycle, signals},
    logging,
    store_port::{For, StorePort},
};

/// For what clients have under way when a signal comes.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(10);

/// Serves until a signal ends it. The address goes to standard output once clients can come.
pub(super) async fn serve(args: StoreServeArgs) -> Result<ExitCode> {
    let mut sources = Sources::of_process(args.config.config);
    let given = [("STORE__SERVE__LISTEN", args.listen), ("DATA__DIRECTORY", args.data_dir)];
    let given = given.into_iter().filter_map(|(name, value)| Some((format!("CHANCERY_{name}"), value?)));
    sources.environment.extend(given);
    let StoreOnlyConfig { log, data, serve } = StoreOnlyConfig::load(&sources)?;
    logging::init(&log);
    ensure!(
        !args.insecure || serve.users.is_empty(),
        "store.serve.users_file names users, whom --insecure would not ask for their passwords: leave one of them out"
    );
    ensure!(
        args.insecure || !serve.users.is_empty(),
        "the store has no users: name a file of them as store.serve.users_file (`chancery store users hash` prints its \
         lines), or let everybody on this machine do everything with --insecure"
    );
    let whom = if args.insecure { For::Everybody } else { For::Users(serve.users) };
    let port = StorePort::bind(serve.listen, whom, serve.tls.as_ref())?;
    let (address, lifecycle) = (port.address()?, Lifecycle::new());
    let store = Arc::new(open_store(&data.directory)?);
    port.spawn(&lifecycle, store, Arc::new(SystemClock), Arc::new(SystemIds))?;
    let ready = json!({ "address": address, "tls": serve.tls.is_some(), "insecure": args.insecure });
    print(&if args.json { format!("{ready}\n") } else { format!("{address}\n") })?;
    eprintln!("The store in {} is served on {address}.", data.directory.display());
    Ok(lifecycle.run(SHUTDOWN_DEADLINE, signals()?).await)
}

/// What is guessed in the end, however slowly it is verified.
const PASSWORD_BYTES_MIN: usize = 12;
/// What clients put into a header.
const PASSWORD_BYTES_MAX: usize = 512;

pub(super) fn users(command: &StoreUsersCommand) -> Result<()> {
    let StoreUsersCommand::Hash { name, role } = command;
    let mut line = Zeroizing::new(String::new());
    let limit = u64::try_from(PASSWORD_BYTES_MAX + 2)?;
    let read = std::io::stdin().lock().take(limit).read_line(&mut line);
    read.context("the password on standard input can't be read")?;
    let password = line.trim_end_matches(['\n', '\r']);
    ensure!(
        (PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()),
        "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes; it is the first line of standard input"
    );
    let mut salt = [0; 16];
    SystemRandom::new().fill(&mut salt).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    let hash = PasswordHash::of(password, salt, Cost::Usual);
    print(&format!("{name} {} {}\n", role.name(), hash.as_str()))
}
