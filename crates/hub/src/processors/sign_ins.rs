//! Does what follows from the end of a sign-in, also where a crash left it half-way, and lets those lapse whose time is
//! over.

use anyhow::Result;
use domain::{SignInId, Timestamp};
use projections::due::{Key, SignInRow, queries};
use tokio_util::sync::CancellationToken;

use super::{AGAIN, Round, rounds};
use crate::{hub::Hub, services::sign_ins};

/// Sign-ins looked at in one round.
const ROUND: usize = 100;

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    rounds(hub, stopping, |key| matches!(key, Key::SignIn(_)), round).await
}

fn round(hub: &Hub) -> Round<'_> {
    Box::pin(async move {
        let now = hub.clock.now();
        let mut again = None;
        let due = queries::due_sign_ins(&hub.due, now, hub.shards.held(), ROUND).await?;
        let full = due.len() == ROUND;
        for (id, row) in due {
            if !hub.shards.holds(id.shard()) {
                continue;
            }
            // One that can't be settled does not keep the others waiting.
            if let Err(error) = settle(hub, id, &row).await {
                tracing::warn!(sign_in.id = %id, error = format!("{error:#}"), "A sign-in could not be settled; trying again.");
                again = Some(now + AGAIN);
            }
        }
        let next: Option<Timestamp> = queries::next_lapse_at(&hub.due, now).await?;
        Ok(match again {
            None if full => Some(now),
            again => [again, next].into_iter().flatten().min(),
        })
    })
}

async fn settle(hub: &Hub, id: SignInId, row: &SignInRow) -> Result<()> {
    if row.ended {
        sign_ins::finish_and_tell(hub, id).await?;
        return Ok(());
    }
    sign_ins::lapse(hub, id).await
}
