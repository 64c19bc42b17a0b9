//! The hubs that share the store, and who works how much of it.

use axum::{Json, extract::State};
use domain::{HubId, ShardId};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    hub::Hub,
    processors::{HubReport, HubState},
};

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new().routes(routes!(list))
}

/// A hub, as the one that answers knows it.
#[derive(Debug, Serialize, ToSchema)]
pub struct HubView {
    /// Drawn anew at each start.
    #[schema(value_type = uuid::Uuid)]
    id: HubId,
    /// It is the one that answers.
    this: bool,
    /// Counts the starts on its data directory; absent where the hub holds shards and was never heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// `working`; `leaving`: it is being stopped; `silent`: no heartbeat of it was heard for the length of a lease, and what
    /// it holds is taken over by the others.
    #[schema(value_type = String, example = "working")]
    state: &'static str,
    /// The shards that it holds, of 256: its part of the work, and of every limit that holds for all hubs together.
    shards: usize,
    /// How long ago its last heartbeat came; absent for the one that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    heard_ms_ago: Option<u64>,
}

impl HubView {
    fn of(report: &HubReport, this: HubId) -> Self {
        let HubReport { id, epoch, state, shards, seen_at } = *report;
        let state = match state {
            HubState::Working => "working",
            HubState::Leaving => "leaving",
            HubState::Silent => "silent",
        };
        let ago = |at| Instant::now().saturating_duration_since(at).as_millis();
        let heard_ms_ago = seen_at.map(|at| u64::try_from(ago(at)).unwrap_or(u64::MAX));
        Self { id, this: id == this, epoch, state, shards, heard_ms_ago }
    }
}

/// All hubs that are known of.
#[derive(Debug, Serialize, ToSchema)]
pub struct HubList {
    items: Vec<HubView>,
    /// Shards that nobody holds just now.
    shards_free: usize,
}

/// Lists the hubs on this store, in the order of their ids.
#[utoipa::path(get, path = "/v1/hubs", tag = "operations", responses((status = 200, body = HubList)))]
async fn list(State(hub): State<Hub>) -> Json<HubList> {
    let items: Vec<_> = hub.shards.hubs().iter().map(|report| HubView::of(report, hub.id)).collect();
    let held: usize = items.iter().map(|item| item.shards).sum();
    Json(HubList { items, shards_free: ShardId::COUNT.saturating_sub(held) })
}
