//! A hub as it runs: configuration, data, processors and front door, from start to end.

use std::{net::TcpListener, path::Path, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Result, ensure};
use axum::{Router, middleware::from_fn_with_state};
use domain::intake;
use prometheus_client::registry::Registry;
use serde_json::Value;
use store::{
    Access, Keeping, StoreError, StreamName,
    eventstoredb::{EventStoreDb, Options},
};
use utoipa_axum::router::OpenApiRouter;

use crate::{
    bot,
    clock::{Clock, Ids, SystemClock, SystemIds},
    config::{Config, Sources},
    http::{self, Parts, ops::Readiness, serve::ServerConfig, starting::Starting},
    hub::{Footing, Hub, is_passing, open_store},
    lifecycle::{Lifecycle, signals},
    logging,
    store_port::StorePort,
};

/// Marks a data directory made by `chancery dev`, whose secrets everybody knows.
pub const DEV_MARK: &str = "made-by-chancery-dev";

/// Between looks for a store that is not there.
const LOOK_FOR_STORE_EVERY: Duration = Duration::from_secs(1);

/// Runs the hub until a signal or a failure ends it.
pub async fn serve(sources: &Sources) -> Result<ExitCode> {
    let config = Config::load(sources)?;
    logging::init(&config.log);
    refuse_dev_data(&config.data.directory)?;
    let deadline = config.server.shutdown_deadline;
    let (lifecycle, signals) = (Lifecycle::new(), signals()?);
    let listener = http::serve::bind(config.server.listen)?;
    if let Some(shared) = config.store.connection_string.clone() {
        let store = Arc::new(EventStoreDb::new(shared, Options::default())?);
        start_once_there(store, config, &lifecycle, listener)?;
    } else {
        start_embedded(config, &lifecycle, listener).await?;
    }
    Ok(lifecycle.run(deadline, signals).await)
}

/// Starts on a store that may not be there yet; until it is, the listener answers what is waited for.
fn start_once_there(
    store: Arc<EventStoreDb>,
    config: Config,
    lifecycle: &Lifecycle,
    listener: TcpListener,
) -> Result<()> {
    let starting = Starting::default();
    listen(&config.server, lifecycle, listener, starting.router())?;
    let begun = lifecycle.clone();
    lifecycle.spawn("start", async move {
        let stopping = begun.stopping();
        let footing = loop {
            match stopping.run_until_cancelled(Box::pin(footing(&store, &config))).await {
                None => return Ok(()),
                Some(Ok(footing)) => break footing,
                Some(Err(error)) if is_passing(&error) => {
                    tracing::warn!(%error, "The hub waits for its store.");
                    starting.waits_for(error.to_string());
                }
                Some(Err(error)) => return Err(error),
            }
            let _ = stopping.run_until_cancelled(tokio::time::sleep(LOOK_FOR_STORE_EVERY)).await;
        };
        let readiness = Readiness::default();
        let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
        let hub = Hub::start_on(footing, config, clock, ids, &begun, &readiness).await?;
        starting.started(front(&hub, readiness, Router::new()));
        stopping.cancelled().await;
        Ok(())
    });
    Ok(())
}

async fn footing(store: &Arc<EventStoreDb>, config: &Config) -> Result<Footing> {
    prepare(store).await?;
    Footing::on(store.clone(), config).await
}

/// On the store in the data directory, which is served to others where it has users.
async fn start_embedded(config: Config, lifecycle: &Lifecycle, listener: TcpListener) -> Result<()> {
    let port = StorePort::configured(&config.store_serve)?;
    let store = Arc::new(open_store(&config.data.directory)?);
    let (clock, ids) = (Arc::new(SystemClock), Arc::new(SystemIds));
    let more = |_: &Hub| Router::new();
    start_on(store.clone(), config, clock.clone(), ids.clone(), lifecycle, listener, more).await?;
    if let Some(port) = port {
        port.spawn(lifecycle, store, clock, ids)?;
    }
    Ok(())
}

pub(crate) fn refuse_dev_data(data: &Path) -> Result<()> {
    ensure!(
        !data.join(DEV_MARK).exists(),
        "{} was made by `chancery dev`, whose keys are no secret: give `serve` a directory of its own (data.directory)",
        data.display()
    );
    Ok(())
}

/// Learns who the store is, and sees to it that others can do there what they should and nothing else.
pub(crate) async fn prepare(store: &EventStoreDb) -> Result<(), StoreError> {
    store.identify().await?;
    store.guard().await?;
    for number in 0..intake::STREAMS {
        let stream = StreamName::new(format!("{}-{number}", intake::CATEGORY));
        store.reserve(&stream, Access::Clients).await?;
    }
    Ok(())
}

/// Starts everything on a store that the caller opened and a listener that it bound. `more` are routes besides the API
/// and the pages.
pub async fn start_on(
    store: Arc<dyn Keeping>,
    config: Config,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    lifecycle: &Lifecycle,
    listener: TcpListener,
    more: impl FnOnce(&Hub) -> Router,
) -> Result<Hub> {
    let readiness = Readiness::default();
    let footing = Footing::on(store, &config).await?;
    let hub = Hub::start_on(footing, config, clock, ids, lifecycle, &readiness).await?;
    let router = front(&hub, readiness, more(&hub));
    listen(&hub.config.server, lifecycle, listener, router)?;
    Ok(hub)
}

/// Everything that the hub answers.
fn front(hub: &Hub, readiness: Readiness, more: Router) -> Router {
    let mut metrics = Registry::default();
    hub.metrics.register(&mut metrics);
    let parts = Parts {
        api: api().layer(from_fn_with_state(hub.clone(), http::v1::after_own_writes)).with_state(hub.clone()),
        pages: http::pages::routes(hub.clone()).merge(bot::webhook::routes(hub.clone())).merge(more),
        keys: Arc::new(hub.clone()),
        ids: hub.ids.clone(),
        readiness,
        metrics,
    };
    http::assemble(parts, &hub.config.server, &hub.config.limits).0
}

fn listen(server: &ServerConfig, lifecycle: &Lifecycle, listener: TcpListener, router: Router) -> Result<()> {
    let address = listener.local_addr()?;
    http::serve::spawn(lifecycle, listener, server.tls.as_ref(), router)?;
    tracing::info!(%address, public_url = %server.public_url, "The hub listens.");
    Ok(())
}

/// All routes under `/v1`.
pub fn api() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().merge(http::sign_ins::routes()).merge(http::v1::routes())
}

/// The description of the API, as `/openapi.json` serves it.
pub fn openapi() -> Value {
    http::describe(api())
}
