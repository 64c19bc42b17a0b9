//! Records what time does to tokens: that they expired, also after downtime; and refreshes those that nobody used for
//! long, since a grant that rests for 90 days is lost (Entra ID, refresh token lifetime).

use anyhow::Result;
use domain::{
    CommandId, ConnectionId, Timestamp,
    connection::{Command, Connection},
};
use projections::due::{ConnectionRow, Key, queries};
use store::Position;
use tokio_util::sync::CancellationToken;

use super::{PAUSE, caught_up, wait};
use crate::{commands::Context, hub::Hub, services::tokens};

/// Connections looked at in one round.
const ROUND: usize = 100;

pub(super) async fn run(hub: Hub, head: Position, stopping: CancellationToken) -> Result<()> {
    let mut changes = hub.due.changes();
    if !caught_up(&hub.due, head, &stopping).await {
        return Ok(());
    }
    if let Err(error) = settle_claims(&hub).await {
        tracing::warn!(
            error = format!("{error:#}"),
            "Open refreshes could not be settled; their next use will."
        );
    }
    loop {
        let next = match round(&hub).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "Tokens could not be looked after; trying again."
                );
                Some(hub.clock.now() + PAUSE)
            }
        };
        if !wait(&hub, next, &mut changes, |key| matches!(key, Key::Connection(_)), &stopping).await {
            return Ok(());
        }
    }
}

/// Claims that a former process left open: what the vault has is recorded, otherwise one new claim tells.
async fn settle_claims(hub: &Hub) -> Result<()> {
    for (id, row) in queries::claimed_connections(&hub.due).await? {
        tokens::refresh(hub, id, row.generation).await?;
    }
    Ok(())
}

/// Does what is due, and answers when to look again.
async fn round(hub: &Hub) -> Result<Option<Timestamp>> {
    let now = hub.clock.now();
    let expired = queries::expired_connections(&hub.due, now, ROUND).await?;
    for (id, row) in &expired {
        expire(hub, *id, row).await?;
    }
    let keep_alive = hub.config.tokens.keep_alive;
    let stale = queries::stale_connections(&hub.due, now - keep_alive, ROUND).await?;
    let mut held_back = None;
    for (id, row) in &stale {
        if let tokens::Fresh::Later { until, .. } = tokens::refresh(hub, *id, row.generation).await? {
            held_back = held_back.max(Some(until));
        }
    }
    if expired.len() == ROUND || (stale.len() == ROUND && held_back.is_none()) {
        return Ok(Some(now));
    }
    let expiry = queries::next_expiry_at(&hub.due, now).await?;
    let keep = queries::oldest_issue_at(&hub.due).await?.map(|issued| issued + keep_alive);
    // A grant that could not be refreshed just now is not asked about again before its time.
    let keep = held_back.or(keep.map(|at| at.max(now + PAUSE)));
    Ok([expiry, keep].into_iter().flatten().min())
}

async fn expire(hub: &Hub, id: ConnectionId, row: &ConnectionRow) -> Result<()> {
    let expire = Command::Expire { grant: row.grant, generation: row.generation };
    let command_id = CommandId::new(format!("expire/{}/{}", row.grant, row.generation));
    let context = Context::hub("tokens", id.to_string()).of_tenant(row.person.tenant);
    hub.commands.execute::<Connection>(id, &command_id, &context, expire).await?;
    Ok(())
}
