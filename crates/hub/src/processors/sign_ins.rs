//! Does what follows from the end of a sign-in, also where a crash left it half-way, and lets those lapse whose time is
//! over. Many at a time, so that somebody whose chat Graph takes long to find keeps nobody waiting.

use anyhow::Result;
use domain::{SignInId, Timestamp};
use projections::due::{Key, SignInRow, queries};
use tokio_util::sync::CancellationToken;

use super::{
    AGAIN, Round,
    crew::{self, Crew},
};
use crate::{hub::Hub, services::sign_ins};

/// Sign-ins settled at once.
const AT_ONCE: usize = 32;

pub(super) async fn run(hub: Hub, stopping: CancellationToken) -> Result<()> {
    crew::run(hub, stopping, AT_ONCE, |key| matches!(key, Key::SignIn(_)), look).await
}

fn look<'a>(hub: &'a Hub, crew: &'a mut Crew<SignInId>) -> Round<'a> {
    Box::pin(async move {
        let now = hub.clock.now();
        // Those that are worked or put off are due still, and must not hide the others.
        let limit = AT_ONCE + crew.taken_up();
        for (id, row) in queries::due_sign_ins(&hub.due, now, hub.shards.held(), limit).await? {
            crew.take_up(hub, id, work(hub.clone(), id, row));
        }
        queries::next_lapse_at(&hub.due, now).await
    })
}

async fn work(hub: Hub, id: SignInId, row: SignInRow) -> Option<Timestamp> {
    let error = settle(&hub, id, &row).await.err()?;
    if let Some(sign_ins::NotBefore(at)) = error.downcast_ref() {
        return Some(*at);
    }
    tracing::warn!(sign_in.id = %id, error = format!("{error:#}"), "A sign-in could not be settled; trying again.");
    Some(hub.clock.now() + AGAIN)
}

async fn settle(hub: &Hub, id: SignInId, row: &SignInRow) -> Result<()> {
    if !hub.shards.holds(id.shard()) {
        return Ok(());
    }
    if row.ended {
        sign_ins::finish_and_tell(hub, id).await?;
        return Ok(());
    }
    sign_ins::lapse(hub, id).await
}
