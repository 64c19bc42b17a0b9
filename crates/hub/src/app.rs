//! A hub as it runs: configuration, data, processors and front door, from start to end.

use std::{net::TcpListener, path::Path, process::ExitCode, sync::Arc};

use anyhow::{Result, ensure};
use axum::{Router, middleware::from_fn_with_state};
use prometheus_client::registry::Registry;
use serde_json::Value;
use store::Keeping;
use utoipa_axum::router::OpenApiRouter;

use crate::{
    clock::{Clock, Ids, SystemClock, SystemIds},
    config::{Config, Sources},
    http::{self, Parts, ops::Readiness},
    hub::{Hub, open_store},
    lifecycle::{Lifecycle, signals},
    logging,
};

/// Marks a data directory made by `chancery dev`, whose secrets everybody knows.
pub const DEV_MARK: &str = "made-by-chancery-dev";

/// Runs the hub until a signal or a failure ends it.
pub async fn serve(sources: &Sources) -> Result<ExitCode> {
    let config = Config::load(sources)?;
    logging::init(&config.log);
    refuse_dev_data(&config.data.directory)?;
    let deadline = config.server.shutdown_deadline;
    let lifecycle = Lifecycle::new();
    let listener = http::serve::bind(config.server.listen)?;
    start(config, Arc::new(SystemClock), Arc::new(SystemIds), &lifecycle, listener, |_| Router::new())
        .await?;
    Ok(lifecycle.run(deadline, signals()?).await)
}

pub(crate) fn refuse_dev_data(data: &Path) -> Result<()> {
    ensure!(
        !data.join(DEV_MARK).exists(),
        "{} was made by `chancery dev`, whose keys are no secret: give `serve` a directory of its own (data.directory)",
        data.display()
    );
    Ok(())
}

/// Starts everything on a listener that the caller bound. `more` are routes besides the API and the pages.
pub async fn start(
    config: Config,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn Ids>,
    lifecycle: &Lifecycle,
    listener: TcpListener,
    more: impl FnOnce(&Hub) -> Router,
) -> Result<Hub> {
    let store = Arc::new(open_store(&config.data.directory)?);
    start_on(store, config, clock, ids, lifecycle, listener, more).await
}

/// The same on a store that the caller opened.
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
    let hub = Hub::start_on(store, config, clock, ids, lifecycle, &readiness).await?;
    let pages = http::pages::routes(hub.clone()).merge(more(&hub));
    let mut metrics = Registry::default();
    hub.metrics.register(&mut metrics);
    let parts = Parts {
        api: api().layer(from_fn_with_state(hub.clone(), http::v1::after_own_writes)).with_state(hub.clone()),
        pages,
        keys: Arc::new(hub.clone()),
        ids: hub.ids.clone(),
        readiness,
        metrics,
    };
    let (router, _) = http::assemble(parts, &hub.config.server, &hub.config.limits);
    let address = listener.local_addr()?;
    http::serve::spawn(lifecycle, listener, hub.config.server.tls.as_ref(), router)?;
    tracing::info!(%address, public_url = %hub.config.server.public_url, "The hub listens.");
    Ok(hub)
}

/// All routes under `/v1`.
pub fn api() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().merge(http::sign_ins::routes()).merge(http::v1::routes())
}

/// The description of the API, as `/openapi.json` serves it.
pub fn openapi() -> Value {
    http::describe(api())
}
