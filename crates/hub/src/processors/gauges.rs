//! What there is, for `/metrics`: messages and connections by status, and how far the read models are behind the log.

use std::time::Duration;

use anyhow::Result;
use projections::{Projection, ReadModel, connections, messages};
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

/// Counting reads an index from end to end, so it is not done at every scrape.
const EVERY: Duration = Duration::from_secs(15);

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    loop {
        if let Err(error) = count(&hub).await {
            tracing::warn!(error = format!("{error:#}"), "The gauges could not be read; trying again.");
        }
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn count(hub: &Hub) -> Result<()> {
    hub.metrics.messages(messages::queries::count_by_status(&hub.messages).await?);
    hub.metrics.connections(connections::queries::count_by_status(&hub.connections).await?);
    hub.metrics.breakers_open(connections::queries::count_open_breakers(&hub.connections).await?);
    let head = hub.store.head().await?.0;
    lag(hub, head, &hub.clients);
    lag(hub, head, &hub.connections);
    lag(hub, head, &hub.messages);
    lag(hub, head, &hub.due);
    Ok(())
}

fn lag<P: Projection>(hub: &Hub, head: u64, model: &ReadModel<P>) {
    hub.metrics.read_model_lag(P::NAME, head.saturating_sub(model.status().position.0));
}
