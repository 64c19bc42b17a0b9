//! `chancery store`: the embedded store without a hub, and the users of its port.

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use serde_json::json;

use super::{
    args::{StoreServeArgs, StoreUsersCommand},
    passwords::hash_of_typed,
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
    let (address, lifecycle, signals) = (port.address()?, Lifecycle::new(), signals()?);
    let store = Arc::new(open_store(&data.directory)?);
    port.spawn(&lifecycle, store, Arc::new(SystemClock), Arc::new(SystemIds))?;
    let ready = json!({ "address": address, "tls": serve.tls.is_some(), "insecure": args.insecure });
    print(&if args.json { format!("{ready}\n") } else { format!("{address}\n") })?;
    eprintln!("The store in {} is served on {address}.", data.directory.display());
    Ok(lifecycle.run(SHUTDOWN_DEADLINE, signals).await)
}

pub(super) fn users(command: &StoreUsersCommand) -> Result<()> {
    let StoreUsersCommand::Hash { name, role } = command;
    let hash = hash_of_typed()?;
    print(&format!("{name} {} {}\n", role.name(), hash.as_str()))
}
