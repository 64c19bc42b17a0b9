//! Records what time does to tokens: that they expired, also after downtime; refreshes those that nobody used for long,
//! since a grant that rests for 90 days is lost (Entra ID, refresh token lifetime); and destroys those of people who were
//! unlinked.

use anyhow::Result;
use domain::{
    CommandId, ConnectionId, Timestamp,
    connection::{Command, Connection},
};
use projections::due::{ConnectionRow, Key, queries};
use tokio_util::sync::CancellationToken;

use super::{AGAIN, PAUSE, Round, rounds};
use crate::{
    commands::Context,
    hub::Hub,
    services::tokens::{self, Fresh},
};

/// Connections looked at in one round.
const ROUND: usize = 100;

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    rounds(hub, stopping, |key| matches!(key, Key::Connection(_)), round).await
}

/// Does what is due, and answers when to look again.
fn round(hub: &Hub) -> Round<'_> {
    Box::pin(async move {
        let now = hub.clock.now();
        let mut looks = Looks { again: None };
        let ours = |(id, _): &(ConnectionId, ConnectionRow)| hub.shards.holds(id.shard());
        let expired = queries::expired_connections(&hub.due, now, hub.shards.held(), ROUND).await?;
        for (id, row) in expired.iter().filter(|it| ours(it)) {
            looks.after(*id, now, expire(hub, *id, row).await);
        }
        for (id, row) in queries::connections_to_destroy(&hub.due).await?.iter().filter(|it| ours(it)) {
            looks.after(*id, now, tokens::destroy(hub, *id, row.person, row.grant).await.map(drop));
        }
        for (id, row) in queries::claimed_connections(&hub.due).await?.iter().filter(|it| ours(it)) {
            looks.after_claim(*id, now, tokens::refresh(hub, *id, row.generation).await);
        }
        let keep_alive = hub.config.tokens.keep_alive;
        let stale =
            queries::stale_connections(&hub.due, now - keep_alive, now, hub.shards.held(), ROUND).await?;
        for (id, row) in stale.iter().filter(|it| ours(it)) {
            if hub.stopping.is_cancelled() {
                return Ok(None);
            }
            looks.after(*id, now, tokens::refresh(hub, *id, row.generation).await.map(drop));
        }
        if expired.len() == ROUND && looks.again.is_none() {
            return Ok(Some(now));
        }
        let expiry = queries::next_expiry_at(&hub.due, now).await?;
        let keep = queries::oldest_issue_at(&hub.due).await?.map(|issued| issued + keep_alive);
        // One that could not be refreshed just now stays the oldest; it is not asked about without pause.
        let keep = keep.map(|at| if at <= now { now + AGAIN } else { at.max(now + PAUSE) });
        Ok([looks.again, expiry, keep].into_iter().flatten().min())
    })
}

/// One connection that can't be looked after does not keep the others waiting.
struct Looks {
    again: Option<Timestamp>,
}

impl Looks {
    /// Claims that a former process, or another hub, left open: what the vault has is recorded, otherwise one new claim
    /// tells, once the time of the open one is over.
    fn after_claim(&mut self, id: ConnectionId, now: Timestamp, refreshed: Result<Fresh>) {
        if let Ok(Fresh::Later { until, .. }) = refreshed {
            self.again = self.again.into_iter().chain([until]).min();
        }
        self.after(id, now, refreshed.map(drop));
    }

    fn after(&mut self, id: ConnectionId, now: Timestamp, done: Result<()>) {
        if let Err(error) = done {
            tracing::warn!(connection.id = %id, error = format!("{error:#}"), "Tokens could not be looked after; trying again.");
            self.again = Some(now + AGAIN);
        }
    }
}

async fn expire(hub: &Hub, id: ConnectionId, row: &ConnectionRow) -> Result<()> {
    let expire = Command::Expire { grant: row.grant, generation: row.generation };
    let command_id = CommandId::new(format!("expire/{}/{}", row.grant, row.generation));
    let context = Context::hub("tokens", id.to_string()).of_tenant(row.person.tenant);
    hub.commands.execute::<Connection>(id, &command_id, &context, expire).await?;
    Ok(())
}
