//! Finishes sign-ins that a crash left half-way, and lets those lapse whose time is over.

use anyhow::Result;
use domain::SignInId;
use projections::due::{Key, SignInRow, queries};
use store::Position;
use tokio_util::sync::CancellationToken;

use super::{PAUSE, caught_up, wait};
use crate::{hub::Hub, services::sign_ins};

/// Sign-ins looked at in one round.
const ROUND: usize = 100;

pub(super) async fn run(hub: Hub, head: Position, stopping: CancellationToken) -> Result<()> {
    let mut changes = hub.due.changes();
    if !caught_up(&hub.due, head, &stopping).await {
        return Ok(());
    }
    loop {
        let next = match round(&hub).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "Sign-ins could not be looked after; trying again."
                );
                Some(hub.clock.now() + PAUSE)
            }
        };
        if !wait(&hub, next, &mut changes, |key| matches!(key, Key::SignIn(_)), &stopping).await {
            return Ok(());
        }
    }
}

/// Does what is due, and answers when to look again.
async fn round(hub: &Hub) -> Result<Option<domain::Timestamp>> {
    let now = hub.clock.now();
    let due = queries::due_sign_ins(&hub.due, now, ROUND).await?;
    let full = due.len() == ROUND;
    for (id, row) in due {
        settle(hub, id, &row).await?;
    }
    if full { Ok(Some(now)) } else { queries::next_lapse_at(&hub.due, now).await }
}

async fn settle(hub: &Hub, id: SignInId, row: &SignInRow) -> Result<()> {
    if row.to_finish {
        sign_ins::finish(hub, id).await?;
        return Ok(());
    }
    sign_ins::lapse(hub, id).await
}
