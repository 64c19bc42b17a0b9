//! What was begun and never concluded: by another hub, by a former process, or by a task of this one that failed.
//!
//! **Invariant.** An intent is its hub's to conclude for as long as it said, counted by this hub's own monotonic clock from
//! when it first saw it. After that the outcome is *unknown*, and what the other one may still tell is taken late.

use std::time::Duration;

use anyhow::Result;
use domain::{
    ConnectionId, Diagnosis,
    lane::{Open, Outcome},
};
use projections::due::LaneRow;

use super::{conclude, context, resends};
use crate::{
    hub::Hub,
    metrics::DeliveryOutcome,
    processors::{Begun, outbox::Left},
};

/// Looks at an intent without an outcome, in a lane of a shard that this hub holds and that no other task is at.
pub(super) async fn judge(hub: &Hub, lane: ConnectionId, row: &LaneRow, open: &Open) -> Result<Left> {
    // Where the store is ours alone the lock on the data directory proves the former process dead.
    if !hub.store.is_ours_alone() {
        let begun = Begun::Delivery(lane, open.message, open.attempt);
        if let Err(over_at) = hub.first_seen.is_over(begun, Duration::from_millis(open.timeout_ms)) {
            return Ok(Left::Until(over_at));
        }
    }
    let resend = resends(hub, open.attempt).then_some(open.surface);
    let outcome = Outcome::Unknown { resend, diagnosis: Diagnosis::default() };
    let context = context(hub, open.message, row.person).await?;
    if conclude(hub, lane, &context, open.message, open.attempt, outcome).await? {
        tracing::warn!(lane.id = %lane, message.id = %open.message, "A delivery was cut off; its outcome is unknown.");
        hub.metrics.delivery(DeliveryOutcome::Unknown);
    }
    Ok(Left::Waiting)
}
